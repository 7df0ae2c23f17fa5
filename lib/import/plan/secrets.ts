/** Reads a config Secret and plans its change. Pure. */

import type { V1Secret } from "@kubernetes/client-node";
import {
  LAST_APPLIED_ANNOTATION,
  PEERS_ANNOTATION,
  type PeerRecord,
  readPeerRecords,
  writePeerRecords,
} from "../../peer/annotations.ts";
import { type Finding, finding, type Place } from "../../peer/findings.ts";
import { versionAtLeast } from "../../peer/peer.ts";
import { decodeFiles, type Entry, readEntries } from "../../peer/secret.ts";
import { encodeBase64 } from "../../util/content.ts";
import { type Change, describeObject, patchMetadata } from "./change.ts";
import type { Merged } from "./merge-secret.ts";
import { type MetadataPatch, type Owner, ownerOf, removeOwners } from "./ownership.ts";
import type { Target } from "./target.ts";

/** Limits of the API server, in bytes: the decoded data of a Secret, and all annotations of an object. */
export const MAX_DATA_BYTES = 1_048_576;
export const MAX_ANNOTATION_BYTES = 262_144;

/** A parsed config Secret. */
export interface ConfigSecret {
  /** Why the Secret or one of its entries cannot be read. */
  findings: Finding[];
  secret: V1Secret | undefined;
  files: Map<string, Buffer>;
  entries: Map<string, Entry>;
  annotations: Readonly<Record<string, string>>;
  records: ReadonlyMap<string, PeerRecord>;
}

/** Parses a config Secret; undefined is parsed as an empty one. */
export function readConfigSecret(
  secret: V1Secret | undefined,
  { source, cache }: Pick<Target, "source" | "cache">,
): ConfigSecret {
  const decoded = decodeFiles(secret ?? {}, { source }, cache);
  const annotations = secret?.metadata?.annotations ?? {};
  return {
    findings: decoded.findings,
    secret,
    files: decoded.files,
    entries: new Map(readEntries(decoded, annotations, source, cache).map((entry) => [entry.name, entry])),
    annotations,
    records: readPeerRecords(annotations[PEERS_ANNOTATION]),
  };
}

/** The planned change of a config Secret. */
export interface SecretPlan {
  /** Undefined if nothing changes. */
  change: Change | undefined;
  /** The annotations after the change. */
  annotations: Record<string, string>;
  /** Whether the last-applied annotation, which holds the whole content, is removed. */
  cleaned: boolean;
  findings: Finding[];
}

/**
 * Plans the change of a Secret to its merged content.
 *
 * @param records - the annotation records of its peers; records of other peers are ignored.
 * @param options - `follows` if an earlier change of the plan writes the same Secret; `previewOnly` if nothing is written,
 *   so that an owner is only a warning.
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
  if (peers !== old[PEERS_ANNOTATION]) ours[PEERS_ANNOTATION] = peers ?? null;
  const cleaned = old[LAST_APPLIED_ANNOTATION] !== undefined;
  if (cleaned) ours[LAST_APPLIED_ANNOTATION] = null;
  const owner = follows ? undefined : ownerOf(secret?.metadata);
  // An unchanged Secret is taken over too: the owner releases both Secrets together.
  const taken = owner && takeOwnership ? removeOwners(secret?.metadata ?? {}) : undefined;
  if (changes.size === 0 && Object.keys(ours).length === 0 && !taken) {
    return { change: undefined, annotations: { ...old }, cleaned, findings: [] };
  }

  const findings: Finding[] = [];
  if (owner) {
    findings.push(ownershipFinding({ source, key: name }, owner, facts, { takeOwnership, previewOnly }));
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

function ownershipFinding(
  place: Place & { key: string },
  { label, release, rendersWorkloads }: Owner,
  { version }: Target["facts"],
  { takeOwnership, previewOnly }: { takeOwnership: boolean; previewOnly: boolean },
): Finding {
  const values = { object: describeObject("Secret", place.key), owner: label, release };
  if (takeOwnership) {
    const dropsAliases = rendersWorkloads === true && versionAtLeast(version, "1.20") !== true;
    return finding("owner-resets", place, { case: "taken", ...values, dropsAliases });
  }
  if (previewOnly) return finding("owner-resets", place, { case: "refused", ...values });
  return finding("owned-by-other", place, values);
}

function checkSize(
  name: string,
  source: string,
  files: ReadonlyMap<string, Buffer>,
  annotations: Record<string, string>,
): Finding[] {
  const dataBytes = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  const annotationBytes = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
  const sizes = [
    { part: "data", bytes: dataBytes, limit: MAX_DATA_BYTES },
    { part: "annotations", bytes: annotationBytes, limit: MAX_ANNOTATION_BYTES },
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
