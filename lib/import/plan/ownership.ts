/** The owner of an object: another tool that writes it and would revert our changes. Pure. */
import type { V1ManagedFieldsEntry, V1ObjectMeta, V1OwnerReference } from "@kubernetes/client-node";
import { FIELD_MANAGER, TAKEN_FROM_ANNOTATION } from "../../peer/annotations.ts";

export interface Owner {
  /** Whether the owner also renders Cilium's workloads, so that its next upgrade removes their host aliases. */
  rendersWorkloads?: true;
  /** Name in messages: `Helm release cilium`, `Argo CD application mesh`. */
  label: string;
  /** How to make the owner release the object after the takeover; before it, the owner would delete the object. */
  release: string;
}

interface OwnerKind extends Omit<Owner, "label"> {
  /** First part of {@link Owner.label}. */
  kind: string;
  /** Whether the owner applies manifests from Git. */
  appliesGit?: true;
  /** Matches its labels and annotations as `name=value`; the group `name` is the name of the owner. */
  marks?: RegExp;
  /** Matches labels that other tools use too: they count if a field manager of the owner wrote the object. */
  shared?: RegExp;
  /** Matches kinds in owner references. */
  references?: RegExp;
  /** Matches its field managers. */
  managers?: RegExp;
  /** Annotations that keep the owner from deleting the object when it releases it. */
  keep?: Record<string, string>;
}

// Argo CD and Flux render charts, and their objects may have Helm's labels, so they precede Helm.
const OWNER_KINDS: OwnerKind[] = [
  {
    kind: "Argo CD application",
    appliesGit: true,
    release: "remove the object from the sources of the application",
    marks: /^argocd\.argoproj\.io\/(?:instance|tracking-id)=(?<name>[^:]*)/,
    // The default of Argo CD up to 2.x; charts set this label too.
    shared: /^app\.kubernetes\.io\/instance=(?<name>.*)/,
    managers: /^argocd-/,
    keep: { "argocd.argoproj.io/sync-options": "Prune=false" },
  },
  {
    kind: "Flux object",
    appliesGit: true,
    release: "remove the object from the sources that Flux applies",
    marks: /^(?:kustomize|helm)\.toolkit\.fluxcd\.io\/(?:namespace=|name=(?<name>.*))/,
    managers: /^(?:kustomize|helm)-controller$/,
    keep: { "kustomize.toolkit.fluxcd.io/prune": "disabled" },
  },
  {
    kind: "ExternalSecret",
    release: "delete the ExternalSecret with --cascade=orphan",
    marks: /^reconcile\.external-secrets\.io\//,
    references: /^(?:Cluster)?ExternalSecret$/,
    managers: /^external-?secrets\b/,
  },
  {
    kind: "SealedSecret",
    release: "delete the SealedSecret with --cascade=orphan",
    marks: /^sealedsecrets\.bitnami\.com\/(?:managed|patch)=true$/,
    references: /^SealedSecret$/,
  },
  {
    kind: "Helm release",
    rendersWorkloads: true,
    release: "set the Helm value clustermesh.config.enabled=false",
    marks: /^(?:app\.kubernetes\.io\/managed-by=Helm$|meta\.helm\.sh\/release-(?:namespace=|name=(?<name>.*)))/,
    managers: /^[Hh]elm$/,
    // Otherwise an upgrade deletes the object when the chart no longer renders it.
    keep: { "helm.sh/resource-policy": "keep" },
  },
];

/**
 * Returns the owner of an object: by labels and annotations, by owner references, or by field managers that wrote `data`
 * after our last write. kubectl is never an owner.
 */
export function ownerOf(metadata: V1ObjectMeta = {}): Owner | undefined {
  for (const kind of OWNER_KINDS) {
    const marks = marksOf(metadata, kind);
    const reference = metadata.ownerReferences?.find((one) => kind.references?.test(one.kind));
    if (marks.length === 0 && !reference && !isLastWriter(metadata, kind)) continue;
    const name = reference?.name ?? marks.find((mark) => mark.owner !== undefined)?.owner;
    return {
      label: name ? `${kind.kind} ${name}` : kind.kind,
      release: kind.release,
      ...(kind.rendersWorkloads && { rendersWorkloads: true }),
    };
  }
  const controller = metadata.ownerReferences?.find((one) => one.controller);
  return (
    controller && {
      label: `${controller.kind} ${controller.name}`,
      release: `delete that ${controller.kind} with --cascade=orphan`,
    }
  );
}

