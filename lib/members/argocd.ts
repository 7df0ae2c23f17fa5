/** The clusters of Argo CD, as its declarative setup documents their Secrets. Pure. */
import { type KubeconfigFile, toKubeconfigFile } from "../kube/kubeconfig/kubeconfig.ts";
import { type Fields, isFields } from "../util/fields.ts";
import type { RefusedField } from "./cluster-secret-error.ts";

/** Argo CD's names of kubeconfig fields. */
export const ARGO_FIELDS: Readonly<Record<string, string>> = {
  exec: "execProviderConfig",
  "exec.env": "execProviderConfig.env",
  "proxy-url": "proxyUrl",
  "insecure-skip-tls-verify": "tlsClientConfig.insecure",
};

/** The context, cluster and user of the converted kubeconfig. */
const ENTRY = "argocd";

/** Returns the fields that no kubeconfig has, and that are always refused: they run Argo CD's own programs. */
export function findArgoRefusals(config: Fields): RefusedField[] {
  const { awsAuthConfig } = config;
  return isFields(awsAuthConfig) ? [{ field: "awsAuthConfig", permittedBy: undefined }] : [];
}

/**
 * Converts a cluster of Argo CD to a kubeconfig. Unknown fields are ignored.
 *
 * @param config - the parsed JSON of the Secret's `config`.
 * @throws KubeconfigError if a field has the wrong type.
 */
export function convertArgoCluster(server: string, config: Fields, label: string): KubeconfigFile {
  const tls = isFields(config.tlsClientConfig) ? config.tlsClientConfig : {};
  const cluster = {
    server,
    "certificate-authority-data": tls.caData,
    "insecure-skip-tls-verify": tls.insecure,
    "tls-server-name": tls.serverName,
    "proxy-url": config.proxyUrl,
  };
  const user = {
    token: config.bearerToken,
    username: config.username,
    password: config.password,
    "client-certificate-data": tls.certData,
    "client-key-data": tls.keyData,
    exec: convertExec(config.execProviderConfig),
  };
  const value = {
    "current-context": ENTRY,
    contexts: [{ name: ENTRY, context: { cluster: ENTRY, user: ENTRY } }],
    clusters: [{ name: ENTRY, cluster }],
    users: [{ name: ENTRY, user }],
  };
  return toKubeconfigFile(value, { label, folder: "/", file: "" });
}

/** Converts `execProviderConfig`, whose environment is a mapping. */
function convertExec(exec: unknown): unknown {
  if (!isFields(exec)) return exec;
  const { command, args, apiVersion, installHint } = exec;
  const env = isFields(exec.env) ? Object.entries(exec.env).map(([name, value]) => ({ name, value })) : exec.env;
  return { command, args, apiVersion, installHint, env, interactiveMode: "Never" };
}
