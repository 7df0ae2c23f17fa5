/** Objects as they are committed: in a fixed order, and without what the API server and other tools add. Pure. */
import type { V1ConfigMap, V1HostAlias, V1Secret } from "@kubernetes/client-node";
import { isOwnershipField } from "../import/plan/ownership.ts";
import type { Plan } from "../import/plan/plan.ts";
import type { Target, Workload } from "../import/plan/target.ts";
import { previewPlan, type Stored } from "../import/preview.ts";
import { CONTEXT_ANNOTATION } from "../peer/annotations.ts";
import { ANNOTATION_PREFIX } from "../peer/codecs.ts";
import { endpointHostnames } from "../peer/etcd-config.ts";
import { decodeFiles, readEntries } from "../peer/secret.ts";
import { mayContainPrivateKey } from "../x509/pem.ts";

/** A Secret or ConfigMap to commit. */
export type Manifest = (V1Secret | V1ConfigMap) & { kind: "Secret" | "ConfigMap"; metadata: { name: string } };

/** A strategic merge patch of the host aliases of a workload. */
export interface HostAliasPatch {
  apiVersion: "apps/v1";
  kind: Workload["kind"];
  metadata: { name: string; namespace: string };
  spec: { template: { spec: { hostAliases: (V1HostAlias | { ip: string; $patch: "delete" })[] } } };
}

/** The objects of a target after a plan. */
export interface Manifests {
  /** In the order of the writes of an import. */
  objects: Manifest[];
  /** The host aliases of all peers, whether or not the workloads have them already. */
  patches: HostAliasPatch[];
}

/** Returns the config Secrets and the users ConfigMap after a plan, and patches with the host aliases of the peers. */
export function toManifests(target: Target, plan: Plan): Manifests {
  const changes = plan.changes.filter(({ verb }) => verb !== "json-patch");
  const objects = previewPlan(target, { ...plan, changes }).flatMap(({ kind, after }) =>
    kind === "Secret" || kind === "ConfigMap" ? [toManifest(kind, after, target.namespace)] : [],
  );
  const hostnames = peerHostnames(objects);
  const patches = target.resolvers.flatMap((workload) => {
    const { hostAliases: before = [] } = workload;
    const hostAliases = diffHostAliases(before, plannedHostAliases(workload, plan) ?? before, hostnames);
    return hostAliases.length > 0 ? [toPatch(workload, target.namespace, hostAliases)] : [];
  });
  return { objects, patches };
}

/** Returns the peers' host names that the configs in Secrets refer to. */
function peerHostnames(objects: readonly Manifest[]): Set<string> {
  const secrets = objects.filter((one): one is Manifest & V1Secret => one.kind === "Secret");
  const entries = secrets.flatMap((secret) => readEntries(decodeFiles(secret, { source: "" }), {}, ""));
  return new Set(entries.flatMap(({ config }) => endpointHostnames(config?.endpoints ?? [])));
}

/** Returns the host aliases of a workload after a plan; undefined if they do not change. */
function plannedHostAliases({ kind, name }: Workload, { changes }: Plan): V1HostAlias[] | undefined {
  const change = changes.find((one) => one.verb === "json-patch" && one.kind === kind && one.name === name);
  if (change?.verb !== "json-patch") return undefined;
  return change.patch.find(({ op }) => op !== "test")?.value as V1HostAlias[] | undefined;
}

/**
 * Returns the entries of a strategic merge patch, whose merge key is the address: those with a host name of a peer, and a
 * deletion for each address that is removed.
 */
function diffHostAliases(
  before: readonly V1HostAlias[],
  after: readonly V1HostAlias[],
  hostnames: ReadonlySet<string>,
): HostAliasPatch["spec"]["template"]["spec"]["hostAliases"] {
  const kept = new Map(after.map((entry) => [entry.ip, entry]));
  const isChanged = ({ ip, hostnames: names = [] }: V1HostAlias) =>
    JSON.stringify(before.find((entry) => entry.ip === ip)?.hostnames ?? []) !== JSON.stringify(names);
  return [
    ...after.filter((entry) => entry.hostnames?.some((name) => hostnames.has(name)) || isChanged(entry)),
    ...before.filter(({ ip }) => !kept.has(ip)).map(({ ip }) => ({ ip, $patch: "delete" as const })),
  ].sort((a, b) => (a.ip < b.ip ? -1 : 1));
}

function toPatch(
  { kind, name }: Workload,
  namespace: string,
  hostAliases: HostAliasPatch["spec"]["template"]["spec"]["hostAliases"],
): HostAliasPatch {
  const metadata = { name, namespace };
  return { apiVersion: "apps/v1", kind, metadata, spec: { template: { spec: { hostAliases } } } };
}

/**
 * Whether a label or annotation is rendered: ours and those of owners. Other tools keep copies of an object in annotations,
 * private keys included.
 */
function isRenderedField(name: string, value: string): boolean {
  return (name.startsWith(ANNOTATION_PREFIX) && name !== CONTEXT_ANNOTATION) || isOwnershipField(name, value);
}

/** Reduces an object to the fields of a manifest, sorted. */
function toManifest(kind: Manifest["kind"], object: Stored, namespace: string): Manifest {
  const { metadata = {}, data, immutable, type } = object as V1Secret & V1ConfigMap;
  const { name = "" } = metadata;
  const labels = sortFields(metadata.labels ?? {}, isRenderedField);
  const annotations = sortFields(metadata.annotations ?? {}, isRenderedField);
  return {
    apiVersion: "v1",
    kind,
    metadata: {
      name,
      namespace,
      ...(Object.keys(labels).length > 0 && { labels }),
      ...(Object.keys(annotations).length > 0 && { annotations }),
    },
    ...(kind === "Secret" && { type: type ?? "Opaque" }),
    ...(immutable && { immutable }),
    data: sortFields(data ?? {}),
  };
}

function sortFields(
  fields: Readonly<Record<string, string>>,
  isKept: (key: string, value: string) => boolean = () => true,
): Record<string, string> {
  const entries = Object.entries(fields).filter(([key, value]) => isKept(key, value));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Whether an object may contain a private key in PEM: in any of its texts, labels and annotations included, or in base64 in a
 * text, as other tools store copies.
 */
export function containsPrivateKey(object: Stored): boolean {
  if (mayContainPrivateKey(JSON.stringify(object))) return true;
  const { files } = decodeFiles(object as V1Secret, { source: "" });
  return [...files.values()].some((content) => mayContainPrivateKey(content.toString()));
}
