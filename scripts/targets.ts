/** The clusters that a program's arguments name. */
import type { KubernetesApi } from "../lib/cluster/api.ts";
import {
  type Context,
  type Impersonation,
  loadKubeconfig,
  selectContext,
  targetKey,
} from "../lib/cluster/kubeconfig.ts";
import { connectTo } from "../lib/cluster/open.ts";
import type { TargetSource } from "../lib/exchange/import.ts";
import { readTarget } from "../lib/exchange/read-target.ts";
import { type Arguments, type clusterOptions, duration } from "./cli.ts";
import { traced, warn } from "./terminal.ts";

type ClusterArguments = Omit<Arguments<typeof clusterOptions>, "files">;

/** The contexts of these names, or the current one; all are there before any is connected to. */
export function contextsOf(args: ClusterArguments, names: readonly string[]): Promise<Context[]> {
  return contextsNamed(args, names);
}

/** As {@link contextsOf}, or all that the kubeconfig has, by their names. */
export async function contextsNamed(args: ClusterArguments, names: readonly string[] | "all"): Promise<Context[]> {
  const kubeconfig = await loadKubeconfig({ env: process.env, path: args.kubeconfig });
  const named = names === "all" ? inNaturalOrder(kubeconfig.contexts.keys()) : [...new Set(names)];
  const wanted = named.length > 0 ? named : [undefined];
  return Promise.all(wanted.map((name) => selectContext(kubeconfig, name, impersonation(args))));
}

/** cluster2 before cluster10. */
function inNaturalOrder(names: Iterable<string>): string[] {
  // Made only here: it takes as long as planning an import.
  return [...names].sort(new Intl.Collator("en", { numeric: true }).compare);
}

function impersonation(args: ClusterArguments): Impersonation {
  return { user: args.as, groups: args["as-group"], uid: args["as-uid"] };
}

/** The addresses of a name, as this machine resolves it. */
export async function addressesOf(name: string): Promise<string[]> {
  // Loaded only here: most imports and extractions resolve nothing.
  const { lookup } = await import("node:dns/promises");
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

/** Starts to connect to the cluster of a context. */
export function connectFor(args: ClusterArguments, context: Context): KubernetesApi {
  return connectTo(context, {
    kubeconfig: args.kubeconfig,
    requestTimeout: duration(args["request-timeout"], "request-timeout"),
    impersonate: impersonation(args),
    trace: args.debug ? (line) => traced(`${context.name}: ${line}`) : undefined,
    warn,
  });
}

/** The targets of an import. Two contexts for one server are one target. */
export async function targetsOf(args: ClusterArguments & { context: string[] }): Promise<TargetSource[]> {
  const contexts = await contextsOf(args, args.context);
  const targets = new Map<string, Context>();
  for (const context of contexts) {
    const same = targets.get(targetKey(context));
    if (same) warn(`contexts ${same.name} and ${context.name} reach the same cluster, which is written once`);
    else targets.set(targetKey(context), context);
  }
  return [...targets.values()].map((context) => ({
    source: context.name,
    open: () => connectFor(args, context),
    read: (api) =>
      readTarget(api, context.name, {
        namespace: args.namespace,
        warn: (line) => warn(`${context.name}: ${line}`),
      }),
  }));
}
