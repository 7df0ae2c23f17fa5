/** Every code that a finding may have, and all that follows from the code alone. */

export type Severity = "error" | "warning";

/**
 * What a code means for those who look at findings.
 *
 * - `illegible`: a file, or a peer in it, cannot be read, so nothing more can be said of it.
 * - `unprobeable`: it is known without asking that the peer's etcd cannot be reached like this.
 * - `disprovable`: an etcd that answers proves it wrong.
 * - `of-pair`: it matters to a peer that is configured already, so that status reports it if the plan of an import finds it.
 * - `undecided`: the server certificate decides, which no file shows and a probe sees.
 * - `unconnected`: a peer that exists in the target does not connect, so an import has not done all that was meant.
 * - `skippable`: it stops the work on a mesh, unless `--skip-unreachable` leaves the cluster out.
 */
export type Trait = "illegible" | "unprobeable" | "disprovable" | "of-pair" | "undecided" | "unconnected" | "skippable";

export interface CodeAttributes {
  /** An error stops an import before anything is written. */
  severity: Severity;
  traits: readonly Trait[];
  /** Another code for the same fact, which is reported instead if both are found. */
  sameAs?: string;
}

const error = (...traits: Trait[]): CodeAttributes => ({ severity: "error", traits });
const warning = (...traits: Trait[]): CodeAttributes => ({ severity: "warning", traits });

/** Every code there is. */
export const FINDING_CODES = {
  // The file.
  unreadable: error("illegible"),
  "not-a-secret": error("illegible"),
  "encrypted-file": error("illegible"),
  "foreign-file": error("illegible"),
  "data-invalid": error("illegible"),
  "no-peer": error("illegible"),
  "schema-newer": warning(),
  "facts-of-other-cluster": warning(),
  // The config of a peer.
  "config-invalid": error("illegible"),
  "config-fields-ignored": warning(),
  "own-cache": error("unprobeable"),
  "endpoint-invalid": error("unprobeable"),
  "endpoint-not-covered": error("disprovable"),
  "endpoint-address": warning("undecided"),
  "endpoint-node-local": error(),
  "loopback-address": warning(),
  "alias-invalid": error("unprobeable"),
  "no-addresses": error("of-pair"),
  "file-missing": error("illegible"),
  "file-elsewhere": error("illegible"),
  "no-client-certificate": error("illegible"),
  "system-roots": warning(),
  // Certificates.
  "ca-empty": error("unprobeable"),
  "ca-invalid": error("unprobeable"),
  "ca-expired": error("disprovable"),
  "certificate-invalid": error("unprobeable"),
  "certificate-expired": error(),
  "certificate-not-yet-valid": error(),
  "certificate-expires": warning(),
  "ca-expires": warning(),
  "server-certificate-expires": warning(),
  "certificate-not-signed": error("disprovable"),
  "certificate-usage": error("disprovable"),
  "no-common-name": error("disprovable"),
  "key-invalid": error("unprobeable"),
  "key-mismatch": error("unprobeable"),
  "chain-order": error("unprobeable"),
  // Names and ids.
  "name-illegal": error(),
  "id-illegal": error(),
  "id-unknown": warning(),
  "name-twice": error(),
  "id-twice": error("of-pair"),
  "name-of-target": error("of-pair"),
  "id-of-target": { ...error("of-pair"), sameAs: "id-twice" },
  "maximum-differs": error("of-pair"),
  "too-many-peers": error("of-pair"),
  // Whether it fits the target.
  "target-not-set-up": error(),
  "common-not-mounted": error("of-pair"),
  "common-unverified": warning(),
  "ca-differs": error("of-pair"),
  "peer-without-key": error("of-pair"),
  "user-not-accepted": error("of-pair"),
  "users-invalid": error("of-pair"),
  "version-unknown": warning(),
  "secret-too-large": error(),
  "owned-by-other": error(),
  immutable: error(),
  "owner-resets": warning(),
  "prune-everything": error(),
  "endpoint-for-nobody": error(),
  "endpoint-needs-file": error(),
  "addresses-pinned": warning(),
  "standing-unusable": warning("of-pair", "unconnected"),
  "pod-cidrs-overlap": warning("of-pair"),
  "tunnel-differs": warning("of-pair"),
  "encryption-differs": warning("of-pair"),
  "same-node-port": warning("of-pair"),
  "not-allowed": error(),
  // What a peer's etcd answers.
  "name-not-resolved": error(),
  "connection-refused": error(),
  "connection-timeout": error(),
  "connection-failed": error(),
  "not-tls": error(),
  "server-ca-unknown": error(),
  "server-certificate-expired": error(),
  "client-refused": error(),
  "not-etcd": error(),
  "etcd-unavailable": error(),
  "user-unknown": error(),
  "not-permitted": error(),
  "heartbeat-missing": error(),
  "heartbeat-stale": error(),
  "other-cluster": error(),
  "cluster-config-missing": error(),
  "id-differs": error(),
  "not-synchronized": warning(),
  "address-unreachable": warning(),
  // What clusters tell of each other.
  "cluster-unreadable": error("skippable"),
  "same-cluster": warning(),
  "one-sided": error(),
  "not-connected": warning(),
  "endpoint-stale": error(),
  "addresses-stale": warning(),
  "ca-stale": error(),
  "client-stale": warning(),
  "peer-uncovered": warning(),
  "pod-not-ready": error(),
  "user-missing": error(),
  "host-alias-missing": error(),
  "upgrade-left": warning(),
  "node-local-misplaced": error(),
} as const satisfies Record<string, CodeAttributes>;

export type FindingCode = keyof typeof FINDING_CODES;

/** Whether a code has a trait. */
export function hasTrait({ code }: { code: FindingCode }, trait: Trait): boolean {
  return FINDING_CODES[code].traits.includes(trait);
}
