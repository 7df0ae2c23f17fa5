/** The clusters that a program's arguments name. */

import type { TargetSource } from "../../lib/import/import.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import {
  type Context,
  type Impersonation,
  KubeconfigError,
  loadKubeconfig,
  selectContext,
  targetKey,
} from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { connectTo } from "../../lib/kube/open.ts";
import type { MemberSource } from "../../lib/mesh/member.ts";
import { dedupe } from "../../lib/util/dedupe.ts";
import { duration } from "./duration.ts";
import type { Arguments, clusterOptions } from "./run.ts";
import { traced, warn } from "./terminal.ts";

type ClusterArguments = Omit<Arguments<typeof clusterOptions>, "files">;

/** The contexts of these names, or the current one; all are there before any is connected to. */
export async function contextsOf(args: ClusterArguments, names: readonly string[]): Promise<Context[]> {
  const kubeconfig = await loadKubeconfig({ env: process.env, path: args.kubeconfig });
  const wanted = names.length > 0 ? [...new Set(names)] : [undefined];
  return Promise.all(wanted.map((name) => selectContext(kubeconfig, name, impersonation(args))));
}

/** What the kubeconfig calls its contexts. */
export async function contextNamesOf(args: ClusterArguments): Promise<Iterable<string>> {
  return (await loadKubeconfig({ env: process.env, path: args.kubeconfig })).contexts.keys();
}

/**
 * The clusters that contexts of these names lead to, or the current one, or those of all contexts by their names. Two
 * contexts for one server are one cluster. Of all contexts, one that leads nowhere fails when it is opened, like a
 * cluster that does not answer; one that was named is an error.
 *
 * @param once what is done with a cluster, for the warning.
 */
export async function clustersOf(
  args: ClusterArguments,
  names: readonly string[] | "all",
  once: string,
): Promise<MemberSource[]> {
  if (names !== "all") return sources(args, await contextsOf(args, names), once);
  const kubeconfig = await loadKubeconfig({ env: process.env, path: args.kubeconfig });
  const all = inNaturalOrder(kubeconfig.contexts.keys()).map(async (name): Promise<Context | MemberSource> => {
    try {
      return await selectContext(kubeconfig, name, impersonation(args));
    } catch (error) {
      if (!(error instanceof KubeconfigError)) throw error;
      return {
        source: name,
        open: () => {
          throw error;
        },
      };
    }
  });
  return sources(args, await Promise.all(all), once);
}

function sources(args: ClusterArguments, contexts: readonly (Context | MemberSource)[], once: string): MemberSource[] {
  const named = (way: Context | MemberSource) => ("open" in way ? way.source : way.name);
  const alike = new Map<Context | MemberSource, Context | MemberSource>();
  const ways = dedupe(
    contexts,
    (way) => ("open" in way ? undefined : targetKey(way)),
    (same, other) => {
      warn(`contexts ${named(same)} and ${named(other)} reach the same cluster, which is ${once} once`);
      alike.set(other, same);
    },
  );
  return ways.map((way) => {
    if ("open" in way) return way;
    const same = contexts.filter((one) => one === way || alike.get(one) === way);
    const names = same.flatMap((one) => [named(one), ...("open" in one ? [] : [one.cluster ?? ""])]);
    return { source: way.name, names, open: () => connectFor(args, way) };
  });
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

/** The targets of an import. */
export async function targetsOf(args: ClusterArguments & { context: string[] }): Promise<TargetSource[]> {
  return (await clustersOf(args, args.context, "written")).map(({ source, open }) => ({
    source,
    open,
    read: (api) => readTarget(api, source, { namespace: args.namespace, warn: (line) => warn(`${source}: ${line}`) }),
  }));
}
