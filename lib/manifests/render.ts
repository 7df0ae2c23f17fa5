/** Renders the import of peers into a target as files for Git. Pure. */
import type { V1Secret } from "@kubernetes/client-node";
import { type Change, describeObject } from "../import/plan/change.ts";
import { readExistingConfig } from "../import/plan/existing.ts";
import { omitAppliers } from "../import/plan/ownership.ts";
import { type Plan, type PlanOptions, plan } from "../import/plan/plan.ts";
import type { Target } from "../import/plan/target.ts";
import { type Finding, finding, hasErrors } from "../peer/findings.ts";
import type { SourcedPeer } from "../peer/peer.ts";
import { enumerate } from "../util/enumerate.ts";
import { formatYaml } from "../util/yaml.ts";
import { toHelmValues } from "./helm-values.ts";
import { containsPrivateKey, type HostAliasPatch, type Manifest, toManifests } from "./manifest.ts";

/**
 * `manifests`: objects, and strategic merge patches of workloads; `kustomize`: the same with a kustomization, and a
 * component for the patches; `helm-values`: values of Cilium's chart, which renders the objects itself.
 */
export type Form = "manifests" | "kustomize" | "helm-values";

export interface RenderOptions extends Pick<PlanOptions, "tls" | "users" | "now"> {
  form: Form;
  /** Render whole objects as if none existed. */
  whole: boolean;
  /** The existing objects were read from a file, so that objects which the target lacks may exist too. */
  mayLackObjects?: boolean;
}

/** A file to commit. */
export interface RenderedFile {
  /** Relative to the output directory. */
  path: string;
  text: string;
  /** Whether it contains a private key. */
  isPrivate: boolean;
  /** The object that it contains, or the workload whose host aliases it patches. */
  object?: { kind: Change["kind"]; name: string };
}

export interface Rendering {
  /** Empty if there is an error, or nothing to render. */
  files: RenderedFile[];
  plan: Plan;
  findings: Finding[];
}

/** Renders the target with the peers imported: the same as an import writes, including what exists already. */
export function renderTarget(target: Target, peers: readonly SourcedPeer[], options: RenderOptions): Rendering {
  const { form, whole, mayLackObjects = false, ...planOptions } = options;
  const planned = toPlannedTarget(target, whole, form === "helm-values");
  // Nothing is written, so that owners are warnings; the files describe all workloads, whatever restarts them.
  // The order of host names at one address follows that of the peers.
  const sorted = [...peers].sort((a, b) => (a.peer.name < b.peer.name ? -1 : 1));
  const planning = plan(planned, sorted, { ...planOptions, restarts: "all", previewOnly: true });
  if (hasErrors(planning.findings)) return { files: [], plan: planning, findings: planning.findings };
  if (!hasPeers(planned, planning)) return { files: [], plan: planning, findings: planning.findings };
  const { objects, patches } = toManifests(planned, planning);
  const unknown = mayLackObjects ? patches.filter((patch) => !isWorkloadKnown(planned, patch)) : [];
  const findings = [
    ...planning.findings,
    ...(whole || mayLackObjects ? warnOfWholeObjects(planned, objects, unknown) : []),
  ];
  if (form === "helm-values") {
    const { values, isPrivate, findings: found } = toHelmValues(planned, objects);
    // Without clusters, the values would remove every peer.
    const isEmpty = !values || Object.keys(values.clustermesh.config.clusters).length === 0;
    const files = isEmpty ? [] : [{ path: "values.yaml", text: formatYaml(values), isPrivate }];
    return { files, plan: planning, findings: [...findings, ...found] };
  }
  const files = [...objects.map(toFile), ...patches.map((patch) => toPatchFile(patch))];
  return { files: form === "kustomize" ? kustomize(objects, patches) : files, plan: planning, findings };
}

