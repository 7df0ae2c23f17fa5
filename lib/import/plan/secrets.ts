/** The two config Secrets: what stands in them, and the change that brings them to what was merged. Pure. */

import type { V1Secret } from "@kubernetes/client-node";
import { LAST_APPLIED, PEERS, type PeerRecord, readPeerRecords, writePeerRecords } from "../../peer/annotations.ts";
import { type Finding, finding, type Place } from "../../peer/findings.ts";
import { versionAtLeast } from "../../peer/peer.ts";
import { decodeFiles, type Entry, readEntries } from "../../peer/secret.ts";
import { encodeBase64 } from "../../util/content.ts";
import { type Change, describeObject, patchMetadata } from "./change.ts";
import type { Merged } from "./merge-secret.ts";
import { type MetadataPatch, type Owner, ownerOf, removeOwners } from "./ownership.ts";
import type { Target } from "./target.ts";

/** Limits of a Secret, in bytes: its decoded data, and all annotations of an object together. */
export const MAX_DATA_BYTES = 1_048_576;
export const MAX_ANNOTATION_BYTES = 262_144;

/** A config Secret as it stands, read. */
export interface ConfigSecret {
  /** What keeps it, or an entry of it, from being read. */
  findings: Finding[];
  secret: V1Secret | undefined;
  files: Map<string, Buffer>;
  entries: Map<string, Entry>;
  annotations: Readonly<Record<string, string>>;
  records: ReturnType<typeof readPeerRecords>;
}

/** Reads a config Secret; one that is not there is empty. */
export function readConfigSecret(
  secret: V1Secret | undefined,
  { source, cache }: Pick<Target, "source" | "cache">,
): ConfigSecret {
  const decoded = secret ? decodeFiles(secret, { source }, cache) : { files: new Map<string, Buffer>(), findings: [] };
  const annotations = secret?.metadata?.annotations ?? {};
  return {
    findings: decoded.findings,
    secret,
    files: decoded.files,
    entries: new Map(readEntries(decoded.files, annotations, source, cache).map((entry) => [entry.name, entry])),
    annotations,
    records: readPeerRecords(annotations[PEERS]),
  };
}

/** What becomes of one of the two config Secrets. */
export interface SecretPlan {
  /** Undefined where nothing changes. */
  change: Change | undefined;
  /** The annotations after it. */
  annotations: Record<string, string>;
  /** Whether an annotation with the whole content goes. */
  cleaned: boolean;
  findings: Finding[];
}

/**
 * The change that brings a Secret to what was merged.
 *
 * @param records what is known of the peers in it.
 * @param options.follows whether the plan has changed the Secret before.
 * @param options.previewOnly whether nothing is going to be written, so that an owner is only warned of.
 */
export function planSecret(
  name: string,
  { source, namespace, facts, cache }: Pick<Target, "source" | "namespace" | "facts" | "cache">,
  { secret, annotations: old }: Pick<ConfigSecret, "secret" | "annotations">,
  { changes, files }: Merged,
  records: ReadonlyMap<string, PeerRecord>,
  {
    follows = false,
    takeOwnership = false,
    previewOnly = false,
  }: { follows?: boolean; takeOwnership?: boolean; previewOnly?: boolean },
): SecretPlan {
  const kept = new Map([...records].filter(([peer]) => files.has(peer)));
  const ours: Record<string, string | null> = {};
  const peers = writePeerRecords(kept);
  if (peers !== old[PEERS]) ours[PEERS] = peers ?? null;
  const cleaned = old[LAST_APPLIED] !== undefined;
  if (cleaned) ours[LAST_APPLIED] = null;
  const owner = follows ? undefined : ownerOf(secret?.metadata);
  // Both are taken at once, also the one that has nothing to change: its owner is told to let go of both.
  const taken = owner && takeOwnership ? removeOwners(secret?.metadata ?? {}) : undefined;
  if (changes.size === 0 && Object.keys(ours).length === 0 && !taken) {
    return { change: undefined, annotations: { ...old }, cleaned, findings: [] };
  }

  const findings: Finding[] = [];
  if (owner) {
    const place = { source, key: name };
    findings.push(
      takeOwnership
        ? takenFromOther(place, owner, facts)
        : previewOnly
          ? wouldBeRefused(place, owner)
          : ownedByOther(place, owner),
    );
  }
  if (secret?.immutable && changes.size > 0) {
    findings.push(finding("immutable", { source, key: name }, { object: describeObject("Secret", name) }));
  }
  const metadata: MetadataPatch = { ...taken, annotations: { ...taken?.annotations, ...ours } };
  const annotations = patchAnnotations(old, metadata.annotations);
  findings.push(...checkSize(name, source, files, annotations));
  const encode = (content: Buffer | null) => (content ? cache.parse(encodeBase64, content) : null);
  const data = Object.fromEntries([...changes].map(([key, content]) => [key, encode(content)]));
  if (secret) {
    const patch = { metadata: patchMetadata(follows ? {} : secret, metadata), ...(changes.size > 0 && { data }) };
    const change: Change = { verb: "merge-patch", kind: "Secret", name, patch, ...(follows && { follows }) };
    return { change, annotations, cleaned, findings };
  }
  const object: V1Secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace, ...(Object.keys(annotations).length > 0 && { annotations }) },
    type: "Opaque",
    data: data as Record<string, string>,
  };
  return { change: { verb: "create", kind: "Secret", name, object }, annotations, cleaned, findings };
}

/** An object that nobody can change any more. */

function takenFromOther(place: Place, owner: Owner, { version }: Target["facts"]): Finding {
  const dropsAliases = owner.rendersWorkloads === true && versionAtLeast(version, "1.20") !== true;
  return finding("owner-resets", place, { case: "taken", ...ownedSecret(place, owner), dropsAliases });
}

function ownedByOther(place: Place, owner: Owner): Finding {
  return finding("owned-by-other", place, ownedSecret(place, owner));
}

/** The same as a warning, for a preview. */
function wouldBeRefused(place: Place, owner: Owner): Finding {
  return finding("owner-resets", place, { case: "refused", ...ownedSecret(place, owner) });
}

function ownedSecret({ key = "" }: Place, { label, release }: Owner) {
  return { object: describeObject("Secret", key), owner: label, release: release };
}

function checkSize(
  name: string,
  source: string,
  files: ReadonlyMap<string, Buffer>,
  annotations: Record<string, string>,
): Finding[] {
  const data = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  const noted = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
  const sizes = [
    { part: "data", bytes: data, limit: MAX_DATA_BYTES },
    { part: "annotations", bytes: noted, limit: MAX_ANNOTATION_BYTES },
  ] as const;
  return sizes
    .filter(({ bytes, limit }) => bytes > limit)
    .map((values) => finding("secret-too-large", { source, key: name }, values));
}

function patchAnnotations(
  old: Readonly<Record<string, string>>,
  patch: MetadataPatch["annotations"],
): Record<string, string> {
  return Object.fromEntries(
    Object.entries({ ...old, ...patch }).filter((entry): entry is [string, string] => entry[1] !== null),
  );
}
