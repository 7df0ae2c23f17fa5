/** Findings of one code and one remedy, together, and what they are about. Pure. */
import { definitionOf } from "../peer/finding-codes.ts";
import { type Finding, fillTemplate } from "../peer/findings.ts";
import { describePairs } from "./cluster-pairs.ts";
import { listFirst } from "./style.ts";

/** Findings that are reported as one. */
export interface FindingGroup {
  /** At least one; all have one code, and so one severity, and the same data. */
  findings: [Finding, ...Finding[]];
  /** The remedy of all; what differs between theirs is a placeholder in capitals. */
  remedy: string | undefined;
}

/**
 * Findings as they are printed, in the order in which the first of each group comes. Several about one thing differ in what
 * they say, so each stands alone.
 *
 * @param details - each by itself.
 */
export function groupFindings(findings: readonly Finding[], details = false): FindingGroup[] {
  if (details) return findings.map(alone);
  const groups = new Map<string, FindingGroup["findings"]>();
  for (const one of findings) {
    const remedy = one.remedyTemplate?.template ?? one.remedy;
    const key = JSON.stringify([one.code, remedy, one.data, one.existing === true, one.clusters !== undefined]);
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return [...groups.values()].flatMap((group) =>
    isOfOne(group) ? group.map(alone) : [{ findings: group, remedy: commonRemedy(group) }],
  );
}

function alone(one: Finding): FindingGroup {
  return { findings: [one], remedy: one.remedy };
}

function isOfOne(findings: readonly Finding[]): boolean {
  return new Set(findings.map((one) => JSON.stringify([one.source, one.key, one.clusters]))).size === 1;
}

function commonRemedy([first, ...others]: FindingGroup["findings"]): string | undefined {
  if (!first.remedyTemplate) return first.remedy;
  const { template, values } = first.remedyTemplate;
  const shared = Object.entries(values).filter(([name, value]) =>
    others.every(({ remedyTemplate }) => remedyTemplate?.values[name] === value),
  );
  return fillTemplate({ template, values: Object.fromEntries(shared) });
}

/** What several findings are about: how many of what, which ones, and where all of them are, if that is one place. */
export interface Subjects {
  /** Such as `20 existing peers`, or `3 pairs of clusters`. */
  of: string;
  /** The first ten, and how many more. */
  list: string;
  source?: string;
}

/** What the findings of a group are about. */
export function subjectsOf(group: FindingGroup["findings"]): Subjects {
  const pairs = group.flatMap(({ clusters }) => (clusters ? [clusters] : []));
  if (pairs.length === group.length) return describePairs(pairs);
  const places = [...new Map(group.map((one) => [JSON.stringify([one.source, one.key]), one])).values()];
  const { noun, each } = definitionOf(group[0].code);
  const number = (each ? group : places).length;
  const existing = group[0].existing ? "existing " : "";
  const of = `${number.toLocaleString("en")} ${existing}${noun ?? (group[0].key === undefined ? "clusters" : "peers")}`;
  const sources = new Set(places.map(({ source }) => source));
  const keys = new Set(places.map(({ key }) => key));
  const [key] = keys;
  if (key === undefined || each) return { of, list: listFirst(places.map(placeOf)) };
  const [source] = sources;
  if (sources.size === 1 && source !== undefined) return { of, source, list: listFirst(places.map(placeOfKey)) };
  if (keys.size === 1) return { of, list: `${key} in ${listFirst([...sources])}` };
  return { of, list: listFirst(places.map(placeOf)) };
}

const placeOfKey = ({ key, source }: Finding) => key ?? source;

/** Where a finding is, in one text; a peer that is called like its context is named once. */
export function placeOf({ source, key }: Finding): string {
  return key === undefined || key === source ? source : `${source} (${key})`;
}
