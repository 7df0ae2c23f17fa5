/** Opens the store of the state of `sync`. */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import {
  type Kubeconfig,
  type KubeconfigSource,
  loadKubeconfig,
  loadServiceAccount,
  selectContext,
} from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openContext } from "../../lib/kube/open.ts";
import { createConfigMapStore } from "../../lib/sync/config-map-store.ts";
import { createFileStore } from "../../lib/sync/file-store.ts";
import { LEASE_TIMES } from "../../lib/sync/lease.ts";
import type { StateStore } from "../../lib/sync/state-store.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { type ClusterArguments, describeKubeconfig, toImpersonation, toOpenOptions } from "./clusters.ts";
import type { Arguments } from "./option.ts";
import type { stateOptions } from "./options.ts";

export type StateArguments = ClusterArguments & Omit<Arguments<typeof stateOptions>, "files">;

/** The store of the state. */
export interface OpenedState {
  store: StateStore;
  /** The cluster of the store, if it is in one: the Lease of its writer is there too. */
  cluster?: { api: KubernetesApi; namespace: string };
  /** Ends the claim of the store, and closes the connection. */
  close(): Promise<void>;
}

/**
 * Opens and claims the store that the `--state` flags select: a ConfigMap in the cluster of the pod in which we run, even if
 * `KUBECONFIG` is set, or in that of a context; else a file.
 *
 * @param isReader - only the state is read: the store is not claimed.
 * @param source - the environment, and the folder of the pod's service account.
 * @throws UserError if the flags do not fit together, the kubeconfig cannot be read, or another process uses the file.
 */
export async function openStateStore(
  args: StateArguments,
  { isReader = false }: { isReader?: boolean } = {},
  source: Pick<KubeconfigSource, "env" | "serviceAccount"> = { env: process.env },
): Promise<OpenedState> {
  const pod = await loadServiceAccount(source);
  if (choosePlace(args, pod !== undefined) === "cluster") return openCluster(args, source, pod);
  const store = createFileStore(args["state-file"] ?? defaultFile(args, source.env));
  if (!isReader) await store.claim();
  return { store, close: () => store.release() };
}

/** @throws UserError (exit code 2) if the `--state` flags do not fit together. */
export function assertStateFlags(args: StateArguments): void {
  choosePlace(args, false);
}

/** Chooses by `--state`, else by the flags of one of the places, else by where we run. */
function choosePlace(args: StateArguments, isPod: boolean): "cluster" | "file" {
  const forCluster = (["state-context", "state-namespace"] as const).find((name) => args[name] !== undefined);
  const forFile = args["state-file"] === undefined ? undefined : "state-file";
  const chosen = args.state;
  const unused = chosen === "file" ? forCluster : chosen === "cluster" ? forFile : undefined;
  if (unused !== undefined) {
    throw new UserError(`--${unused} and --state=${chosen} are mutually exclusive`, EXIT.refused);
  }
  if (forCluster !== undefined && forFile !== undefined) {
    throw new UserError(`--${forCluster} and --${forFile} are mutually exclusive`, EXIT.refused);
  }
  if (chosen !== undefined) return chosen === "cluster" ? "cluster" : "file";
  return forCluster !== undefined || (isPod && forFile === undefined) ? "cluster" : "file";
}

async function openCluster(
  args: StateArguments,
  { env, serviceAccount }: Pick<KubeconfigSource, "env" | "serviceAccount">,
  pod: Kubeconfig | undefined,
): Promise<OpenedState> {
  const name = args["state-context"];
  const isPod = pod !== undefined && name === undefined;
  const kubeconfig = isPod
    ? pod
    : await loadKubeconfig({ env, path: args.kubeconfig, ...(serviceAccount !== undefined && { serviceAccount }) });
  // The user of --as is one of the kubeconfig.
  const impersonate = isPod ? {} : toImpersonation(args);
  const context = await selectContext(kubeconfig, name, impersonate);
  const options = toOpenOptions(args, context.name);
  const api = openContext(context, {
    ...options,
    env,
    impersonate,
    ...(!isPod && { kubeconfig: args.kubeconfig }),
    requestTimeout: leaseTimeout(options.requestTimeout),
  });
  const namespace = args["state-namespace"] ?? context.namespace ?? "default";
  const store = createConfigMapStore(api, namespace);
  return { store, cluster: { api, namespace }, close: async () => api.close() };
}

/** Limits the timeout of a request, so that a renewal can be tried again before the Lease is lost, as controller-runtime does. */
function leaseTimeout(requested: number | undefined): number {
  const limit = LEASE_TIMES.renewDeadline / 2;
  return requested === undefined || requested === 0 ? limit : Math.min(requested, limit);
}

/**
 * Returns the default of `--state-file`, by the XDG Base Directory Specification, which ignores relative folders. Each
 * kubeconfig has its own, because its contexts are other clusters, even if their names are the same.
 */
function defaultFile(args: StateArguments, env: NodeJS.ProcessEnv): string {
  const { XDG_STATE_HOME: given, HOME: home } = env;
  const folder = given !== undefined && isAbsolute(given) ? given : join(home || homedir(), ".local", "state");
  const kubeconfig = describeKubeconfig(args, env);
  const suffix =
    kubeconfig === undefined ? "" : `-${createHash("sha256").update(kubeconfig).digest("hex").slice(0, 12)}`;
  return join(folder, "clustermesh-secrets", `sync${suffix}.json`);
}
