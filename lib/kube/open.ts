/** Opens the API of a kubeconfig context. */
import { shellQuote } from "../util/shell.ts";
import { KubernetesApi } from "./api.ts";
import { obtainCredentials } from "./auth/credentials.ts";
import { type Context, type Impersonation, loadKubeconfig, selectContext } from "./kubeconfig/kubeconfig.ts";
import { openTransport, type TransportOptions } from "./transport/transport.ts";

export interface OpenOptions extends TransportOptions {
  /** The field manager of writes and the user agent of requests. */
  clientName: string;
  /** Path of the kubeconfig. Default: the files that kubectl would read. */
  kubeconfig?: string | undefined;
  /** Default: the current context. */
  context?: string | undefined;
  impersonate?: Impersonation;
  /** The kubectl flags that select the same cluster and user, for commands in messages. Default: those of the context. */
  flags?: readonly string[];
  /** Called if the context turns off verification of the API server's certificate. */
  warn?(line: string): void;
}

/**
 * Loads the kubeconfig, selects the context and starts to connect.
 *
 * @throws KubeconfigError
 */
export async function openCluster(options: OpenOptions): Promise<{ api: KubernetesApi; context: Context }> {
  const env = options.env ?? process.env;
  const kubeconfig = await loadKubeconfig({ env, path: options.kubeconfig });
  const context = await selectContext(kubeconfig, options.context, options.impersonate);
  return { api: openContext(context, options), context };
}

/** Starts to connect to the cluster of a context; connection errors are thrown by the first request. */
export function openContext(context: Context, options: OpenOptions): KubernetesApi {
  if (context.tls.insecure) {
    options.warn?.(`certificate of ${context.server} is not verified (insecure-skip-tls-verify)`);
  }
  const transport = openTransport(context, (rejected) => obtainCredentials(context, options.env, rejected), {
    ...options,
    userAgent: options.clientName,
  });
  const { user, groups = [], uid } = options.impersonate ?? {};
  const flags = [
    ...(options.kubeconfig === undefined ? [] : ["--kubeconfig", options.kubeconfig]),
    ...["--context", context.name],
    ...(user === undefined ? [] : ["--as", user]),
    ...groups.flatMap((group) => ["--as-group", group]),
    ...(uid === undefined ? [] : ["--as-uid", uid]),
  ];
  return new KubernetesApi(transport, {
    context: context.name,
    isForeign: context.isForeign,
    flags: (options.flags ?? flags).map(shellQuote).join(" "),
    fieldManager: options.clientName,
  });
}
