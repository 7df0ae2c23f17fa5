/** The data of a status page, small enough for meshes of 255 clusters. Pure. */
import type { Pair } from "../mesh/pairs.ts";
import type { MeshStatus } from "../mesh/status.ts";
import { definitionOf } from "../peer/finding-codes.ts";
import type { Finding } from "../peer/findings.ts";
import { judgeClusters } from "./cluster-rows.ts";
import type { FindingGroup } from "./finding-groups.ts";
import {
  type CellState,
  groupByImporter,
  idsInPairs,
  listPeers,
  MARKS,
  MEANINGS,
  stateLookups,
} from "./mesh-matrix.ts";
import { type CellData, type FindingData, IMPORTER, type PageData, PEER, type RemedyLine } from "./page/page-data.ts";
import { escapeLine } from "./style.ts";

/** Maximum length of all messages and remedies in the data, in characters. */
const MAX_TEXT = 1_000_000;

const CELL_STATES = Object.keys(MARKS) as CellState[];

export interface PageDataOptions {
  /** The groups of all findings. */
  groups: readonly FindingGroup[];
  /** The number of groups that the page lists, from the first one on. */
  listed: number;
  /** Splits a line of a remedy into prose and commands, which get the flags of the running command. */
  splitRemedy(line: string): RemedyLine;
}

/** Converts the state of a mesh. The order of everything follows from the order in the state. */
export function toPageData(status: MeshStatus, options: PageDataOptions): PageData {
  const peers = listPeers(status, idsInPairs(status));
  const columns = new Map(peers.map(({ name }, i) => [name, i]));
  const verdicts = judgeClusters(status, options.groups);
  const byImporter = groupByImporter(status.pairs);
  const findings = new FindingTable(options);
  const kinds = new Interned<CellData>();
  const rows = stateLookups(status);
  const clusters = status.clusters.map(({ source, name = source, findings: own }, i) => ({
    name: escapeLine(source),
    column: columns.get(name) ?? -1,
    health: verdicts[i]?.health ?? ("ok" as const),
    verdict: verdicts[i]?.verdict ?? "",
    findings: own.map((one) => findings.add(one)),
  }));
  const cells = status.clusters.map(({ source }, i) => {
    const pairs = byImporter.get(source);
    return peers.map(({ name }) => {
      const pair = pairs?.get(name);
      const state = CELL_STATES.indexOf(rows[i]?.(name) ?? "unknown");
      return kinds.indexOf([state, ...(pair?.findings ?? []).map((one) => findings.add(one, pair))]);
    });
  });
  return {
    states: CELL_STATES.map((name) => ({ name, mark: MARKS[name], meaning: MEANINGS[name] })),
    peers: peers.map(({ name }) => escapeLine(name)),
    clusters,
    cells,
    kinds: kinds.values,
    codes: findings.codes.values,
    findings: findings.entries.values,
  };
}

/** Distinct values in the order of their first use. */
class Interned<T> {
  readonly values: T[] = [];
  readonly #indexes = new Map<string, number>();

  /** Returns the index of a value, which is added if no other is equal in JSON. */
  indexOf(value: T): number {
    const key = JSON.stringify(value);
    const index = this.#indexes.get(key) ?? this.values.push(value) - 1;
    this.#indexes.set(key, index);
    return index;
  }
}

/** Distinct findings; once their texts exceed {@link MAX_TEXT}, later ones have none. */
class FindingTable {
  readonly entries = new Interned<FindingData>();
  readonly codes = new Interned<string>();
  readonly #groups: Map<string, number>;
  readonly #splitRemedy: PageDataOptions["splitRemedy"];
  #length = 0;

  constructor({ groups, listed, splitRemedy }: PageDataOptions) {
    this.#groups = new Map(
      groups.flatMap(({ findings }, i) => findings.map((one): [string, number] => [factOf(one), i < listed ? i : -1])),
    );
    this.#splitRemedy = splitRemedy;
  }

  /** Returns the index of a finding of a cluster or of a pair. */
  add(one: Finding, pair?: Pair): number {
    const { code, severity } = one;
    const group = this.#groups.get(factOf(one)) ?? -1;
    const entry: [number, 0 | 1, number] = [group, severity === "error" ? 1 : 0, this.codes.indexOf(code)];
    if (this.#length > MAX_TEXT) return this.entries.indexOf(entry);
    const message = shorten(one.message, pair);
    const remedy = (one.remedy?.split("\n") ?? []).map(
      (line): RemedyLine => this.#splitRemedy(line).map((part) => shorten(part, pair)),
    );
    const before = this.entries.values.length;
    const index = this.entries.indexOf([...entry, message, remedy]);
    if (this.entries.values.length > before) this.#length += message.length + remedy.join("").length;
    return index;
  }
}

/** A key for the fact that a finding reports: symmetric findings of a pair, which are reported once, have the same one. */
function factOf(one: Finding): string {
  const { clusters, code } = one;
  return JSON.stringify(clusters ? [definitionOf(code).sameAs ?? code, ...[...clusters].sort()] : one);
}

/** Escapes a text, and replaces the names of a pair by placeholders, which no escaped text contains. */
function shorten(text: string, pair: Pair | undefined): string {
  const escaped = escapeLine(text);
  if (!pair) return escaped;
  return escaped.replaceAll(escapeLine(pair.importer), IMPORTER).replaceAll(escapeLine(pair.peer), PEER);
}
