/** Tables in the style of kubectl, fitted to the width of a terminal. Pure. */
import type { Style } from "./style.ts";
import { truncateEnd, truncateMiddle, widthOf } from "./wrap.ts";

export interface Column {
  title: string;
  /** Lines above the title. */
  above?: readonly string[];
  /** A cell for each row: a single line without colours. */
  cells: readonly string[];
  /** Colours a cell after truncation. */
  paint?: (cell: string, row: number) => string;
  /** Where to truncate cells of a table that is too wide; cells are never truncated by default. */
  truncate?: "middle" | "end";
  /** Priority for omitting the column from a table that is too wide, highest first; columns are never omitted by default. */
  dispensable?: number;
}

/** Spaces between columns: three, like kubectl, or fewer if the table is too wide. */
const GAPS = [3, 2, 1] as const;
/** Minimum width of a truncated cell. */
const MIN_WIDTH = 8;

/** Prints a table. If it is too wide, gaps are reduced, then cells truncated, then columns omitted. */
export function showTable(columns: readonly Column[], style: Style): string[] {
  let shown = [...columns];
  for (;;) {
    const widths = shown.map(widthOfColumn);
    const available = (gap: number) => style.width - gap * (shown.length - 1);
    const gap = GAPS.find((one) => sum(widths) <= available(one)) ?? GAPS[2];
    const fitted = shrink(shown, widths, available(gap));
    const mostDispensable = shown.reduce<Column | undefined>(
      (most, one) => ((one.dispensable ?? 0) > (most?.dispensable ?? 0) ? one : most),
      undefined,
    );
    if (sum(fitted) <= available(gap) || mostDispensable === undefined) return showRows(shown, fitted, gap, style);
    shown = shown.filter((one) => one !== mostDispensable);
  }
}

/** Measures a table without truncation; by default with the smallest gap. */
export function widthOfTable(columns: readonly Column[], gap: number = GAPS[2]): number {
  return sum(columns.map(widthOfColumn)) + gap * (columns.length - 1);
}

function widthOfColumn({ title, above = [], cells }: Column): number {
  return Math.max(...[title, ...above, ...cells].map(widthOf));
}

/** Reduces the widths of truncatable columns until they fit or are minimal, the widest first. */
function shrink(columns: readonly Column[], widths: readonly number[], available: number): number[] {
  const fitted = [...widths];
  while (sum(fitted) > available) {
    const candidates = columns.flatMap(({ truncate, title }, i) =>
      truncate !== undefined && (fitted[i] ?? 0) > Math.max(MIN_WIDTH, title.length) ? [i] : [],
    );
    if (candidates.length === 0) break;
    const widest = candidates.reduce((most, i) => ((fitted[i] ?? 0) > (fitted[most] ?? 0) ? i : most));
    fitted[widest] = (fitted[widest] ?? 0) - 1;
  }
  return fitted;
}

function showRows(columns: readonly Column[], widths: readonly number[], gap: number, style: Style): string[] {
  const padded = (text: string, i: number) => text + " ".repeat(Math.max(0, (widths[i] ?? 0) - widthOf(text)));
  const join = (texts: readonly string[]) => texts.map(padded).join(" ".repeat(gap)).trimEnd();
  const rows = columns[0]?.cells.length ?? 0;
  const above = Math.max(0, ...columns.map((column) => column.above?.length ?? 0));
  return [
    ...Array.from({ length: above }, (_, line) =>
      style.dim(join(columns.map((column) => column.above?.[line - above + column.above.length] ?? ""))),
    ),
    style.dim(join(columns.map(({ title }) => title))),
    ...Array.from({ length: rows }, (_, row) =>
      join(
        columns.map(({ cells, paint, truncate }, i) => {
          const fit = truncate === "middle" ? truncateMiddle : truncateEnd;
          const cell = fit(cells[row] ?? "", widths[i] ?? 0);
          return paint ? paint(cell, row) : cell;
        }),
      ),
    ),
  ];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
