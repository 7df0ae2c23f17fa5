/** Findings merged by code and remedy, and their subjects. Pure. */
import type { Severity } from "../peer/codes/code.ts";
import { definitionOf } from "../peer/finding-codes.ts";
import { type Finding, fillTemplate, hasErrors } from "../peer/findings.ts";
import { describePairs } from "./cluster-pairs.ts";
import { listFirst } from "./style.ts";

/** Maximum number of messages below the summary of a group. */
const MAX_MESSAGES = 10;

/** Findings printed as one. */
export interface FindingGroup {
  /** Findings with equal code, severity and data. */
  findings: [Finding, ...Finding[]];
  /** The lines of the common remedy; values that differ are placeholders in capitals. */
  remedy: string[];
}

/**
 * Merges findings with equal code and remedy, in order of first appearance. Findings about a single subject have different
 * messages, and are not merged.
 *
 * @param details - whether to keep all findings separate.
 */
export function groupFindings(findings: readonly Finding[], details = false): FindingGroup[] {
  if (details) return findings.map(toGroup);
  const groups = new Map<string, FindingGroup["findings"]>();
  for (const one of findings) {
    const remedy = one.remedyTemplate?.template ?? one.remedy;
    const key = JSON.stringify([
      one.code,
      remedy,
      one.data,
      one.existing === true,
      one.clusters !== undefined,
      one.key !== undefined,
    ]);
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return [...groups.values()].flatMap((group) =>
    hasSingleSubject(group) ? group.map(toGroup) : [{ findings: group, remedy: commonRemedy(group) }],
  );
}

/** Counts groups with errors and groups with warnings only. */
export function countGroups(groups: readonly FindingGroup[]): Record<Severity, number> {
  const errors = groups.filter((group) => hasErrors(group.findings)).length;
  return { error: errors, warning: groups.length - errors };
}

function toGroup(one: Finding): FindingGroup {
  return { findings: [one], remedy: commonRemedy([one]) };
}

function hasSingleSubject(findings: readonly Finding[]): boolean {
  return new Set(findings.map((one) => JSON.stringify([one.source, one.key, one.clusters]))).size === 1;
}

function commonRemedy([first, ...others]: FindingGroup["findings"]): string[] {
  if (!first.remedyTemplate) return first.remedy === undefined ? [] : [first.remedy];
  const { template, values } = first.remedyTemplate;
  const shared = Object.entries(values).filter(([name, value]) =>
    others.every(({ remedyTemplate }) => remedyTemplate?.values[name] === value),
  );
  // Split before values are filled in, so that no value can forge a line.
  return template.split("\n").map((line) => fillTemplate({ template: line, values: Object.fromEntries(shared) }));
}

/** The text of a group, unescaped. */
export interface GroupText {
  /** The message of the only finding, or a summary. */
  text: string;
  /** Individual messages below the summary. */
  messages: string[];
  /** The number of messages that are left out. */
  more: number;
}

/** Describes a group: by the message of its only finding, or by a summary with its subjects or messages. */
export function describeGroup({ findings }: FindingGroup): GroupText {
  const [first] = findings;
  if (findings.length === 1) return { text: messageOf(first), messages: [], more: 0 };
  const { summary, each } = definitionOf(first.code);
  const { of, list, source } = subjectsOf(findings);
  const sentence = summary(of, first.data ?? {});
  const head = source === undefined ? sentence : `${source}: ${sentence}`;
  if (!each) return { text: `${head}: ${list}`, messages: [], more: 0 };
  const more = Math.max(0, findings.length - MAX_MESSAGES);
  return { text: head, messages: findings.slice(0, MAX_MESSAGES).map(messageOf), more };
}

const messageOf = (one: Finding) => `${placeOf(one)}: ${one.message}`;

/** The subjects of several findings. */
interface Subjects {
  /** Number and noun, such as `20 existing peers` or `3 pairs of clusters`. */
  of: string;
  /** Up to ten names; the rest is counted. */
  list: string;
  /** Set if all subjects have the same source. */
  source?: string;
}

/** Counts and lists the subjects of a group. */
function subjectsOf(group: FindingGroup["findings"]): Subjects {
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

/** Names the source and key of a finding; only the source if they are equal. */
function placeOf({ source, key }: Finding): string {
  return key === undefined || key === source ? source : `${source} (${key})`;
}
