/** Codes for the config of a peer: its endpoints, host aliases and files. */
import { MOUNT_PATH } from "../peer.ts";
import { error, RE_EXTRACT, warning } from "./code.ts";
import { adviceOf, type Failure } from "./probe-codes.ts";

export const CONFIG_CODES = {
  "config-invalid": error<{ problem: string }>({
    traits: ["illegible"],
    message: ({ problem }) => `the config ${problem}`,
    remedy: RE_EXTRACT,
    each: true,
    summary: (of) => `configs of ${of} are invalid`,
  }),
  "config-fields-ignored": warning<{ fields: string; peer?: string }>({
    message: ({ fields, peer }) =>
      peer === undefined
        ? `ignored unsupported fields of the config: ${fields}`
        : `config left unchanged: it has unsupported fields: ${fields}`,
    remedy: ({ peer }) => (peer === undefined ? undefined : "import the current file of {peer}"),
    by: ({ fields }) => ({ fields }),
    summary: (of, { fields }) =>
      `configs of ${of} have unsupported fields${fields === undefined ? "" : ` (${fields})`}`,
  }),
  "own-cache": error({
    traits: ["unprobeable"],
    message: "the entry is its cluster's own KVStoreMesh cache, not a peer",
    remedy: "use secret/cilium-kvstoremesh of that cluster instead",
    noun: "entries",
    summary: (of) => `${of} are their own cluster's KVStoreMesh cache, not peers`,
  }),
  "endpoint-invalid": error<{ url?: string }>({
    traits: ["unprobeable"],
    message: ({ url }) =>
      url === undefined
        ? "the config has no endpoints"
        : `invalid endpoint ${JSON.stringify(url)}: expected https://host:port`,
    remedy: RE_EXTRACT,
    each: true,
    summary: (of) => `endpoints of ${of} are invalid`,
  }),
  "endpoint-not-covered": error<{ host: string; names: string } | Failure>({
    traits: ["disprovable"],
    message: (values) =>
      "problem" in values
        ? values.problem
        : `the server certificate does not cover ${values.host}, only ${values.names}`,
    remedy: (values) => ("problem" in values ? adviceOf(values) : "re-extract the peer, with --endpoint if needed"),
    summary: (of) => `endpoints of ${of} are not covered by their server certificates`,
  }),
  "endpoint-address": warning<{ host: string; peer: string; endpoint: string }>({
    traits: ["undecided"],
    message: ({ host }) => `the endpoint is the IP address ${host}, which the chart's server certificates do not cover`,
    remedy: "re-extract {peer}, or import with --endpoint {peer}={endpoint}",
    summary: (of) => `endpoints of ${of} are IP addresses, which the chart's server certificates do not cover`,
  }),
  "endpoint-node-local": error<{ peer: string; endpoints: string; port: string }>({
    message: ({ peer, endpoints }) => `${peer} is node-local: reachable only from the same node, at ${endpoints}`,
    remedy: "omit {peer}, or if each node runs a tunnel, import with --endpoint {peer}=127.0.0.1:{port}",
    summary: (of) => `${of} are node-local: reachable only from the same node`,
  }),
  "loopback-address": warning<{ peer: string; hosts: string }>({
    message: ({ peer, hosts }) =>
      `${peer} has loopback addresses, so nodes and pods would connect to themselves: ${hosts}`,
    remedy: "unless this is a test on one machine, re-extract {peer} with --endpoint HOST:PORT",
    summary: (of) => `${of} have loopback addresses`,
  }),
  "alias-invalid": error<{ problem: string }>({
    traits: ["unprobeable"],
    message: ({ problem }) => `Cilium rejects the config: ${problem}`,
    remedy: RE_EXTRACT,
    each: true,
    summary: (of) => `host aliases of ${of} are invalid`,
  }),
  "no-addresses": error<{ host: string }>({
    traits: ["of-pair"],
    message: ({ host }) => `the addresses of ${host} are unknown, and it is not in DNS`,
    remedy: `${RE_EXTRACT} (charts before 1.20 store the addresses in hostAliases of the workload)`,
    summary: (of) => `addresses of ${of} are unknown, and their names are not in DNS`,
  }),
  "file-missing": error<{ field: string; key: string; isConfig?: true }>({
    traits: ["illegible"],
    message: ({ field, key, isConfig }) =>
      `${field} refers to ${key}, which is ${isConfig ? "an etcd config, not a certificate or key" : "missing from the Secret"}`,
    remedy: "export the whole Secret: kubectl --context CONTEXT --namespace NAMESPACE get secret NAME --output yaml",
    each: true,
    summary: (of) => `configs of ${of} refer to files that are missing from the Secret`,
  }),
  "file-elsewhere": error<{ field: string; path: string }>({
    traits: ["illegible"],
    message: ({ field, path }) => `${field} refers to ${path}, which is not in a Secret`,
    remedy: `re-extract the peer: files must be below ${MOUNT_PATH}`,
    each: true,
    summary: (of) => `configs of ${of} refer to files that are not in a Secret`,
  }),
  "no-client-certificate": error({
    traits: ["illegible"],
    message: "the config has no matching pair of client certificate and key",
    remedy: RE_EXTRACT,
    summary: (of) => `configs of ${of} have no matching pair of client certificate and key`,
  }),
  "system-roots": warning({
    message: "the config has no CA, so Cilium uses the system's trusted roots",
    summary: (of) => `configs of ${of} have no CA, so Cilium uses the system's trusted roots`,
  }),
} as const;
