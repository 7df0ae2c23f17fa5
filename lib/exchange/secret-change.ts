/** The two config Secrets: what stands in them, and the change that brings them to what was merged. Pure. */
import type { V1Secret } from "@kubernetes/client-node";
import { LAST_APPLIED, PEERS, type PeerRecord, readPeerRecords, writePeerRecords } from "../peer/annotations.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { decodeFiles, type Entry, readEntries } from "../peer/secret.ts";
import { type Change, versioned } from "./change.ts";
import type { Merged } from "./merge.ts";
import type { Target } from "./target.ts";

/** Limits of a Secret, in bytes: its decoded data, and all annotations of an object together. */
export const MAX_DATA = 1_048_576;
export const MAX_ANNOTATIONS = 262_144;

/** A config Secret as it stands, read. */
export interface OpenSecret {
  secret: V1Secret | undefined;
  files: Map<string, Buffer>;
  entries: Map<string, Entry>;
  records: ReturnType<typeof readPeerRecords>;
}

/** Reads a config Secret; one that is not there is empty. */
export function openSecret(
  secret: V1Secret | undefined,
  { source }: Pick<Target, "source">,
  findings: Finding[],
): OpenSecret {
  const decoded = secret ? decodeFiles(secret, { source }) : { files: new Map<string, Buffer>(), findings: [] };
  findings.push(...decoded.findings);
  const annotations = secret?.metadata?.annotations ?? {};
  return {
    secret,
    files: decoded.files,
    entries: new Map(readEntries(decoded.files, annotations, source).map((entry) => [entry.name, entry])),
    records: readPeerRecords(annotations[PEERS]),
  };
}

/** What becomes of one of the two config Secrets. */
export interface SecretPlan {
  /** Undefined where nothing changes. */
  change: Change | undefined;
  /** Whether an annotation with the whole content goes. */
  cleaned: boolean;
  findings: Finding[];
}

/**
 * The change that brings a Secret to what was merged.
 *
 * @param records what is known of the peers in it.
 */
export function planSecret(
  name: string,
  { source, namespace }: Pick<Target, "source" | "namespace">,
  { secret }: OpenSecret,
  { changes, files }: Merged,
  records: ReadonlyMap<string, PeerRecord>,
): SecretPlan {
  const old = secret?.metadata?.annotations ?? {};
  const kept = new Map([...records].filter(([peer]) => files.has(peer)));
  const annotations: Record<string, string | null> = {};
  const peers = writePeerRecords(kept);
  if (peers !== old[PEERS]) annotations[PEERS] = peers ?? null;
  const cleaned = old[LAST_APPLIED] !== undefined;
  if (cleaned) annotations[LAST_APPLIED] = null;
  const findings = checkSize(name, source, files, { ...old, ...annotations });
  if (changes.size === 0 && Object.keys(annotations).length === 0) return { change: undefined, cleaned, findings };
  const data = Object.fromEntries([...changes].map(([key, content]) => [key, content?.toString("base64") ?? null]));
  if (secret) {
    const patch = { metadata: versioned(secret, annotations), ...(changes.size > 0 && { data }) };
    return { change: { verb: "merge-patch", kind: "Secret", name, patch }, cleaned, findings };
  }
  const metadata = { name, namespace, ...withoutNulls(annotations) };
  const object: V1Secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata,
    type: "Opaque",
    data: data as Record<string, string>,
  };
  return { change: { verb: "create", kind: "Secret", name, object }, cleaned, findings };
}

function checkSize(
  name: string,
  source: string,
  files: ReadonlyMap<string, Buffer>,
  annotations: Record<string, string | null>,
): Finding[] {
  const data = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  const noted = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + (value === null ? 0 : Buffer.byteLength(key) + Buffer.byteLength(value)),
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

function withoutNulls(annotations: Record<string, string | null>): { annotations?: Record<string, string> } {
  const present = Object.entries(annotations).filter((entry): entry is [string, string] => entry[1] !== null);
  return present.length > 0 ? { annotations: Object.fromEntries(present) } : {};
}
