/** The script of a status page: draws the matrix, shows details, and applies the filters. */
import { elementById } from "./dom.ts";
import { type CellPlace, Matrix } from "./matrix.ts";
import type { PageData } from "./page-data.ts";
import { Panel } from "./panel.ts";
import { type Filter, type Selection, selectFrom } from "./selection.ts";

/** The time after the last change of a filter until it is applied, in milliseconds. */
const DELAY = 120;

const data = JSON.parse(elementById("data", HTMLScriptElement).text) as PageData;
const form = elementById("filters", HTMLFormElement);
form.hidden = false;
const matrix = startMatrix();
startFilters();

/** Shows the matrix, and connects its cells with the panel. Returns undefined if the mesh has a single cluster. */
function startMatrix(): Matrix | undefined {
  if (data.peers.length === 0) return undefined;
  elementById("matrix", HTMLElement).hidden = false;
  const container = elementById("matrix-scroll", HTMLElement);
  const drawn = new Matrix(data, container);
  const panel = new Panel(data, drawn, elementById("details", HTMLElement));
  container.addEventListener("pointerover", ({ target }) => panel.preview(drawn.placeOf(target)));
  container.addEventListener("focusin", ({ target }) => {
    drawn.moveTabStop(target);
    panel.preview(drawn.placeOf(target));
  });
  container.addEventListener("click", ({ target }) => panel.keep(drawn.placeOf(target)));
  container.addEventListener("keydown", (event) => {
    const place = drawn.placeOf(event.target);
    if (place && handleKey(drawn, panel, place, event.key)) event.preventDefault();
  });
  return drawn;
}

/** Moves the focus, or keeps the shown place. Returns whether the key has a function. */
function handleKey(drawn: Matrix, panel: Panel, place: CellPlace, key: string): boolean {
  const moves: Record<string, [down: number, right: number]> = {
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    PageUp: [-10, 0],
    PageDown: [10, 0],
    Home: [0, -data.peers.length],
    End: [0, data.peers.length],
  };
  const move = moves[key];
  if (move) drawn.cellAt(drawn.placeNear(place, ...move))?.focus();
  else if (key === "Enter" || key === " ") panel.keep(place);
  else if (key === "Escape") panel.release();
  return move !== undefined || ["Enter", " ", "Escape"].includes(key);
}

/** Applies the filters now, and after each change. */
function startFilters(): void {
  const apply = () => showSelection(selectFrom(data, readFilter()));
  let timer = 0;
  const applySoon = () => {
    clearTimeout(timer);
    timer = setTimeout(apply, DELAY);
  };
  form.addEventListener("input", applySoon);
  form.addEventListener("reset", applySoon);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

function readFilter(): Filter {
  return {
    name: elementById("filter-name", HTMLInputElement).value,
    role: elementById("filter-role", HTMLSelectElement).value as Filter["role"],
    code: elementById("filter-code", HTMLSelectElement).value,
    onlyProblems: elementById("filter-problems", HTMLInputElement).checked,
  };
}

function showSelection(selection: Selection): void {
  matrix?.draw(selection);
  const items = [...elementById("findings", HTMLElement).children];
  const clusters = [...document.querySelectorAll("#clusters tbody tr")];
  const listed = showOnly(items, selection.groups);
  const shown = showOnly(clusters, selection.clusters);
  elementById("filter-result", HTMLOutputElement).textContent =
    `${shown} of ${clusters.length} clusters, ${listed} of ${items.length} findings`;
}

/** Hides the elements whose index is not selected. Returns the number of others. */
function showOnly(elements: readonly Element[], selected: ReadonlySet<number>): number {
  for (const [i, element] of elements.entries()) element.toggleAttribute("hidden", !selected.has(i));
  return elements.filter((_, i) => selected.has(i)).length;
}
