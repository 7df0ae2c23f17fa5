/** What several findings of one code say together. Pure. */
import type { FindingCode } from "../peer/finding-codes.ts";
import type { Finding } from "../peer/findings.ts";

/** What findings are about, in the plural. */
export type Noun = "peers" | "clusters" | "contexts" | "files" | "values" | "objects" | "permissions" | "entries";

export interface Summary {
  /** What is counted; by default peers, or clusters if the findings have no key. Pairs of clusters are always called so. */
  noun?: Noun;
  /**
   * @param of how many of what, such as `20 existing peers`.
   * @param data what all of the findings have as their `data`.
   */
  text(of: string, data: NonNullable<Finding["data"]>): string;
  /** Set if each message has a cause of its own: then each is printed below, not only what it is about. */
  each?: true;
}

/** One for every code. */
export const SUMMARIES: Record<FindingCode, Summary> = {
  unreadable: { noun: "files", each: true, text: (of) => `${of} cannot be read` },
  "not-a-secret": { noun: "entries", each: true, text: (of) => `${of} are not Secrets` },
  "encrypted-file": { noun: "files", each: true, text: (of) => `${of} are encrypted` },
  "foreign-file": { noun: "files", each: true, text: (of) => `${of} are something else than Secrets with peers` },
  "data-invalid": { noun: "values", each: true, text: (of) => `${of} are not valid` },
  "no-peer": { noun: "files", text: (of) => `${of} contain no etcd config` },
  "schema-newer": { noun: "files", text: (of) => `${of} have annotations of a newer schema` },
  "config-invalid": { each: true, text: (of) => `configs of ${of} are invalid` },
  "config-fields-ignored": {
    text: (of, { fields = "fields" }) => `configs of ${of} have ${fields}, which this program does not write`,
  },
  "own-cache": { noun: "entries", text: (of) => `${of} point to their own cluster's cache, not to a peer` },
  "endpoint-invalid": { each: true, text: (of) => `endpoints of ${of} are invalid` },
  "endpoint-not-covered": { text: (of) => `endpoints of ${of} are not covered by the server certificate` },
  "endpoint-address": {
    text: (of) => `endpoints of ${of} are addresses, which the certificates of the chart do not cover`,
  },
  "endpoint-node-local": { text: (of) => `${of} are only reachable from a node, by loopback addresses` },
  "loopback-address": { text: (of) => `addresses of ${of} are loopback addresses` },
  "alias-invalid": { each: true, text: (of) => `host aliases of ${of} are invalid` },
  "no-addresses": { text: (of) => `files of ${of} have no addresses for names that are not in DNS` },
  "file-missing": { each: true, text: (of) => `configs of ${of} name files that are missing from the Secret` },
  "file-elsewhere": { each: true, text: (of) => `configs of ${of} name files that are in no Secret` },
  "no-client-certificate": { text: (of) => `configs of ${of} name no certificate and key that belong together` },
  "system-roots": { text: (of) => `configs of ${of} name no CA, so Cilium uses the system's roots` },
  "ca-empty": { text: (of) => `CA files of ${of} hold no certificate` },
  "ca-invalid": { each: true, text: (of) => `CAs of ${of} are invalid` },
  "ca-expired": { text: (of) => `CAs of ${of} have expired` },
  "certificate-invalid": { each: true, text: (of) => `client certificates of ${of} are invalid` },
  "certificate-expired": { text: (of) => `client certificates of ${of} have expired` },
  "certificate-not-yet-valid": { text: (of) => `certificates of ${of} are not valid yet` },
  "certificate-expires": { each: true, text: (of) => `client certificates of ${of} expire soon` },
  "ca-expires": { each: true, text: (of) => `CAs of ${of} expire soon` },
  "server-certificate-expires": { each: true, text: (of) => `server certificates of ${of} expire soon` },
  "certificate-not-signed": { text: (of) => `client certificates of ${of} are not signed by the peer's CA` },
  "certificate-usage": {
    text: (of, { usage }) => `certificates of ${of} lack an extended key usage${inBrackets(usage)}`,
  },
  "no-common-name": { text: (of) => `client certificates of ${of} have no common name` },
  "key-invalid": { each: true, text: (of) => `private keys of ${of} are invalid` },
  "key-mismatch": { text: (of) => `private keys of ${of} do not belong to their client certificates` },
  "chain-order": { text: (of) => `client certificates of ${of} come after others in their files` },
  "facts-of-other-cluster": { each: true, text: (of) => `annotations of ${of} describe another cluster` },
  "name-illegal": { each: true, text: (of) => `names of ${of} are invalid` },
  "id-illegal": { each: true, text: (of) => `cluster ids of ${of} are invalid` },
  "id-unknown": { text: (of) => `cluster ids of ${of} are unknown, so duplicates cannot be detected` },
  "name-twice": { text: (of) => `cluster names of ${of} are used twice` },
  "id-twice": { text: (of, { id }) => `cluster ids of ${of} are used twice${inBrackets(id)}` },
  "name-of-target": { text: (of) => `${of} have the name of their target` },
  "id-of-target": { text: (of, { id }) => `cluster ids of ${of} are used twice${inBrackets(id)}` },
  "maximum-differs": { text: (of, { values }) => `max-connected-clusters of ${of} differ${inBrackets(values)}` },
  "too-many-peers": { each: true, text: (of) => `${of} would have too many peers` },
  "target-not-set-up": { text: (of) => `${of} have no name or id for a mesh, so agents ignore all peers` },
  "common-not-mounted": { text: (of) => `${of} need a certificate that their importer does not mount` },
  "common-unverified": { text: (of) => `certificates of ${of} cannot be read, so it was not checked that they fit` },
  "ca-differs": { text: (of) => `${of} do not share the CA that is needed` },
  "peer-without-key": { text: (of) => `${of} come without a private key` },
  "user-not-accepted": { text: (of) => `${of} do not accept the user of their importer` },
  "users-invalid": { noun: "clusters", each: true, text: (of) => `users of ${of} are invalid` },
  "version-unknown": { text: (of) => `Cilium versions of ${of} are unknown` },
  "secret-too-large": { noun: "objects", each: true, text: (of) => `${of} would be too large` },
  "owned-by-other": {
    noun: "objects",
    text: (of, { owner = "others" }) => `${of} belong to ${owner}, which would undo what is written`,
  },
  immutable: { noun: "objects", text: (of) => `${of} are immutable` },
  "owner-resets": {
    noun: "objects",
    text: (of, { owner = "others", taken }) =>
      taken === undefined
        ? `${of} belong to ${owner}, which may undo what is written`
        : `${of} are taken from ${owner}, which may write them again`,
  },
  "prune-everything": { text: (of) => `all peers of ${of} would be removed` },
  "endpoint-for-nobody": { text: (of) => `${of} of --endpoint are unknown` },
  "endpoint-needs-file": { text: (of) => `${of} of --endpoint need their files` },
  "addresses-pinned": { each: true, text: (of) => `addresses of ${of} were resolved now and are written down` },
  "standing-unusable": { each: true, text: (of) => `existing configs of ${of} cannot connect` },
  "pod-cidrs-overlap": { text: (of) => `pod CIDRs of ${of} overlap, so their pods cannot reach each other` },
  "tunnel-differs": {
    text: (of, { values }) => `routing mode or tunnel protocol of ${of} differ${inBrackets(values)}`,
  },
  "encryption-differs": { text: (of, { values }) => `encryption of ${of} differs${inBrackets(values)}` },
  "same-node-port": {
    text: (of) =>
      `${of} have the same node port, so kube-proxy replacement before 1.19 sends traffic to the local etcd`,
  },
  "not-allowed": { noun: "permissions", each: true, text: (of) => `${of} are missing` },
  "name-not-resolved": { text: (of) => `names of ${of} cannot be resolved` },
  "connection-refused": { text: (of) => `${of} refuse the connection` },
  "connection-timeout": { text: (of) => `${of} do not answer` },
  "connection-failed": { each: true, text: (of) => `${of} cannot be reached` },
  "not-tls": { text: (of) => `${of} do not speak TLS` },
  "server-ca-unknown": { text: (of) => `server certificates of ${of} are not signed by the peer's CA` },
  "server-certificate-expired": { text: (of) => `server certificates of ${of} are not valid now` },
  "client-refused": { text: (of) => `${of} refuse the client certificate` },
  "not-etcd": { text: (of) => `${of} do not answer as etcd` },
  "etcd-unavailable": { text: (of) => `etcds of ${of} do not answer, or have no leader` },
  "user-unknown": { text: (of) => `etcds of ${of} have no user for the client certificate` },
  "not-permitted": { text: (of) => `etcds of ${of} do not permit what Cilium reads` },
  "heartbeat-missing": { text: (of) => `etcds of ${of} have no heartbeat` },
  "heartbeat-stale": { text: (of) => `heartbeats of ${of} are old` },
  "other-cluster": { each: true, text: (of) => `at the addresses of ${of} another cluster answers` },
  "cluster-config-missing": { text: (of) => `etcds of ${of} do not say which cluster they are` },
  "id-differs": { each: true, text: (of) => `cluster ids of ${of} are not those of their files` },
  "not-synchronized": { text: (of) => `${of} have not written all of their state yet` },
  "address-unreachable": { text: (of) => `addresses of ${of} take no connection` },
  "cluster-unreadable": { each: true, text: (of) => `${of} cannot be read` },
  "same-cluster": { noun: "contexts", each: true, text: (of) => `${of} reach the same cluster as another` },
  "one-sided": { text: (of) => `${of} are configured in one direction only` },
  "not-connected": { text: (of) => `${of} are not configured for each other` },
  "endpoint-stale": { text: (of) => `configured endpoints of ${of} are outdated` },
  "addresses-stale": { text: (of) => `some configured addresses of ${of} are outdated` },
  "ca-stale": { text: (of) => `CAs of ${of} have changed, and the new ones are not trusted` },
  "client-stale": { text: (of) => `client certificates of ${of} are outdated` },
  "peer-uncovered": { text: (of) => `${of} are not compared, because no context leads to them` },
  "pod-not-ready": {
    text: (of, { waits = "to be ready" }) => `the clustermesh-apiservers of ${of} do not run: they wait ${waits}`,
  },
  "user-missing": { text: (of) => `${of} have no etcd user for their importer` },
  "host-alias-missing": { text: (of) => `workloads have no host aliases for ${of}` },
  "upgrade-left": { text: (of) => `configs of ${of} are written for another version of Cilium` },
  "node-local-misplaced": { text: (of) => `configs of ${of} are in a Secret that no node reads` },
};

function inBrackets(text: string | undefined): string {
  return text === undefined ? "" : ` (${text})`;
}
