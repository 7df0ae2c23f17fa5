/** Codes for the compatibility of peers with a target, and for objects that cannot be written. */
import { AGENTS_SECRET, APISERVER, KVSTOREMESH_SECRET, MOUNT_PATH, USERS_CONFIG_MAP, USERS_KEY } from "../peer.ts";
import { bothValues, error, inParentheses, literal, warning } from "./code.ts";

const ONE_CA = "use one CA for all clusters, as authMode cluster requires";
const IMPORT_FILE = "import the current file of {peer}";

/** An object that another tool manages. */
interface OwnedObject {
  /** For example `secret/cilium-clustermesh`. */
  object: string;
  /** For example `Helm release cilium`. */
  owner: string;
}

/** How to change the configuration of the owner, so that it no longer manages the object. */
interface Release {
  release: string;
}

/** The cases of the warning about an object of another owner. */
type OwnerReset = OwnedObject &
  (
    | ({ case: "taken"; dropsAliases: boolean } & Release)
    | ({ case: "refused" } & Release)
    | { case: "users" | "host-aliases" }
  );

/** Why the target's own certificate cannot be used for a peer. */
type CaDifference =
  | { case: "unknown-peer-ca" | "unknown-own-ca" }
  | { case: "different" | "not-signed"; peer: string }
  | { case: "auth-mode"; peer: string; other: string };

type UnverifiedCommon =
  | { case: "volume"; external: string; unchecked: string; importer: string; namespace: string; command: string }
  | { case: "file"; peer: string }
  | { case: "trust"; peer: string; from: string; where: string };

type Unusable =
  | { case: "invalid-name"; peer: string }
  | { case: "problem"; peer: string; problem: string }
  | { case: "cache-only" | "different"; peer: string };

