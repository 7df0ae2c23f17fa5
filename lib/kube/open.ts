/** From a kubeconfig's context to a cluster's API. */
import { shellQuote } from "../util/shell.ts";
import { KubernetesApi } from "./api.ts";
import { obtainCredentials } from "./auth/credentials.ts";
import { type Context, type Impersonation, loadKubeconfig, selectContext } from "./kubeconfig/kubeconfig.ts";
import { openTransport, type TransportOptions } from "./transport/transport.ts";

export interface OpenOptions extends TransportOptions {
  /** Path of the kubeconfig; else as kubectl finds it. */
  kubeconfig?: string | undefined;
  /** Undefined for the current one. */
  context?: string | undefined;
  impersonate?: Impersonation;
  /** Told where the API server's certificate is not verified. */
  warn?(line: string): void;
}

/** Loads the kubeconfig, selects the context, and starts to connect. */
export async function openCluster(options: OpenOptions = {}): Promise<{ api: KubernetesApi; context: Context }> {
  const env = options.env ?? process.env;
  const kubeconfig = await loadKubeconfig({ env, path: options.kubeconfig });
  const context = await selectContext(kubeconfig, options.context, options.impersonate);
  return { api: openContext(context, options), context };
}

/** Starts to connect to the cluster of a context. */
export function openContext(context: Context, options: OpenOptions = {}): KubernetesApi {
  if (context.tls.insecure) options.warn?.(`${context.server} is not verified (insecure-skip-tls-verify)`);
  const transport = openTransport(context, (refused) => obtainCredentials(context, options.env, refused), options);
  const { user, groups = [], uid } = options.impersonate ?? {};
  const flags = [
    ...(options.kubeconfig === undefined ? [] : ["--kubeconfig", options.kubeconfig]),
    ...["--context", context.name],
    ...(user === undefined ? [] : ["--as", user]),
    ...groups.flatMap((group) => ["--as-group", group]),
    ...(uid === undefined ? [] : ["--as-uid", uid]),
  ];
  return new KubernetesApi(transport, context.name, flags.map(shellQuote).join(" "));
}
