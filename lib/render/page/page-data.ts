/** The data in a status page, which its script reads. */

/** Stands for the importer of a pair in texts of its findings, so that equal findings of many pairs are stored once. */
export const IMPORTER = "\uE000";
/** Stands for the peer of a pair in texts of its findings. */
export const PEER = "\uE001";

/** A line of a remedy: prose and commands, in turns. Prose may be empty. */
export type RemedyLine = string[];

/**
 * A finding of a cluster or of a pair. In a page with very many findings, later ones have no message and no remedy; those of
 * the group apply.
 *
 * `group`: index of the item in the list of findings; -1 if it is not listed. `code`: index in {@link PageData.codes}.
 */
export type FindingData = [group: number, isError: 0 | 1, code: number, message?: string, remedy?: RemedyLine[]];

/** What a cell shows. `state`: index in {@link PageData.states}; `findings`: indexes in {@link PageData.findings}. */
export type CellData = [state: number, ...findings: number[]];

/** A row of the matrix. */
export interface ClusterData {
  /** The context. */
  name: string;
  /** The index of its column in the matrix; -1 if there is none. */
  column: number;
  health: "ok" | "warning" | "error";
  /** Its health in words: `2 errors`. */
  verdict: string;
  /** Findings about the cluster, as indexes in {@link PageData.findings}. */
  findings: number[];
}

/** The data of a page. Texts are escaped for display as text, not for HTML. */
export interface PageData {
  /** States of cells. */
  states: { name: string; mark: string; meaning: string }[];
  /** Names of the columns of the matrix; empty for a single cluster. */
  peers: string[];
  /** The rows of the matrix. */
  clusters: ClusterData[];
  /** For each row, indexes of its cells in {@link PageData.kinds}. */
  cells: number[][];
  /** Distinct cells. */
  kinds: CellData[];
  /** Codes of findings. */
  codes: string[];
  /** Distinct findings. */
  findings: FindingData[];
}
