/** The existing objects of a target, selected from the objects of a file. Pure. */
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import { AGENTS, OPERATOR } from "../cilium/object-names.ts";
import { describeObject } from "../import/plan/change.ts";
import { literal } from "../peer/codes/code.ts";
import { type Origin, secretProblem } from "../peer/documents.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { createRemedy, DEFAULT_CALL, type ForeignFile, foreignFinding } from "../peer/foreign/foreign.ts";
import { generatedSecretName } from "../peer/foreign/kinds.ts";
import { recognizeObject } from "../peer/foreign/objects.ts";
import { AGENTS_SECRET, APISERVER, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import type { WorkloadName } from "../peer/target-facts.ts";
import { type Fields, getField, isFields } from "../util/fields.ts";
import { shellQuote } from "../util/shell.ts";

/** The objects of a target that imports write. An object that is not given may exist all the same. */
export interface ExistingObjects {
  agentsSecret?: V1Secret;
  kvstoremeshSecret?: V1Secret;
  users?: V1ConfigMap;
  workloads: ExistingWorkload[];
}

export interface ExistingWorkload extends WorkloadName {
  object: V1Deployment | V1DaemonSet;
  hostAliases: V1HostAlias[] | undefined;
}

/** No object is given. */
export const NOTHING: ExistingObjects = { workloads: [] };

/** The objects of a target that are read, by kind; the workloads as an import reads them. */
const SELECTED = [
  ["Secret", AGENTS_SECRET],
  ["Secret", KVSTOREMESH_SECRET],
  ["ConfigMap", USERS_CONFIG_MAP],
  ["DaemonSet", AGENTS],
  ["Deployment", APISERVER],
  ["Deployment", OPERATOR],
] as const;

/** Returns the command that prints the existing objects of a target; the context is a placeholder. */
export function printExistingCommand(namespace: string): string {
  const objects = SELECTED.map(([kind, name]) => describeObject(kind, name)).join(" ");
  return `kubectl --context CONTEXT get ${objects} --namespace ${shellQuote(namespace)} --ignore-not-found --output yaml`;
}

/**
 * Selects the existing objects of a target. Other objects, and objects of other namespaces, are ignored. A workload may be
 * a patch that contains only its host aliases.
 *
 * @param source - the name of the file in findings.
 * @param origin - for the remedies of encrypted and generated objects: its call reads the existing objects from stdin.
 * @returns the objects, with a finding for each one that is invalid, given twice, or not in plain text.
 */
export function selectExisting(
  objects: readonly unknown[],
  namespace: string,
  source: string,
  { path, call = DEFAULT_CALL }: Origin = {},
): { existing: ExistingObjects; findings: Finding[] } {
  const existing: ExistingObjects = { workloads: [] };
  const findings: Finding[] = [];
  const report = (problem: string) => findings.push(finding("unreadable", { source }, { problem }));
  const found = new Set<string>();
  for (const object of objects) {
    const selected = isFields(object) ? identify(object, namespace) : undefined;
    if (!selected) continue;
    const foreign = recognizeExisting(selected.object, namespace);
    const reference = describeObject(selected.kind, selected.name);
    if (foreign) findings.push(foreignFinding(foreign, source, path, call));
    else if (found.has(reference)) report(`contains two of ${reference}`);
    else {
      const problem = addExisting(existing, selected);
      if (problem !== undefined) report(problem);
    }
    found.add(reference);
  }
  return { existing, findings };
}

/** One of {@link SELECTED}, or an object that generates it. */
interface SelectedObject {
  kind: (typeof SELECTED)[number][0];
  name: string;
  object: Fields;
}

/** Identifies an object of a target; undefined for other objects, and those of other namespaces. */
function identify(object: Fields, namespace: string): SelectedObject | undefined {
  const place = getField(object, ["metadata", "namespace"]);
  if (place !== undefined && place !== namespace) return undefined;
  const secret = generatedSecretName(object);
  const [kind, name] =
    secret === undefined ? [object.kind, getField(object, ["metadata", "name"])] : ["Secret", secret];
  const [selected] = SELECTED.filter((one) => one[0] === kind && one[1] === name);
  return selected && { kind: selected[0], name: selected[1], object };
}

/** Recognizes an object that does not contain its values; what it generates has to be printed from the cluster. */
function recognizeExisting(object: Fields, namespace: string): ForeignFile | undefined {
  const foreign = recognizeObject(object);
  if (!foreign || generatedSecretName(object) === undefined) return foreign;
  return { ...foreign, remedy: createRemedy(`${literal(printExistingCommand(namespace))} | {rerun}`) };
}

/** Adds an object. @returns why it is invalid; it is then not added. */
function addExisting(existing: ExistingObjects, { kind, name, object }: SelectedObject): string | undefined {
  switch (kind) {
    case "Secret": {
      const problem = secretProblem(object);
      if (problem !== undefined) return problem;
      const secret = encodeStringData(object as V1Secret);
      if (name === AGENTS_SECRET) existing.agentsSecret = secret;
      else existing.kvstoremeshSecret = secret;
      return undefined;
    }
    case "ConfigMap": {
      const problem = configMapProblem(object);
      if (problem === undefined) existing.users = object as V1ConfigMap;
      return problem;
    }
    default: {
      const { hostAliases, problem } = readHostAliases(object);
      if (problem !== undefined) return problem;
      existing.workloads.push({ kind, name, object: object as V1Deployment | V1DaemonSet, hostAliases });
      return undefined;
    }
  }
}

/** Moves `stringData` to `data`, as the API server does. */
function encodeStringData({ stringData, ...secret }: V1Secret): V1Secret {
  if (!stringData) return secret;
  const encoded = Object.entries(stringData).filter((entry) => isText(entry[1]));
  const data = encoded.map(([key, value]) => [key, Buffer.from(value).toString("base64")]);
  return { ...secret, data: { ...secret.data, ...Object.fromEntries(data) } };
}

function configMapProblem({ data }: Fields): string | undefined {
  const isValid = data === undefined || data === null || (isFields(data) && Object.values(data).every(isText));
  return isValid ? undefined : `contains a ConfigMap whose data is not a mapping of strings`;
}

/** Reads the host aliases of a workload, without the directives of a strategic merge patch. */
function readHostAliases(object: Fields): { hostAliases: V1HostAlias[] | undefined; problem?: string } {
  const list = getField(object, ["spec", "template", "spec", "hostAliases"]);
  if (list === undefined || list === null) return { hostAliases: undefined };
  const invalid = { hostAliases: undefined, problem: "contains a workload with invalid host aliases" };
  if (!Array.isArray(list)) return invalid;
  const hostAliases: V1HostAlias[] = [];
  for (const entry of list as unknown[]) {
    if (!isFields(entry)) return invalid;
    const { ip, hostnames, $patch } = entry;
    if ($patch !== undefined) continue;
    const isValid = isText(ip) && (hostnames === undefined || (Array.isArray(hostnames) && hostnames.every(isText)));
    if (!isValid) return invalid;
    hostAliases.push({ ip, ...(hostnames !== undefined && { hostnames: hostnames as string[] }) });
  }
  return { hostAliases };
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}
