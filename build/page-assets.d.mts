/** The CSS and the script of status pages. */
export interface PageAssets {
  style: string;
  script: string;
}

/** Returns the texts that a page contains. */
export function buildPageAssets(): Promise<PageAssets>;
