/** The matrix as a table with the role of a grid: a row for each importer, and a column for each peer. */
import { namesOf } from "./details.ts";
import { create } from "./dom.ts";
import type { PageData } from "./page-data.ts";
import type { Selection } from "./selection.ts";
import { codesOf } from "./texts.ts";

/** The number of rows that are drawn at once. Each later part is twice as long, because each one moves the whole table. */
const FIRST_ROWS = 32;

/** The number of columns above which names are turned, and above which columns are narrow. */
const [TURNED, DENSE] = [8, 80];

/** The maximum length of names in the headings of rows, in characters. Longer ones are truncated, and have a tooltip. */
const MAX_NAME = 36;

/** A cell, as indexes of rows and columns in the data; the row or column of a heading is -1. */
export interface CellPlace {
  row: number;
  column: number;
}

/** Draws the selected part of a matrix, and finds its cells. */
export class Matrix {
  readonly #data: PageData;
  readonly #container: HTMLElement;
  /** The width of the headings of rows, in characters. */
  readonly #nameWidth: number;
  /** A cell of each kind, to be cloned. */
  readonly #templates: HTMLTableCellElement[];
  #selection: Selection | undefined;
  #table: HTMLTableElement | undefined;

  constructor(data: PageData, container: HTMLElement) {
    this.#data = data;
    this.#container = container;
    this.#nameWidth = Math.min(MAX_NAME, Math.max(...data.clusters.map(({ name }) => name.length))) + 5;
    this.#templates = data.kinds.map(([state, ...findings]) => {
      const { name = "", mark = "", meaning = "" } = data.states[state] ?? {};
      const cell = create("td", name, mark);
      cell.setAttribute("aria-label", [meaning, ...codesOf(data, findings)].join(", "));
      cell.tabIndex = -1;
      return cell;
    });
  }

  /** Replaces the table. Rows after the first ones are added later, so that the page responds meanwhile. */
  draw(selection: Selection): void {
    const { rows, columns } = selection;
    const corner = create("td", "corner", "importer ↓\npeer →");
    corner.style.width = `${this.#nameWidth}ch`;
    const head = create("thead", "", create("tr", "", corner, ...columns.map((column) => this.#columnHeading(column))));
    const body = create("tbody", "");
    const density = columns.length > DENSE ? " turned dense" : columns.length > TURNED ? " turned" : "";
    const table = create("table", `connections${density}`, head, body);
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", "Connections");
    table.setAttribute("aria-describedby", "legend");
    table.setAttribute("aria-rowcount", `${rows.length + 1}`);
    this.#selection = selection;
    this.#table = table;
    this.#container.replaceChildren(table);
    const addRows = (start: number, end: number) => {
      if (this.#table !== table) return;
      body.append(...rows.slice(start, end).map((row) => this.#tableRow(row, selection)));
      table.setAttribute("aria-busy", `${end < rows.length}`);
      if (end < rows.length) setTimeout(addRows, 0, end, end + 2 * (end - start));
    };
    addRows(0, FIRST_ROWS);
    this.moveTabStop(table.rows[1]?.cells[0] ?? null);
    this.#measureHeadings(table);
  }

  /** Makes a cell the only one that the Tab key reaches. */
  moveTabStop(cell: EventTarget | null): void {
    for (const other of this.#container.querySelectorAll("[tabindex='0']")) other.setAttribute("tabindex", "-1");
    if (cell instanceof HTMLTableCellElement) cell.tabIndex = 0;
  }

  /** Returns the place of the cell that contains an element; undefined outside the matrix and in its corner. */
  placeOf(element: EventTarget | null): CellPlace | undefined {
    const cell = element instanceof Element ? element.closest("td, th") : undefined;
    if (!(cell instanceof HTMLTableCellElement) || this.#table?.contains(cell) !== true) return undefined;
    const line = cell.parentElement instanceof HTMLTableRowElement ? cell.parentElement.rowIndex : 0;
    const row = this.#selection?.rows[line - 1] ?? -1;
    const column = this.#selection?.columns[cell.cellIndex - 1] ?? -1;
    return row === -1 && column === -1 ? undefined : { row, column };
  }

  /** Returns the cell at a place; undefined if it is not selected, or not drawn yet. */
  cellAt({ row, column }: CellPlace): HTMLTableCellElement | undefined {
    const { rows = [], columns = [] } = this.#selection ?? {};
    return this.#table?.rows[rows.indexOf(row) + 1]?.cells[columns.indexOf(column) + 1];
  }

  /** Returns the place some rows and columns away, within the selected part. Headings belong to it, except the corner. */
  placeNear({ row, column }: CellPlace, down: number, right: number): CellPlace {
    const { rows = [], columns = [] } = this.#selection ?? {};
    const move = (from: number, by: number, values: readonly number[]) => {
      const index = values.indexOf(from) + by;
      return values[Math.min(index, values.length - 1)] ?? -1;
    };
    const place = { row: move(row, down, rows), column: move(column, right, columns) };
    return place.row === -1 && place.column === -1 ? { row, column } : place;
  }

  #columnHeading(column: number): HTMLElement {
    const name = this.#data.peers[column] ?? "";
    const heading = create("th", "", create("span", "", name));
    heading.title = name;
    heading.scope = "col";
    heading.tabIndex = -1;
    return heading;
  }

  #tableRow(row: number, { columns, isMatch }: Selection): HTMLElement {
    const { name = "", health = "ok", verdict = "" } = this.#data.clusters[row] ?? {};
    const mark = health === "ok" ? "" : `${this.#data.states.find((state) => state.name === health)?.mark ?? ""} `;
    const heading = create("th", `health ${health}`, `${mark}${truncateMiddle(name)}`);
    if (name.length > MAX_NAME) heading.setAttribute("aria-label", `${mark}${name}`);
    heading.title = `${name}: ${verdict}`;
    heading.scope = "row";
    heading.tabIndex = -1;
    const line = create("tr", "", heading);
    for (const column of columns) {
      const cell = this.#templates[this.#data.cells[row]?.[column] ?? -1]?.cloneNode(true);
      if (!(cell instanceof HTMLTableCellElement)) continue;
      if (!isMatch(row, column)) cell.classList.add("faded");
      line.append(cell);
    }
    return line;
  }

  /** Keeps focused cells from being scrolled below the headings. */
  #measureHeadings(table: HTMLTableElement): void {
    const { width = 0, height = 0 } = table.rows[0]?.cells[0]?.getBoundingClientRect() ?? {};
    this.#container.style.scrollPadding = `${height}px 0 0 ${width}px`;
  }

  /** Returns a short description of a connection, as its tooltip: `cluster1 → cluster2: errors`. */
  titleOf({ row, column }: CellPlace): string {
    const { importer, peer } = namesOf(this.#data, row, column);
    const [state = 0] = this.#data.kinds[this.#data.cells[row]?.[column] ?? -1] ?? [];
    return `${importer} → ${peer}: ${this.#data.states[state]?.meaning ?? ""}`;
  }
}

/** Truncates a name in the middle, because contexts of a provider, such as ARNs, start alike. */
function truncateMiddle(name: string): string {
  return name.length > MAX_NAME ? `${name.slice(0, 12)}…${name.slice(13 - MAX_NAME)}` : name;
}