/** A merge patch of metadata; null removes a field. */
export interface MetadataPatch {
  labels?: Record<string, null>;
  annotations?: Record<string, string | null>;
  ownerReferences?: V1OwnerReference[] | null;
}

/**
 * Returns the patch that takes an object over from its owners: it removes their labels, annotations and references, adds
 * annotations that keep them from deleting the object, and records the takeover, which also makes us the last writer.
 */
export function removeOwners(metadata: V1ObjectMeta): MetadataPatch {
  const owner = ownerOf(metadata);
  const owners = OWNER_KINDS.map((kind) => ({ kind, marks: marksOf(metadata, kind) }));
  const namesIn = (place: "labels" | "annotations") =>
    owners.flatMap(({ marks }) => marks.filter((mark) => mark.place === place).map(({ name }) => [name, null]));
  const keep = owners
    .filter(({ kind, marks }) => marks.length > 0 || isLastWriter(metadata, kind))
    .map(({ kind }) => kind.keep ?? {});
  const references = metadata.ownerReferences ?? [];
  const kept = references.filter(
    ({ kind, controller }) => !controller && !OWNER_KINDS.some(({ references }) => references?.test(kind)),
  );
  return {
    labels: Object.fromEntries(namesIn("labels")),
    annotations: Object.assign(
      Object.fromEntries(namesIn("annotations")),
      ...keep,
      owner && { [TAKEN_FROM_ANNOTATION]: owner.label },
    ),
    ...(kept.length < references.length && { ownerReferences: kept.length > 0 ? kept : null }),
  };
}

/**
 * Returns metadata without the labels, annotations and managed fields of the tools that will apply a rendered object: those
 * that apply manifests from Git and, for Helm values, Helm itself. They own the object, but as intended.
 */
export function omitAppliers(metadata: V1ObjectMeta, isForHelm: boolean): V1ObjectMeta {
  const appliers = OWNER_KINDS.filter((kind) => kind.appliesGit || (isForHelm && kind.rendersWorkloads));
  const marks = appliers.flatMap((kind) => marksOf({ ...metadata, managedFields: [] }, kind));
  const without = (place: Mark["place"]) => {
    const names = new Set(marks.filter((mark) => mark.place === place).map(({ name }) => name));
    const kept = Object.entries(metadata[place] ?? {}).filter(([name]) => !names.has(name));
    return metadata[place] && { [place]: Object.fromEntries(kept) };
  };
  const isOther = ({ manager = "" }: V1ManagedFieldsEntry) => !appliers.some(({ managers }) => managers?.test(manager));
  return {
    ...metadata,
    ...without("labels"),
    ...without("annotations"),
    ...(metadata.managedFields && { managedFields: metadata.managedFields.filter(isOther) }),
  };
}

/** Whether a label or annotation marks an owner, or keeps one from deleting the object. */
export function isOwnershipField(name: string, value: string): boolean {
  return OWNER_KINDS.some(({ marks, keep = {} }) => marks?.test(`${name}=${value}`) || Object.hasOwn(keep, name));
}

interface Mark {
  place: "labels" | "annotations";
  name: string;
  /** The name of the owner, if the mark contains it. */
  owner: string | undefined;
}

function marksOf(metadata: V1ObjectMeta, kind: OwnerKind): Mark[] {
  const { managedFields = [] } = metadata;
  const wrote = managedFields.some(({ manager = "" }) => kind.managers?.test(manager));
  return (["labels", "annotations"] as const).flatMap((place) =>
    Object.entries(metadata[place] ?? {}).flatMap(([name, value]) => {
      const mark = `${name}=${value}`;
      const match = kind.marks?.exec(mark) ?? (wrote ? kind.shared?.exec(mark) : undefined);
      return match ? [{ place, name, owner: match.groups?.name }] : [];
    }),
  );
}

/** Whether the owner wrote `data` after our last write. We write an owned object only to take it over. */
function isLastWriter({ managedFields = [] }: V1ObjectMeta, { managers }: OwnerKind): boolean {
  const last = (entries: typeof managedFields) => Math.max(...entries.map(({ time }) => new Date(time ?? 0).getTime()));
  const theirs = managedFields.filter(
    ({ manager = "", fieldsV1 = {} }) => managers?.test(manager) && "f:data" in fieldsV1,
  );
  return last(theirs) > last(managedFields.filter(({ manager }) => manager === FIELD_MANAGER));
}
