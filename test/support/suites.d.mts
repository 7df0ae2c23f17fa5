export const UNIT_FOLDERS: readonly string[];
export function suites(): Record<"units" | "quick" | "programs" | "e2e", string[]>;
