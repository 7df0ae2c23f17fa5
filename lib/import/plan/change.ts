/** The changes of a plan: one object each. Pure. */
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { shellQuote } from "../../util/shell.ts";
import type { MetadataPatch } from "./ownership.ts";
import type { Target, Workload } from "./target.ts";

/** Operations of a JSON Patch (RFC 6902). */
export type JsonPatch = { op: "test" | "add" | "replace"; path: string; value: unknown }[];

/**
 * A write of one object. A JSON patch adds host aliases for `hostnames` to a workload, which restarts its pods.
 * A plan can stop after any of its changes: each connection that worked before still works.
 */
export type Change =
  | { verb: "create"; kind: "Secret"; name: string; object: V1Secret }
  | { verb: "create"; kind: "ConfigMap"; name: string; object: V1ConfigMap }
  | { verb: "merge-patch"; kind: "Secret" | "ConfigMap"; name: string; patch: MergePatch; follows?: boolean }
  | { verb: "json-patch"; kind: Workload["kind"]; name: string; patch: JsonPatch; hostnames: string[] };

/**
 * A merge patch (RFC 7386) with the `resourceVersion` that was read; null removes a key. A patch that `follows` another
 * change of the same object uses the version returned by that change.
 */
export interface MergePatch {
  metadata: MetadataPatch & { resourceVersion?: string };
  data?: Record<string, string | null>;
}

/** Returns the name of an object in messages: `secret/cilium-clustermesh`. */
export function describeObject(kind: string, name: string): string {
  return `${kind.toLowerCase()}/${name}`;
}

/**
 * Returns the kubectl command that shows which clients wrote the fields of an object, without their values: a Secret has keys.
 *
 * @param object - as of {@link describeObject}.
 */
export function showManagersCommand(
  { source, namespace }: Pick<Target, "source" | "namespace">,
  object: string,
): string {
  const place = `--context ${shellQuote(source)} --namespace ${shellQuote(namespace)}`;
  return `kubectl ${place} get ${shellQuote(object)} --output jsonpath='{.metadata.managedFields}'`;
}

/** Returns the metadata of a merge patch, with the `resourceVersion` of the object. */
export function patchMetadata({ metadata }: V1Secret | V1ConfigMap, patch: MetadataPatch): MergePatch["metadata"] {
  const { labels = {}, annotations = {}, ownerReferences } = patch;
  return {
    ...(metadata?.resourceVersion !== undefined && { resourceVersion: metadata.resourceVersion }),
    ...(Object.keys(labels).length > 0 && { labels }),
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ...(ownerReferences !== undefined && { ownerReferences }),
  };
}

/** Merges the changes of each object into one, for a dry run, in which a later change cannot build on an earlier one. */
export function coalesce(changes: readonly Change[]): Change[] {
  const result: Change[] = [];
  for (const change of changes) {
    const first = result.findIndex(({ kind, name }) => kind === change.kind && name === change.name);
    const before = result[first];
    if (before && change.verb === "merge-patch") result[first] = mergePatches(before, change);
    else result.push(change);
  }
  return result;
}

function mergePatches(first: Change, second: Change & { verb: "merge-patch" }): Change {
  if (first.verb !== "merge-patch") return first;
  const { metadata, data } = first.patch;
  const annotations = { ...metadata.annotations, ...second.patch.metadata.annotations };
  return { ...first, patch: { metadata: { ...metadata, annotations }, data: { ...data, ...second.patch.data } } };
}
