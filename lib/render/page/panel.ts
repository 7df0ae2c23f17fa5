/** The panel beside the matrix. */
import { describeCluster, describeConnection, describePeer } from "./details.ts";
import type { CellPlace, Matrix } from "./matrix.ts";
import type { PageData } from "./page-data.ts";

/** Shows the cell under the pointer or the focus, or one that was clicked, and marks it in the matrix. */
export class Panel {
  readonly #data: PageData;
  readonly #matrix: Matrix;
  readonly #element: HTMLElement;
  #kept: CellPlace | undefined;
  #marked: Element[] = [];

  constructor(data: PageData, matrix: Matrix, element: HTMLElement) {
    this.#data = data;
    this.#matrix = matrix;
    this.#element = element;
  }

  /** Shows a place, unless another one is kept. */
  preview(place: CellPlace | undefined): void {
    if (place && !this.#kept) this.#show(place);
  }

  /** Shows a place until another one is kept, or this one again. */
  keep(place: CellPlace | undefined): void {
    if (!place) return;
    const isKept = this.#kept?.row === place.row && this.#kept.column === place.column;
    this.#kept = isKept ? undefined : place;
    this.#show(place);
  }

  /** Follows the pointer and the focus again. */
  release(): void {
    this.#kept = undefined;
    this.#element.classList.remove("kept");
  }

  #show(place: CellPlace): void {
    const { row, column } = place;
    this.#element.replaceChildren(...this.#describe(place));
    this.#element.classList.toggle("kept", this.#kept !== undefined);
    for (const element of this.#marked) element.classList.remove("shown");
    const isCell = row >= 0 && column >= 0;
    const places = isCell ? [place, { row, column: -1 }, { row: -1, column }] : [place];
    this.#marked = places.flatMap((one) => this.#matrix.cellAt(one) ?? []);
    for (const element of this.#marked) element.classList.add("shown");
    if (isCell) this.#matrix.cellAt(place)?.setAttribute("title", this.#matrix.titleOf(place));
  }

  #describe({ row, column }: CellPlace): Node[] {
    if (row >= 0 && column >= 0) return describeConnection(this.#data, row, column);
    const own = row >= 0 ? row : this.#data.clusters.findIndex((cluster) => cluster.column === column);
    return own >= 0 ? describeCluster(this.#data, own) : describePeer(this.#data, column);
  }
}
