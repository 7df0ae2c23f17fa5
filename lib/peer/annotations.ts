/**
 * The annotations of Secrets. Pure.
 *
 * Schema 1, on a file written by `extract-secret`: `clustermesh-secrets/schema: "1"`, and an annotation
 * `clustermesh-secrets/<fact>` for each known fact of the cluster, as listed in {@link FACTS} and in target-facts.ts.
 * Lists are comma-separated.
 *
 * On a target's Secret: `clustermesh-secrets/peers`, a JSON object with the id and maximum of each peer, which the next
 * import compares, and with the endpoint set by `--endpoint` at import or extraction. At most 200 bytes per peer, since
 * all annotations of an object are limited to 256 KiB.
 */
import {
  ANNOTATION_PREFIX,
  booleanCodec,
  decodeFacts,
  encodeFacts,
  type FactTable,
  integerCodec,
  oneOfCodec,
  textCodec,
  textListCodec,
} from "./codecs.ts";
import type { AuthMode, ClusterFacts } from "./peer.ts";

/** The field manager of writes, and the user agent of requests. */
export const FIELD_MANAGER = "clustermesh-secrets";
/** The name of the ConfigMap with the state of `sync`, and of the Lease of its writer. */
export const SYNC_OBJECT_NAME = "clustermesh-secrets-sync";
export const SCHEMA_ANNOTATION = `${ANNOTATION_PREFIX}schema`;
export const SCHEMA_VERSION = 1;
export const PEERS_ANNOTATION = `${ANNOTATION_PREFIX}peers`;
/** On printed objects, which are not written: their context. */
export const CONTEXT_ANNOTATION = `${ANNOTATION_PREFIX}context`;
/** On the users ConfigMap: the names of the peers whose users we added, comma-separated. */
export const USERS_ANNOTATION = `${ANNOTATION_PREFIX}users`;
/** On objects changed with `--take-ownership`: their previous owner. */
export const TAKEN_FROM_ANNOTATION = `${ANNOTATION_PREFIX}taken-from`;
/** Written by `kubectl apply`: the whole object, including private keys. */
export const LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration";

const FACTS: FactTable<ClusterFacts> = {
  name: ["cluster-name", textCodec],
  id: ["cluster-id", integerCodec],
  maxConnectedClusters: ["max-connected-clusters", integerCodec],
  version: ["cilium-version", textCodec],
  namespace: ["namespace", textCodec],
  kvstoreMesh: ["kvstoremesh", booleanCodec],
  authMode: ["auth-mode", oneOfCodec<AuthMode>("legacy", "migration", "cluster")],
  podCidrs: ["pod-cidrs", textListCodec],
  routingMode: ["routing-mode", textCodec],
  tunnelProtocol: ["tunnel-protocol", textCodec],
  encryption: ["encryption", oneOfCodec<"none" | "wireguard" | "ipsec">("none", "wireguard", "ipsec")],
  kubeProxyReplacement: ["kube-proxy-replacement", booleanCodec],
  ipFamilies: [
    "ip-families",
    {
      write: textListCodec.write,
      read: (value) => value.split(",").filter((part): part is "IPv4" | "IPv6" => /^IPv[46]$/.test(part)),
    },
  ],
  nodePort: ["node-port", integerCodec],
  serverNames: ["server-names", textListCodec],
  ca: ["ca", textCodec],
  endpointGiven: ["endpoint", { write: () => "given", read: (value) => (value === "given" ? true : undefined) }],
};

/** Formats facts as annotations of a file. */
export function writeFacts(facts: ClusterFacts): Record<string, string> {
  return { [SCHEMA_ANNOTATION]: String(SCHEMA_VERSION), ...encodeFacts(FACTS, facts) };
}

/** Reads the facts in a file's annotations. Missing and invalid facts are absent. */
export function readFacts(annotations: Readonly<Record<string, string>>): ClusterFacts {
  return decodeFacts(FACTS, annotations);
}

/** Returns the text of an invalid fact; undefined if the fact is valid or missing. */
export function findInvalidFact(
  annotations: Readonly<Record<string, string>>,
  fact: keyof ClusterFacts,
): string | undefined {
  const [name, codec] = FACTS[fact];
  const value = annotations[ANNOTATION_PREFIX + name];
  return value === undefined || codec.read(value) !== undefined ? undefined : value;
}

/** The data about a peer in the annotation of a target's Secret. */
export interface PeerRecord extends Pick<ClusterFacts, "id" | "maxConnectedClusters"> {
  /**
   * The endpoints set by `--endpoint` for this importer, comma-separated; kept until `--endpoint NAME=` resets them.
   */
  endpoint?: string;
  /** Set if the endpoint was chosen at extraction ({@link ClusterFacts.endpointGiven}). It is kept in the same way. */
  given?: true;
}

/** Formats the value of {@link PEERS_ANNOTATION}; undefined if all records are empty. */
export function writePeerRecords(records: ReadonlyMap<string, PeerRecord>): string | undefined {
  const known = [...records]
    .map(([name, { id, maxConnectedClusters: max, endpoint, given }]) => [name, { id, max, endpoint, given }] as const)
    .filter(([, record]) => Object.values(record).some((value) => value !== undefined));
  if (known.length === 0) return undefined;
  known.sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(Object.fromEntries(known));
}

/**
 * Reads {@link PEERS_ANNOTATION}. An invalid value is treated as missing, since records are only used for comparison.
 */
export function readPeerRecords(value: string | undefined): ReadonlyMap<string, PeerRecord> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value ?? "{}");
  } catch {
    parsed = {};
  }
  const records = new Map<string, PeerRecord>();
  for (const [name, entry] of Object.entries(typeof parsed === "object" && parsed !== null ? parsed : {})) {
    const { id, max, endpoint, given } = (entry ?? {}) as Record<"id" | "max" | "endpoint" | "given", unknown>;
    records.set(name, {
      ...(typeof id === "number" && { id }),
      ...(typeof max === "number" && { maxConnectedClusters: max }),
      ...(typeof endpoint === "string" && { endpoint }),
      ...(given === true && { given }),
    });
  }
  return records;
}

/** Returns the facts about the cluster in a record. */
export function recordedFacts({ id, maxConnectedClusters }: PeerRecord = {}): ClusterFacts {
  return { ...(id !== undefined && { id }), ...(maxConnectedClusters !== undefined && { maxConnectedClusters }) };
}
