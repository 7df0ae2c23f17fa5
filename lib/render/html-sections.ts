/** The parts of a status page that are readable without its script: findings, and a table of clusters. Pure. */
import type { PairState } from "../mesh/pairs.ts";
import type { MeshStatus } from "../mesh/status.ts";
import { judgeClusters, kvstoreMeshOf, readyOf } from "./cluster-rows.ts";
import { describeGroup, type FindingGroup } from "./finding-groups.ts";
import { Markup, markup } from "./markup.ts";
import { idsInPairs, listPeers, listUncheckedEndpoints, MARKS, STATES, stateLookups } from "./mesh-matrix.ts";
import type { RemedyLine } from "./page/page-data.ts";
import { listFirst } from "./style.ts";

/** Maximum length of the list of findings, in characters. */
const MAX_LIST = 800_000;

/** Items of the list of findings. */
export interface FindingList {
  items: Markup[];
  /** The number of findings at the end that are left out, because the list would be too long. */
  more: number;
}

/** Lists groups of findings with their remedies, as far as they fit. */
export function listFindings(groups: readonly FindingGroup[], splitRemedy: (line: string) => RemedyLine): FindingList {
  const items: Markup[] = [];
  let length = 0;
  for (const group of groups) {
    const item = findingItem(group, items.length, splitRemedy);
    length += item.text.length;
    if (length > MAX_LIST) break;
    items.push(item);
  }
  return { items, more: groups.length - items.length };
}

function findingItem(group: FindingGroup, index: number, splitRemedy: (line: string) => RemedyLine): Markup {
  const { severity, code } = group.findings[0];
  const { text, messages, more } = describeGroup(group);
  const others = more > 0 ? [markup`<li>… and ${more.toLocaleString("en")} more</li>`] : [];
  const list = markup`<ul>${messages.map((message) => markup`<li>${message}</li>`)}${others}</ul>`;
  const remedy = group.remedy.map((line) => remedyLine(splitRemedy(line)));
  return markup`<li id="finding-${index}"><p><strong class="severity ${severity}">${severity}</strong> ${text} <span class="code">[${code}]</span></p>${messages.length > 0 ? list : ""}${remedy}</li>
`;
}

function remedyLine(line: RemedyLine): Markup {
  return markup`<p class="remedy">${line.map((part, i) => (i % 2 === 0 ? markup`${part}` : markup`<code>${part}</code>`))}</p>`;
}

/** Shows a table with a row for each cluster: facts, state, and the number of peers in each state that any peer has. */
export function clusterTable(status: MeshStatus, groups: readonly FindingGroup[]): Markup {
  const ids = idsInPairs(status);
  const peers = listPeers(status, ids);
  const rows = stateLookups(status);
  const counts = rows.map((stateIn) => countStates(peers.map(({ name }) => stateIn(name))));
  const shown = STATES.filter((state) => counts.some((one) => one[state] > 0));
  const named = status.clusters.some(({ name, source }) => name !== undefined && name !== source);
  const verdicts = judgeClusters(status, groups);
  const titles: Record<PairState, string> = {
    ok: "Healthy",
    warning: "Warnings",
    error: "Errors",
    missing: "Not configured",
    "node-local": "Node-local",
  };
  const head = markup`<tr><th scope="col">Cluster</th>${named ? markup`<th scope="col">Name</th>` : ""}<th scope="col">ID</th><th scope="col">Version</th><th scope="col">KVStoreMesh</th><th scope="col">Ready</th><th scope="col">Status</th>${shown.map((state) => markup`<th scope="col" class="number">${titles[state]}</th>`)}</tr>`;
  const body = status.clusters.map((cluster, i) => {
    const { source, name = "-", id = ids.get(source) ?? "-", version = "-", error } = cluster;
    const { health = "ok", verdict = "" } = verdicts[i] ?? {};
    const numbers = shown.map((state) => {
      const number = error === undefined ? `${counts[i]?.[state] ?? 0}` : "-";
      return markup`<td class="number">${number}</td>`;
    });
    return markup`<tr><th scope="row">${source}</th>${named ? markup`<td>${name}</td>` : ""}<td>${id}</td><td>${version}</td><td>${kvstoreMeshOf(cluster)}</td><td>${readyOf(cluster)}</td><td><span class="health ${health}"><span aria-hidden="true">${MARKS[health]}</span> ${verdict}</span></td>${numbers}</tr>
`;
  });
  const caption = peers.length > 0 ? "Peers are counted by state." : "";
  return markup`<table class="clusters"><caption>${caption}</caption><thead>${head}</thead><tbody>
${body}</tbody></table>`;
}

function countStates(states: readonly string[]): Record<PairState, number> {
  const of = (state: PairState) => states.filter((one) => one === state).length;
  return {
    ok: of("ok"),
    warning: of("warning"),
    error: of("error"),
    missing: of("missing"),
    "node-local": of("node-local"),
  };
}

/** Names the pairs whose endpoint was set with a flag, if no probe has checked it. */
export function givenEndpointsNote(status: MeshStatus): Markup {
  const unchecked = listUncheckedEndpoints(status);
  if (unchecked.length === 0) return new Markup("");
  return markup`<p class="note">Not checked without --probe: endpoints set with a flag: ${listFirst(unchecked)}</p>`;
}
