/** Who else writes an object, and would undo what we write: told by the marks that it left there. Pure. */
import type { V1ObjectMeta, V1OwnerReference } from "@kubernetes/client-node";
import { FIELD_MANAGER, TAKEN } from "../../peer/annotations.ts";

export interface Owner {
  /** Whether it renders Cilium's workloads too, so that its next upgrade takes host aliases out of them. */
  rendersWorkloads?: true;
  /** As a person calls it: `Helm release cilium`, `Argo CD application mesh`. */
  label: string;
  /** How it lets go of the object, once that was taken from it: before, it would delete it. */
  release: string;
}

interface OwnerKind extends Omit<Owner, "label"> {
  /** What it is. */
  kind: string;
  /** Its labels and annotations, as `name=value`; the group `name` is what the owner is called. */
  marks?: RegExp;
  /** Labels by which it knows its objects, and others theirs: its marks where it wrote the object. */
  shared?: RegExp;
  /** Kinds that it names in owner references. */
  references?: RegExp;
  /** Field managers. */
  managers?: RegExp;
  /** Annotations that tell it to leave the object in place when it lets go of it. */
  keep?: Record<string, string>;
}

// Argo CD and Flux render charts, whose objects may bear Helm's marks too, so these come first.
const OWNER_KINDS: OwnerKind[] = [
  {
    kind: "Argo CD application",
    release: "take it out of the application's sources",
    marks: /^argocd\.argoproj\.io\/(?:instance|tracking-id)=(?<name>[^:]*)/,
    // Its default up to 2.x, which charts set too.
    shared: /^app\.kubernetes\.io\/instance=(?<name>.*)/,
    managers: /^argocd-/,
    keep: { "argocd.argoproj.io/sync-options": "Prune=false" },
  },
  {
    kind: "Flux object",
    release: "take it out of what Flux applies",
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
    release: "set clustermesh.config.enabled=false in its values",
    marks: /^(?:app\.kubernetes\.io\/managed-by=Helm$|meta\.helm\.sh\/release-(?:namespace=|name=(?<name>.*)))/,
    managers: /^[Hh]elm$/,
    // Else an upgrade that no longer renders the object deletes it.
    keep: { "helm.sh/resource-policy": "keep" },
  },
];

/**
 * The owner of an object: by labels and annotations, by owner references, and by the field managers that wrote data
 * after we did. What `kubectl apply` and `kubectl edit` leave there is no owner.
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

/** A change of metadata; null removes. */
export interface MetadataPatch {
  labels?: Record<string, null>;
  annotations?: Record<string, string | null>;
  ownerReferences?: V1OwnerReference[] | null;
}

/**
 * The change that takes an object from its owners: their marks go, they are told not to delete the object, and that it was
 * taken is noted, so that we wrote it after they did.
 */
export function removeOwners(metadata: V1ObjectMeta): MetadataPatch {
  const owner = ownerOf(metadata);
  const owning = OWNER_KINDS.map((kind) => ({ kind, marks: marksOf(metadata, kind) }));
  const namesIn = (place: "labels" | "annotations") =>
    owning.flatMap(({ marks }) => marks.filter((mark) => mark.place === place).map(({ name }) => [name, null]));
  const keep = owning
    .filter(({ kind, marks }) => marks.length > 0 || isLastWriter(metadata, kind))
    .map(({ kind }) => kind.keep ?? {});
  const references = metadata.ownerReferences ?? [];
  const kept = references.filter(
    ({ kind, controller }) => !controller && !OWNER_KINDS.some(({ references }) => references?.test(kind)),
  );
  return {
    labels: Object.fromEntries(namesIn("labels")),
    annotations: Object.assign(Object.fromEntries(namesIn("annotations")), ...keep, owner && { [TAKEN]: owner.label }),
    ...(kept.length < references.length && { ownerReferences: kept.length > 0 ? kept : null }),
  };
}

interface Mark {
  place: "labels" | "annotations";
  name: string;
  /** What the owner is called, where the mark tells. */
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

/** Whether the owner wrote data, and we nothing since: what is another's we write only when we take it. */
function isLastWriter({ managedFields = [] }: V1ObjectMeta, { managers }: OwnerKind): boolean {
  const last = (entries: typeof managedFields) => Math.max(...entries.map(({ time }) => new Date(time ?? 0).getTime()));
  const theirs = managedFields.filter(
    ({ manager = "", fieldsV1 = {} }) => managers?.test(manager) && "f:data" in fieldsV1,
  );
  return last(theirs) > last(managedFields.filter(({ manager }) => manager === FIELD_MANAGER));
}
