/** Groups findings of one code and one remedy, and names their subjects. Pure. */
import { definitionOf } from "../peer/finding-codes.ts";
import { type Finding, fillTemplate } from "../peer/findings.ts";
import { describePairs } from "./cluster-pairs.ts";
import { listFirst } from "./style.ts";

/** Findings that are reported together. */
export interface FindingGroup {
  /** At least one; all have the same code, severity and data. */
  findings: [Finding, ...Finding[]];
  /** The common remedy, with placeholders in capitals for the parts that differ. */
  remedy: string | undefined;
}

/**
 * Groups findings for output, in the order of the first finding of each group. Findings of one subject have different
 * messages, so they are not grouped.
 *
 * @param details - whether each finding is a group.
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

/** The subjects of several findings: their number, kind and names, and their place if they share one. */
export interface Subjects {
  /** Such as `20 existing peers`, or `3 pairs of clusters`. */
  of: string;
  /** The first ten, and the number of the others. */
  list: string;
  source?: string;
}

/** Returns the subjects of a group. */
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

/** Returns the place of a finding as text; a peer with the name of its context is named once. */
export function placeOf({ source, key }: Finding): string {
  return key === undefined || key === source ? source : `${source} (${key})`;
}
