/** Codes for the clusters of a mesh: whether they are readable, and configured as peers of each other. */
import { APISERVER, KVSTOREMESH_SECRET } from "../peer.ts";
import { error, literal, warning } from "./code.ts";

/** The remedy that extracts a peer and imports it into an importer. */
const IMPORT = "extract-secret --context {peer} | import-secrets --context {importer} -";

const MIGRATE = "import-secrets --context {importer} --migrate";

/** Two contexts, quoted for a shell. */
interface Contexts {
  peer: string;
  importer: string;
}

export const MESH_CODES = {
  "cluster-unreadable": error<{ problem: string; isReadable?: true }>({
    traits: ["skippable"],
    by: ({ isReadable }) => ({ isReadable: isReadable && "true" }),
    message: ({ problem, isReadable }) => (isReadable ? `other clusters cannot reach it: ${problem}` : problem),
    each: true,
    summary: (of, { isReadable }) =>
      isReadable === undefined ? `${of} cannot be read` : `${of} cannot be reached by other clusters`,
  }),
  "member-invalid": error<{ secret: string; problem: string }>({
    traits: ["skippable"],
    message: ({ secret, problem }) => `secret/${secret}: ${problem}`,
    remedy: "correct the Secret, or leave it out with --selector",
    noun: "clusters",
    each: true,
    summary: (of) => `Secrets of ${of} describe no cluster`,
  }),
  "member-refused": error<{ secret: string; problem: string; flags?: string }>({
    traits: ["skippable"],
    message: ({ secret, problem }) => `secret/${secret}: ${problem}`,
    remedy: ({ flags }) =>
      flags === undefined
        ? "use a token or a client certificate in the Secret, or leave it out with --selector"
        : `if you trust everyone who can write these Secrets, pass ${literal(flags)}`,
    noun: "clusters",
    each: true,
    summary: (of) => `Secrets of ${of} have fields that are not permitted`,
  }),
  "same-cluster": warning<{ other: string }>({
    message: ({ other }) => `skipped: same cluster as context ${other}`,
    remedy: "pass only one of the two contexts",
    noun: "contexts",
    each: true,
    summary: (of) => `${of} point to the same cluster as another context`,
  }),
  "one-sided": error<Contexts & { name: string; own: string; cluster: string }>({
    message: ({ name, own }) => `${name} has peer ${own}, but ${own} does not have peer ${name}`,
    remedy: `to connect them: ${IMPORT}\nto disconnect them: clustermesh-secrets disconnect {cluster} --from {peer}`,
    summary: (of) => `${of} are missing, but configured in the other direction`,
  }),
  "not-connected": warning<Contexts & { name: string; cluster: string }>({
    message: ({ name, cluster }) => `${cluster} and ${name} are not peers of each other`,
    remedy: "clustermesh-secrets connect {importer} {peer}",
    summary: (of) => `${of} are not peers of each other`,
  }),
  "endpoint-stale": error<Contexts & { name: string; before: string; now: string }>({
    message: ({ name, before, now }) => `endpoint of ${name} is ${now}, but ${before} is configured`,
    remedy: IMPORT,
    summary: (of) => `configured endpoints of ${of} are outdated`,
  }),
  "addresses-stale": warning<Contexts & { name: string; addresses: string; isGiven?: true }>({
    message: ({ name, addresses }) => `outdated addresses of ${name}: ${addresses}`,
    remedy: ({ isGiven }) =>
      isGiven ? "extract-secret --context {peer} --endpoint HOST:PORT | import-secrets --context {importer} -" : IMPORT,
    summary: (of) => `some configured addresses of ${of} are outdated`,
  }),
  "endpoint-given": warning<{ name: string; peer?: string; importer?: string }>({
    message: ({ name }) => `the endpoint of ${name} was set with a flag, so later imports keep it`,
    remedy: ({ peer, importer }) => {
      const extract = `extract-secret --context ${peer === undefined ? "PEER" : "{peer}"}`;
      return importer === undefined
        ? `to change it: ${extract} --endpoint HOST:PORT > FILE`
        : `to reset it: ${extract} | import-secrets --context {importer} --endpoint {name}= -`;
    },
    summary: (of) => `endpoints of ${of} were set with a flag, so later imports keep them`,
  }),
  "ca-stale": error<Contexts & { name: string }>({
    message: ({ name }) => `the CA of ${name} has changed, and the new CA is not trusted`,
    remedy: IMPORT,
    summary: (of) => `CAs of ${of} have changed, and the new CAs are not trusted`,
  }),
  "client-stale": warning<Contexts & { name: string }>({
    message: ({ name }) => `${name} has a new client certificate for its peers, but an older one is configured`,
    remedy: IMPORT,
    summary: (of) => `client certificates of ${of} are outdated`,
  }),
  "peer-not-compared": warning<{ name: string; isUnreadable?: true }>({
    formerCode: "peer-uncovered",
    message: ({ name, isUnreadable }) =>
      `${name} was not compared: ${isUnreadable ? "its cluster cannot be read" : "its context was not passed"}`,
    remedy: ({ isUnreadable }) => (isUnreadable ? undefined : "also pass its context, or --all-contexts"),
    by: ({ isUnreadable }) => ({ isUnreadable: isUnreadable && "true" }),
    summary: (of, { isUnreadable }) =>
      `${of} were not compared: ${isUnreadable === undefined ? "their contexts were not passed" : "their clusters cannot be read"}`,
  }),
  "pod-not-ready": error<{
    waitingFor: string;
    isAwaitingImport: boolean;
    hasPeers: boolean;
    importer: string;
    namespace: string;
  }>({
    message: ({ waitingFor }) => `${APISERVER} is not running: waiting ${waitingFor}`,
    remedy: ({ isAwaitingImport, hasPeers }) => {
      if (!isAwaitingImport) {
        return `kubectl --context {importer} --namespace {namespace} describe pods --selector k8s-app=${APISERVER}`;
      }
      return hasPeers ? MIGRATE : "import the file of a peer: import-secrets --context {importer} FILE";
    },
    by: ({ waitingFor }) => ({ waitingFor }),
    summary: (of, { waitingFor = "for its containers to become ready" }) =>
      `${APISERVER} of ${of} is not running: waiting ${waitingFor}`,
  }),
  "user-missing": error<Contexts & { name: string; user: string; cluster: string }>({
    message: ({ name, user, cluster }) => `${name} has no etcd user ${user} for ${cluster}`,
    remedy: IMPORT,
    summary: (of) => `${of} have no etcd user for their importer`,
  }),
  "host-alias-missing": error<Contexts & { workload: string; hostnames: string; isOutdated?: true }>({
    message: ({ workload, hostnames, isOutdated }) =>
      isOutdated
        ? `${workload} has outdated host aliases for ${hostnames}`
        : `${workload} has no host aliases for ${hostnames}`,
    remedy: ({ isOutdated }) =>
      isOutdated ? "clustermesh-secrets connect {importer} {peer} --restart-agents" : `${MIGRATE} --restart-agents`,
    summary: (of) => `workloads lack host aliases for ${of}`,
  }),
  "layout-outdated": warning<{ name: string; version: string | undefined; importer: string }>({
    formerCode: "upgrade-left",
    message: ({ name, version }) =>
      `the config of ${name} was written for a version of Cilium other than ${version ?? "the running one"}`,
    remedy: MIGRATE,
    summary: (of) => `configs of ${of} were written for another version of Cilium`,
  }),
  "node-local-misplaced": error<{ name: string; importer: string }>({
    message: ({ name }) =>
      `${name} has loopback endpoints, but is configured in secret/${KVSTOREMESH_SECRET}, which agents do not read`,
    remedy: MIGRATE,
    summary: (of) => `configs of ${of} are in a Secret that agents do not read`,
  }),
} as const;
