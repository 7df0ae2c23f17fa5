/** The clusters that a command's arguments name: their contexts, each opened once. */
import type { KubernetesApi } from "../../lib/kube/api.ts";
import type { Cluster } from "../../lib/kube/cluster.ts";
import {
  apiServerKey,
  type Context,
  type Impersonation,
  type Kubeconfig,
  KubeconfigError,
  loadKubeconfig,
  selectContext,
} from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openContext } from "../../lib/kube/open.ts";
import { dedupe } from "../../lib/util/dedupe.ts";
import { duration } from "./duration.ts";
import type { Arguments } from "./option.ts";
import type { clusterOptions } from "./options.ts";
import { traced, warn } from "./terminal.ts";

export type ClusterArguments = Omit<Arguments<typeof clusterOptions>, "files">;

/** A context of the kubeconfig, or why it leads nowhere. */
type Way = { name: string; context: Context } | { name: string; error: KubeconfigError };

/** The contexts of a kubeconfig, which is loaded once. Each is connected to when it is first used, and only once. */
export class Contexts {
  readonly #args: ClusterArguments;
  readonly #kubeconfig: Kubeconfig;
  readonly #opened = new Map<string, KubernetesApi>();

  /** @throws UserError (exit code 2) if the kubeconfig cannot be read. */
  static async load(args: ClusterArguments): Promise<Contexts> {
    return new Contexts(args, await loadKubeconfig({ env: process.env, path: args.kubeconfig }));
  }

  private constructor(args: ClusterArguments, kubeconfig: Kubeconfig) {
    this.#args = args;
    this.#kubeconfig = kubeconfig;
  }

  /** What the kubeconfig calls its contexts. */
  names(): Iterable<string> {
    return this.#kubeconfig.contexts.keys();
  }

  /**
   * The clusters that contexts of these names lead to, or the current one if there are none. Two contexts for one server
   * and user are one cluster.
   *
   * @param once what is done with a cluster, for the warning about two contexts.
   * @throws UserError (exit code 2) for a context that is not there or leads nowhere.
   */
  async named(names: readonly string[], once: string): Promise<Cluster[]> {
    const wanted = names.length > 0 ? [...new Set(names)] : [undefined];
    const contexts = await Promise.all(wanted.map((name) => this.#select(name)));
    return this.#clusters(
      contexts.map((context) => ({ name: context.name, context })),
      once,
    );
  }

  /** The clusters of all contexts, by their names. One that leads nowhere fails when it is used. */
  async all(once: string): Promise<Cluster[]> {
    const ways = await Promise.all(
      inNaturalOrder(this.names()).map(async (name): Promise<Way> => {
        try {
          return { name, context: await this.#select(name) };
        } catch (error) {
          if (!(error instanceof KubeconfigError)) throw error;
          return { name, error };
        }
      }),
    );
    return this.#clusters(ways, once);
  }

  /** Closes all connections. */
  [Symbol.dispose](): void {
    for (const api of this.#opened.values()) api.close();
  }

  #select(name: string | undefined): Promise<Context> {
    return selectContext(this.#kubeconfig, name, impersonation(this.#args));
  }

  #clusters(ways: readonly Way[], once: string): Cluster[] {
    const namesOf = new Map(ways.map((way) => [way, callings(way)]));
    const kept = dedupe(
      ways,
      (way) => ("error" in way ? undefined : apiServerKey(way.context)),
      (first, other) => {
        warn(`contexts ${first.name} and ${other.name} reach the same cluster, which is ${once} once`);
        namesOf.get(first)?.push(...callings(other));
      },
    );
    const open = (way: Way) => this.#open(way);
    const close = (name: string) => {
      this.#opened.get(name)?.close();
      this.#opened.delete(name);
    };
    return kept.map((way) => ({
      source: way.name,
      names: namesOf.get(way) ?? [],
      get api() {
        return open(way);
      },
      close: () => close(way.name),
    }));
  }

  #open(way: Way): KubernetesApi {
    if ("error" in way) throw way.error;
    const opened = this.#opened.get(way.name) ?? this.#connect(way.context);
    this.#opened.set(way.name, opened);
    return opened;
  }

  #connect(context: Context): KubernetesApi {
    const args = this.#args;
    return openContext(context, {
      kubeconfig: args.kubeconfig,
      requestTimeout: duration(args["request-timeout"], "request-timeout"),
      impersonate: impersonation(args),
      trace: args.debug ? (line) => traced(`${context.name}: ${line}`) : undefined,
      warn,
    });
  }
}

/** What a context is called: by its own name, and by that of its cluster. */
function callings(way: Way): string[] {
  return [way.name, ...("error" in way || way.context.cluster === undefined ? [] : [way.context.cluster])];
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
