/** Lists in pages. Pure. */
import type { KubernetesObject } from "@kubernetes/client-node";
import { EXIT, UserError } from "../util/errors.ts";
import { ApiError } from "./api-error.ts";
import { hasName, isFilled } from "./watch-events.ts";

const PAGE_SIZE = 500;
/** Half a million objects: more than any cluster has. A server that never ends a list is refused. */
const MAX_PAGES = 1_000;

/** A page of a list, unvalidated. */
export interface ListPage {
  items?: unknown;
  metadata?: { continue?: string; resourceVersion?: string } | null;
}

export interface PagingOptions {
  /** Query parameters that select objects. */
  selectors: Record<string, string>;
  /** Whether all pages must show one version: a list that expires (410) is then an error, and is otherwise continued. */
  isConsistent?: boolean;
  /** Names the list in error messages. */
  describe(): string;
}

/**
 * Reads a list page by page.
 *
 * @param send - sends the request with a query
 * @throws UserError (exit code 1) if the list has more than {@link MAX_PAGES} pages.
 * @throws the error of `send`
 */
export async function* readPages(
  send: (query: URLSearchParams) => Promise<unknown>,
  { selectors, isConsistent = false, describe }: PagingOptions,
): AsyncGenerator<ListPage> {
  let token: string | undefined;
  let expired = false;
  let pages = 0;
  do {
    if (++pages > MAX_PAGES) throw new UserError(`${describe()} has no end`, EXIT.failed);
    const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...selectors, ...(token && { continue: token }) });
    try {
      const page = (await send(query)) as ListPage;
      yield page;
      token = page.metadata?.continue;
      expired = false;
    } catch (error) {
      const next = error instanceof ApiError && error.status === 410 ? error.continueToken : undefined;
      if (next === undefined || expired || isConsistent) throw error;
      token = next;
      expired = true;
    }
  } while (token);
}

/** Whether a page has objects, and the version from which they can be watched. */
export function isWatchablePage(
  page: ListPage,
): page is { items?: KubernetesObject[]; metadata: { resourceVersion: string } } {
  const items = page.items ?? [];
  return Array.isArray(items) && items.every(hasName) && isFilled(page.metadata?.resourceVersion);
}

/** Returns the query parameters that select by name and labels. */
export function selectorsOf({
  name,
  labelSelector,
}: {
  name?: string | undefined;
  labelSelector?: string | undefined;
}) {
  return {
    ...(labelSelector && { labelSelector }),
    ...(name !== undefined && { fieldSelector: `metadata.name=${name}` }),
  };
}