/** Returns the target without the marks of tools that apply the output and, for whole objects, without existing ones. */
function toPlannedTarget(target: Target, whole: boolean, isForHelm: boolean): Target {
  const clean = <T extends { metadata?: V1Secret["metadata"] }>(object: T): T =>
    object.metadata ? { ...object, metadata: omitAppliers(object.metadata, isForHelm) } : object;
  const { agentsSecret, kvstoremeshSecret, users, resolvers, aliases } = target;
  return {
    ...target,
    agentsSecret: whole ? undefined : agentsSecret && clean(agentsSecret),
    kvstoremeshSecret: whole ? undefined : kvstoremeshSecret && clean(kvstoremeshSecret),
    users: whole ? undefined : users && clean(users),
    aliases: whole ? [] : aliases,
    resolvers: resolvers.map((one) => ({
      ...one,
      hostAliases: whole ? undefined : one.hostAliases,
      object: clean(one.object),
    })),
  };
}

/** Whether a target has peers after a plan. Without any, the output could only remove peers. */
function hasPeers(target: Target, { outcomes }: Plan): boolean {
  return outcomes.size > 0 || readExistingConfig(target).names.size > 0;
}

/** Whether a workload was given, so that a patch contains the host aliases that it has. */
function isWorkloadKnown({ resolvers }: Target, { kind, metadata }: HostAliasPatch): boolean {
  const workload = resolvers.find((one) => one.kind === kind && one.name === metadata.name);
  return workload?.object.metadata !== undefined;
}

/** Warns of the rendered objects and patches that the target lacks: if they exist, the output may replace them. */
function warnOfWholeObjects(
  target: Target,
  objects: readonly Manifest[],
  patches: readonly HostAliasPatch[],
): Finding[] {
  const { source, agentsSecret, kvstoremeshSecret, users } = target;
  const known = [agentsSecret, kvstoremeshSecret, users].map((object) => object?.metadata?.name);
  const names = [
    ...objects
      .filter(({ metadata }) => !known.includes(metadata.name))
      .map(({ kind, metadata }) => describeObject(kind, metadata.name)),
    ...patches.map(({ kind, metadata }) => `the host aliases of ${describeObject(kind, metadata.name)}`),
  ];
  return names.length > 0 ? [finding("whole-objects", { source }, { objects: enumerate(names) })] : [];
}

function toFile(object: Manifest): RenderedFile {
  const { kind, metadata } = object;
  const { name } = metadata;
  return {
    path: `${name}.yaml`,
    text: formatYaml(object),
    isPrivate: containsPrivateKey(object),
    object: { kind, name },
  };
}

function toPatchFile(patch: HostAliasPatch, folder = ""): RenderedFile {
  const { kind, metadata } = patch;
  const path = `${folder}host-aliases-${kind.toLowerCase()}-${metadata.name}.yaml`;
  return { path, text: formatYaml(patch), isPrivate: false, object: { kind, name: metadata.name } };
}

/** The folder of the component with the patches. */
const PATCHES_FOLDER = "host-aliases";

/**
 * Adds kustomizations. A patch needs the workload that it changes among the resources, which Cilium's chart renders: the
 * patches are a component, which the kustomization with the workloads includes.
 */
function kustomize(objects: readonly Manifest[], patches: readonly HostAliasPatch[]): RenderedFile[] {
  const resources = objects.map(toFile);
  const folder = `${PATCHES_FOLDER}/`;
  const patchFiles = patches.map((patch) => toPatchFile(patch, folder));
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: resources.map(({ path }) => path),
  };
  const component = {
    apiVersion: "kustomize.config.k8s.io/v1alpha1",
    kind: "Component",
    patches: patchFiles.map(({ path }) => ({ path: path.slice(folder.length) })),
  };
  return [
    { path: "kustomization.yaml", text: formatYaml(kustomization), isPrivate: false },
    ...resources,
    ...(patches.length > 0
      ? [{ path: `${folder}kustomization.yaml`, text: formatYaml(component), isPrivate: false }, ...patchFiles]
      : []),
  ];
}