export const TARGET_CODES = {
  "target-not-set-up": error<{ name: string | undefined; id: number | undefined }>({
    message: ({ name = "default", id = 0 }) =>
      `not configured for Cluster Mesh: cluster-name is ${JSON.stringify(name)} and cluster-id is ${id}, so agents ignore all peers`,
    remedy: "set the Helm values cluster.name and cluster.id, both unique in the mesh",
    summary: (of) => `${of} are not configured for Cluster Mesh, so agents ignore all peers`,
  }),
  "common-not-mounted": error<{ peer: string; files: string; isExisting?: true }>({
    traits: ["of-pair"],
    message: ({ peer, isExisting }) =>
      isExisting
        ? `${peer} is configured with the target's own certificate, which the target's workloads do not mount`
        : "the target's workloads do not mount the target's own certificate for peers (requires Cilium 1.14)",
    remedy: ({ isExisting }) =>
      isExisting ? IMPORT_FILE : `re-extract {peer} with a key, or mount {files} in ${MOUNT_PATH}`,
    summary: (of) => `${of} require a certificate that their importer does not mount`,
  }),
  "common-unverified": warning<UnverifiedCommon>({
    message: (values) => {
      if (values.case === "file") {
        return `the file does not contain the CA of ${values.peer}, so the CAs cannot be compared`;
      }
      return values.case === "trust"
        ? `the CA that verifies ${values.peer} comes from ${values.from}, so the new CA was not added`
        : `the target's own certificate comes from ${values.external} and cannot be read; not checked: ${values.unchecked}`;
    },
    remedy: (values) => {
      if (values.case === "file") return "make sure that both clusters trust the same CA";
      return values.case === "trust"
        ? `add the new CA ${literal(values.where)}`
        : `check in its pods: kubectl --context {importer} --namespace {namespace} exec ${values.command}`;
    },
    by: (values) => ({ case: values.case }),
    summary: (of, { case: kind }) => {
      if (kind === "trust") return `the new CA was not added for ${of}`;
      return kind === "file"
        ? `files of ${of} do not contain the CA, so the CAs cannot be compared`
        : `certificates of ${of} cannot be read, so they were not verified`;
    },
  }),
  "ca-differs": error<CaDifference>({
    traits: ["of-pair"],
    message: (values) => {
      switch (values.case) {
        case "unknown-peer-ca":
          return "the file does not contain the peer's CA";
        case "unknown-own-ca":
          return "the target's own CA or certificate cannot be read";
        case "different":
          return `the CA of ${values.peer} differs from the CA of the target`;
        case "not-signed":
          return `the target's own certificate is not signed by the CA of ${values.peer}`;
        case "auth-mode":
          return `${values.peer} and ${values.other} use authMode cluster with different CAs`;
      }
    },
    remedy: (values) =>
      values.case === "auth-mode" ? ONE_CA : "use one CA for both clusters, or import a file with a key",
    summary: (of) => `${of} do not share the required CA`,
  }),
  "peer-without-key": error<{ lacking: "key" | "certificate" | "CA" }>({
    traits: ["of-pair"],
    message: ({ lacking }) =>
      lacking === "key"
        ? "the file contains no key for this peer, which --tls=peer requires"
        : `the file contains no ${lacking}: importers use their own`,
    remedy: ({ lacking }) =>
      lacking === "key" ? "import with --tls=auto" : "pass --cert, --key and --ca, or --context of an importer",
    summary: (of) => `${of} have no private key, certificate or CA`,
  }),
  "user-not-accepted": error<
    | { peer: string; user: string | undefined; authMode: string | undefined }
    | { peer: string; identity: string; why: string }
  >({
    traits: ["of-pair"],
    message: (values) =>
      "identity" in values
        ? `the certificate in the file is that of ${values.peer} itself (CN ${values.identity}), which ${values.peer} does not accept`
        : `the target authenticates as ${values.user ?? "no user"}, but ${values.peer} has authMode ${values.authMode ?? "unknown"}`,
    remedy: (values) =>
      "identity" in values
        ? `${ONE_CA}: ${literal(values.why)}`
        : "set clustermesh.apiserver.tls.authMode=migration in {peer}: authMode legacy accepts only CN remote",
    summary: (of) => `${of} do not accept the user of their importer`,
  }),
  "users-invalid": error<{ problem: string }>({
    traits: ["of-pair"],
    message: ({ problem }) => `${USERS_KEY} in configmap/${USERS_CONFIG_MAP} ${problem}, so Cilium ignores it`,
    remedy: `fix or delete ${USERS_KEY} in configmap/${USERS_CONFIG_MAP}, or import with --no-users`,
    noun: "clusters",
    each: true,
    summary: (of) => `etcd users of ${of} are invalid`,
  }),
  "version-unknown": warning<{ assumed: string }>({
    message: ({ assumed }) => `Cilium's version cannot be determined from its images: assuming ${assumed}`,
    summary: (of) => `Cilium versions of ${of} are unknown`,
  }),
  "secret-too-large": error<{ part: "data" | "annotations"; bytes: number; limit: number }>({
    message: ({ part, bytes, limit }) =>
      `the ${part} would be ${bytes.toLocaleString("en")} bytes, ${(bytes - limit).toLocaleString("en")} over the limit`,
    remedy: ({ part }) =>
      part === "data"
        ? "share a CA between the clusters and import with --tls=common, or use ECDSA keys, which are smaller"
        : "remove annotations of other tools",
    noun: "objects",
    each: true,
    summary: (of) => `${of} would be too large`,
  }),
  "owned-by-other": error<OwnedObject & Release>({
    message: ({ object, owner }) => `${object} belongs to ${owner}, which would revert the changes`,
    remedy: "import with --take-ownership first, then {release} (the other way round, {owner} deletes the object)",
    by: ({ owner }) => ({ owner }),
    noun: "objects",
    summary: (of, { owner = "other tools" }) => `${of} belong to ${owner}, which would revert the changes`,
  }),
  "owner-resets": warning<OwnerReset>({
    message: (values) => {
      const { object, owner } = values;
      switch (values.case) {
        case "taken":
          return `${object} is taken over from ${owner}, which may overwrite it`;
        case "refused":
          return `${object} belongs to ${owner}, so an import without --take-ownership would be refused`;
        case "users":
          return `${object} belongs to ${owner}, which reverts the changes when it next upgrades or syncs`;
        case "host-aliases":
          return `${object} belongs to ${owner}, whose next upgrade removes the added host aliases if it renders its own`;
      }
    },
    remedy: (values) => {
      switch (values.case) {
        case "taken":
          return values.dropsAliases
            ? "now {release}, then import the files of all peers again: that upgrade removes the chart's host aliases"
            : "now {release}";
        case "refused":
          return "change it in {owner}; or import with --take-ownership first, then {release} (the other way round, {owner} deletes the object)";
        case "users":
          return "import again whenever {owner} has upgraded or synced";
        case "host-aliases":
          return "import again after each upgrade, until Cilium 1.20";
      }
    },
    by: (values) => ({ owner: values.owner, taken: values.case === "taken" ? "true" : undefined }),
    noun: "objects",
    summary: (of, { owner = "other tools", taken }) =>
      taken === undefined
        ? `${of} belong to ${owner}, which may revert the changes`
        : `${of} are taken over from ${owner}, which may overwrite them`,
  }),
  immutable: error<{ object: string }>({
    message: ({ object }) => `${object} is immutable`,
    remedy: "delete {object} and import again; its peers disconnect in the meantime",
    noun: "objects",
    summary: (of) => `${of} are immutable`,
  }),
  "prune-everything": error({
    message: "no file contains a peer of this target, so --prune would remove every peer",
    remedy: "pass the files of the peers to keep",
    summary: (of) => `all peers of ${of} would be removed`,
  }),
  "endpoint-unknown-peer": error<{ name: string }>({
    formerCode: "endpoint-for-nobody",
    message: ({ name }) => `invalid value for --endpoint: unknown peer ${name}`,
    remedy: "import the file of {name} in the same command",
    summary: (of) => `${of} in --endpoint are unknown`,
  }),
  "endpoint-needs-file": error<{ peer: string; fields?: string }>({
    message: ({ peer, fields }) =>
      fields === undefined
        ? `cannot reset the endpoint of ${peer}: its own endpoint is only in its file`
        : `the existing config of ${peer} has unsupported fields, so its endpoint cannot be changed: ${fields}`,
    remedy: "import the current file of {peer} in the same command",
    summary: (of) => `--endpoint requires the files of ${of}`,
  }),
  "addresses-pinned": warning<{ problem: string }>({
    message: ({ problem }) => problem,
    each: true,
    summary: (of) => `addresses of ${of} were resolved once and stored; later DNS changes have no effect`,
  }),
  "existing-unusable": warning<Unusable>({
    traits: ["of-pair", "unconnected"],
    formerCode: "standing-unusable",
    message: (values) => {
      const { peer } = values;
      switch (values.case) {
        case "invalid-name":
          return `invalid cluster name ${JSON.stringify(peer)}: existing config left unchanged`;
        case "problem":
          return `existing config of ${peer} cannot connect: ${values.problem}`;
        case "cache-only":
          return `${peer} is missing from secret/${KVSTOREMESH_SECRET}: secret/${AGENTS_SECRET} only refers to the cache of ${APISERVER}`;
        case "different":
          return `existing configs of ${peer} in secret/${AGENTS_SECRET} and secret/${KVSTOREMESH_SECRET} differ, and both can connect`;
      }
    },
    remedy: (values) => {
      if (values.case === "invalid-name") return "import the file of the cluster, and remove this entry with --prune";
      return values.case === "different" ? IMPORT_FILE : `${IMPORT_FILE}, or remove it with --prune`;
    },
    each: true,
    summary: (of) => `existing configs of ${of} are unusable or ambiguous`,
  }),
  "pod-cidrs-overlap": warning<{ peer: string; cidr: string; other: string; otherCidr: string }>({
    traits: ["of-pair"],
    message: ({ peer, cidr, other, otherCidr }) =>
      `pod CIDR ${cidr} of ${peer} overlaps with ${otherCidr} of ${other}, so their pods cannot reach each other`,
    remedy: "use non-overlapping pod CIDRs in all clusters",
    summary: (of) => `pod CIDRs of ${of} overlap, so their pods cannot reach each other`,
  }),
  "tunnel-differs": warning<{ peer: string; routing: string; other: string; otherRouting: string }>({
    traits: ["of-pair"],
    message: ({ peer, routing, other, otherRouting }) =>
      `${peer} uses ${routing} routing, but ${other} uses ${otherRouting}`,
    remedy: "use one routing mode and tunnel protocol in all clusters",
    by: ({ routing, otherRouting }) => ({ values: bothValues(routing, otherRouting) }),
    summary: (of, { values }) => `routing mode or tunnel protocol of ${of} differs${inParentheses(values)}`,
  }),
  "encryption-differs": warning<{
    peer: string;
    encryption: string;
    other: string;
    otherEncryption: string;
  }>({
    traits: ["of-pair"],
    message: ({ peer, encryption, other, otherEncryption }) =>
      `encryption is ${encryption} in ${peer}, but ${otherEncryption} in ${other}`,
    remedy: "enable the same encryption in all clusters, or in none",
    by: ({ encryption, otherEncryption }) => ({ values: bothValues(encryption, otherEncryption) }),
    summary: (of, { values }) => `encryption of ${of} differs${inParentheses(values)}`,
  }),
  "same-node-port": warning<{ address: string; cluster: string; nodePort: number; version: string | undefined }>({
    traits: ["of-pair"],
    message: ({ address, cluster, nodePort, version }) =>
      `${address} has the same node port as ${cluster} (${nodePort}): ` +
      `with kube-proxy replacement, Cilium ${version} sends such traffic to the local etcd`,
    remedy: "set another clustermesh.apiserver.service.nodePort in one of them, or use a LoadBalancer",
    summary: (of) =>
      `${of} have the same node port, so kube-proxy replacement before 1.19 sends traffic to the local etcd`,
  }),
  "not-allowed": error<{ verb: string; object: string; namespace: string; check: string }>({
    message: ({ verb, object, namespace }) => `not allowed to ${verb} ${object} in namespace ${namespace}`,
    remedy: ({ check }) => `check with: ${literal(check)}`,
    noun: "permissions",
    each: true,
    summary: (of) => `${of} are missing`,
  }),
} as const;
