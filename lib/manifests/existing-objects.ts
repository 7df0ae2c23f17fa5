/** The existing objects of a target, selected from the objects of a file. Pure. */
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import { secretProblem } from "../peer/documents.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import type { WorkloadName } from "../peer/target-facts.ts";
import { type Fields, getField, isFields } from "../util/fields.ts";

/** The objects of a target that imports write; an object that is not given does not exist. */
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

/** No object exists. */
export const NOTHING: ExistingObjects = { workloads: [] };

/**
 * Selects the existing objects of a target. Other objects, and objects of other namespaces, are ignored. A workload may be
 * a patch that contains only its host aliases.
 *
 * @param source - the name of the file in findings.
 * @returns the objects, with a finding for each one that is invalid.
 */
export function selectExisting(
  objects: readonly unknown[],
  namespace: string,
  source: string,
): { existing: ExistingObjects; findings: Finding[] } {
  const existing: ExistingObjects = { workloads: [] };
  const findings: Finding[] = [];
  const report = (problem: string | undefined): boolean => {
    if (problem !== undefined) findings.push(finding("unreadable", { source }, { problem }));
    return problem === undefined;
  };
  for (const object of objects) {
    if (!isFields(object)) continue;
    const [name, place] = [getField(object, ["metadata", "name"]), getField(object, ["metadata", "namespace"])];
    if (typeof name !== "string" || (place !== undefined && place !== namespace)) continue;
    const { kind } = object;
    if (kind === "Secret" && name === AGENTS_SECRET) {
      if (report(secretProblem(object))) existing.agentsSecret = encodeStringData(object as V1Secret);
    } else if (kind === "Secret" && name === KVSTOREMESH_SECRET) {
      if (report(secretProblem(object))) existing.kvstoremeshSecret = encodeStringData(object as V1Secret);
    } else if (kind === "ConfigMap" && name === USERS_CONFIG_MAP) {
      if (report(configMapProblem(object))) existing.users = object as V1ConfigMap;
    } else if (kind === "Deployment" || kind === "DaemonSet") {
      const workload = {
        kind,
        name,
        object: object as V1Deployment | V1DaemonSet,
        ...readHostAliases(object),
      } as const;
      if (report(workload.problem)) existing.workloads.push(workload);
    }
  }
  return { existing, findings };
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
