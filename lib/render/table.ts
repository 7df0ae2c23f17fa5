/** Renders tables in the style of kubectl, within the width of a terminal. Pure. */
import type { Style } from "./style.ts";
import { truncateEnd, truncateMiddle, widthOf } from "./wrap.ts";

export interface Column {
  title: string;
  /** Lines above the title of the column. */
  above?: readonly string[];
  /** One for each row, without line breaks and colors. */
  cells: readonly string[];
  /** Colors a cell after truncation. */
  paint?: (cell: string, row: number) => string;
  /** How to truncate cells if the table is too wide: names in the middle. Default: not at all. */
  cut?: "middle" | "end";
  /** Set if the column can be omitted from a table that is too wide; the highest value is omitted first. */
  dispensable?: number;
}

/** The gap between two columns, as in kubectl; smaller if the table is too wide. */
const GAPS = [3, 2, 1] as const;
/** The minimum width of a truncated cell. */
const LEAST = 8;

/**
 * Renders a line of titles and a line for each row. A table that is too wide gets smaller gaps, then truncated cells,
 * then fewer columns.
 */
export function showTable(columns: readonly Column[], style: Style): string[] {
  let shown = [...columns];
  for (;;) {
    const widths = shown.map(widthOfColumn);
    const room = (gap: number) => style.width - gap * (shown.length - 1);
    const gap = GAPS.find((one) => sum(widths) <= room(one)) ?? GAPS[2];
    const fitted = shrink(shown, widths, room(gap));
    const last = shown.reduce<Column | undefined>(
      (most, one) => ((one.dispensable ?? 0) > (most?.dispensable ?? 0) ? one : most),
      undefined,
    );
    if (sum(fitted) <= room(gap) || last === undefined) return lines(shown, fitted, gap, style);
    shown = shown.filter((one) => one !== last);
  }
}

/** Returns the width of the whole table without truncation; by default with the smallest gap between columns. */
export function widthOfTable(columns: readonly Column[], gap: number = GAPS[2]): number {
  return sum(columns.map(widthOfColumn)) + gap * (columns.length - 1);
}

function widthOfColumn({ title, above = [], cells }: Column): number {
  return Math.max(...[title, ...above, ...cells].map(widthOf));
}

/** Shrinks columns that can be truncated, the widest first, until all fit into a total width or none can shrink. */
function shrink(columns: readonly Column[], widths: readonly number[], room: number): number[] {
  const fitted = [...widths];
  while (sum(fitted) > room) {
    const candidates = columns.flatMap(({ cut, title }, i) =>
      cut !== undefined && (fitted[i] ?? 0) > Math.max(LEAST, title.length) ? [i] : [],
    );
    if (candidates.length === 0) break;
    const widest = candidates.reduce((most, i) => ((fitted[i] ?? 0) > (fitted[most] ?? 0) ? i : most));
    fitted[widest] = (fitted[widest] ?? 0) - 1;
  }
  return fitted;
}

function lines(columns: readonly Column[], widths: readonly number[], gap: number, style: Style): string[] {
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
        columns.map(({ cells, paint, cut }, i) => {
          const cell = cells[row] ?? "";
          const fitting = cut === "middle" ? truncateMiddle(cell, widths[i] ?? 0) : truncateEnd(cell, widths[i] ?? 0);
          return paint ? paint(fitting, row) : fitting;
        }),
      ),
    ),
  ];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
