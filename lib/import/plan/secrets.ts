/** The two config Secrets: what stands in them, and the change that brings them to what was merged. Pure. */

import type { V1Secret } from "@kubernetes/client-node";
import { LAST_APPLIED, PEERS, type PeerRecord, readPeerRecords, writePeerRecords } from "../../peer/annotations.ts";
import { type Finding, finding, type Place } from "../../peer/findings.ts";
import { versionAtLeast } from "../../peer/peer.ts";
import { decodeFiles, type Entry, readEntries } from "../../peer/secret.ts";
import { encodeBase64 } from "../../util/content.ts";
import { type Change, versioned } from "./change.ts";
import type { Merged } from "./merge-secret.ts";
import { type MetadataPatch, type Owner, ownerOf, withoutOwners } from "./ownership.ts";
import type { Target } from "./target.ts";

/** Limits of a Secret, in bytes: its decoded data, and all annotations of an object together. */
export const MAX_DATA = 1_048_576;
export const MAX_ANNOTATIONS = 262_144;

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
  const taken = owner && takeOwnership ? withoutOwners(secret?.metadata ?? {}) : undefined;
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
  if (secret?.immutable && changes.size > 0) findings.push(immutableFinding(`Secret ${name}`, { source, key: name }));
  const metadata: MetadataPatch = { ...taken, annotations: { ...taken?.annotations, ...ours } };
  const annotations = patched(old, metadata.annotations);
  findings.push(...checkSize(name, source, files, annotations));
  const encode = (content: Buffer | null) => (content ? cache.parse(encodeBase64, content) : null);
  const data = Object.fromEntries([...changes].map(([key, content]) => [key, encode(content)]));
  if (secret) {
    const patch = { metadata: versioned(follows ? {} : secret, metadata), ...(changes.size > 0 && { data }) };
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
export function immutableFinding(what: string, place: Place): Finding {
  const remedy =
    "delete it and import again, at a time when its peers may be forgotten in between: it can only be made anew";
  return finding("immutable", place, `${what} is immutable`, remedy);
}

function takenFromOther(
  place: Place,
  { rendersWorkloads, what, wayOut }: Owner,
  { version }: Target["facts"],
): Finding {
  const aliases =
    rendersWorkloads && versionAtLeast(version, "1.20") !== true
      ? ", and import the files of all peers right after that upgrade: it takes the chart's host aliases out of the workloads"
      : "";
  const message = `Secret ${place.key} is taken from ${what}, which may write it again`;
  return finding("owner-resets", place, message, `now ${wayOut}${aliases}`, { data: { owner: what, taken: "true" } });
}

function ownedByOther(place: Place, owner: Owner): Finding {
  const message = `Secret ${place.key} belongs to ${owner.what}, which would undo what is written`;
  return finding("owned-by-other", place, message, takeOwnershipRemedy(owner), { data: { owner: owner.what } });
}

/** The same as a warning, for a preview. */
function wouldBeRefused(place: Place, owner: Owner): Finding {
  const message = `Secret ${place.key} belongs to ${owner.what}, so that an import would be refused`;
  const remedy = `have ${owner.what} write it, or ${takeOwnershipRemedy(owner)}`;
  return finding("owner-resets", place, message, remedy, { data: { owner: owner.what } });
}

function takeOwnershipRemedy({ wayOut }: Owner): string {
  return `take it with --take-ownership, and then ${wayOut}: the other way round it is deleted`;
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
  const tooLarge = (what: string, bytes: number, limit: number, remedy: string) =>
    finding(
      "secret-too-large",
      { source, key: name },
      `${what} would be ${bytes.toLocaleString("en")} bytes, ${(bytes - limit).toLocaleString("en")} more than fit`,
      remedy,
    );
  const findings: Finding[] = [];
  if (data > MAX_DATA) {
    findings.push(
      tooLarge(
        "its data",
        data,
        MAX_DATA,
        "let the clusters share a CA and import with --tls=common, or use ECDSA keys, which are smaller",
      ),
    );
  }
  if (noted > MAX_ANNOTATIONS) {
    findings.push(tooLarge("its annotations", noted, MAX_ANNOTATIONS, "remove annotations that others left there"));
  }
  return findings;
}

function patched(old: Readonly<Record<string, string>>, patch: MetadataPatch["annotations"]): Record<string, string> {
  return Object.fromEntries(
    Object.entries({ ...old, ...patch }).filter((entry): entry is [string, string] => entry[1] !== null),
  );
}
