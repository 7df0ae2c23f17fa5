/** Opens the clusters of a command's contexts, each once. */
import { createHash } from "node:crypto";
import { delimiter, resolve } from "node:path";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import type { Cluster } from "../../lib/kube/cluster.ts";
import {
  apiServerKey,
  assertHasContexts,
  type Context,
  type Impersonation,
  type Kubeconfig,
  KubeconfigError,
  listKubeconfigFiles,
  loadKubeconfig,
  selectContext,
} from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { type OpenOptions, openContext } from "../../lib/kube/open.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import { dedupe } from "../../lib/util/dedupe.ts";
import { parseDuration } from "./duration.ts";
import type { Arguments } from "./option.ts";
import type { clusterOptions } from "./options.ts";
import { logTrace, warn } from "./terminal.ts";

export type ClusterArguments = Omit<Arguments<typeof clusterOptions>, "files">;

/** A context of the kubeconfig, or the error that makes it unusable. */
type ContextResult = { name: string; context: Context } | { name: string; error: KubeconfigError };

/** Where the clusters of a command come from. */
export interface ClusterSource extends Disposable {
  /** The names of all clusters. */
  names(): Iterable<string>;
  /** @throws UserError (exit code 2) if a name is unknown. */
  select(names: readonly string[]): Promise<Cluster[]>;
  /** Returns all clusters, sorted by name. @throws UserError (exit code 2) if there is none. */
  selectAll(): Promise<Cluster[]>;
}

/** The contexts of a kubeconfig. Loads the kubeconfig once, and connects to a context on first use. */
export class Contexts implements ClusterSource {
  readonly #args: ClusterArguments;
  readonly #kubeconfig: Kubeconfig;
  readonly #warn: (line: string) => void;
  readonly #opened = new Map<string, KubernetesApi>();

  /**
   * @param warnOf - called with a line for each skipped context.
   * @throws UserError (exit code 2) if the kubeconfig cannot be read.
   */
  static async load(args: ClusterArguments, warnOf = warn): Promise<Contexts> {
    return new Contexts(args, await loadKubeconfig({ env: process.env, path: args.kubeconfig }), warnOf);
  }

  private constructor(args: ClusterArguments, kubeconfig: Kubeconfig, warnOf: (line: string) => void) {
    this.#args = args;
    this.#kubeconfig = kubeconfig;
    this.#warn = warnOf;
  }

  /** The names of all contexts. */
  names(): Iterable<string> {
    return this.#kubeconfig.contexts.keys();
  }

  /**
   * Returns the clusters of the given contexts, or of the current context if none is given. Two contexts with the same
   * server and user become one cluster, with a warning.
   *
   * @throws UserError (exit code 2) if a context is missing or invalid.
   */
  async select(names: readonly string[]): Promise<Cluster[]> {
    const wanted = names.length > 0 ? [...new Set(names)] : [undefined];
    const contexts = await Promise.all(wanted.map((name) => this.#select(name)));
    return this.#toClusters(contexts.map((context) => ({ name: context.name, context })));
  }

  /**
   * Returns the clusters of all contexts, sorted by name. An invalid context fails on first use.
   *
   * @throws UserError (exit code 2) if there is no context.
   */
  async selectAll(): Promise<Cluster[]> {
    assertHasContexts(this.#kubeconfig);
    const results = await Promise.all(
      sortNaturally(this.names()).map(async (name): Promise<ContextResult> => {
        try {
          return { name, context: await this.#select(name) };
        } catch (error) {
          if (!(error instanceof KubeconfigError)) throw error;
          return { name, error };
        }
      }),
    );
    return this.#toClusters(results);
  }

  /**
   * Opens a context, or the current one, for reads of something other than Cilium.
   *
   * @returns also the context's default namespace.
   * @throws UserError (exit code 2) if it is missing or invalid.
   */
  async open(name: string | undefined): Promise<{ api: KubernetesApi; name: string; namespace: string }> {
    const context = await this.#select(name);
    const { namespace = "default" } = context;
    return { api: this.#open({ name: context.name, context }), name: context.name, namespace };
  }

  /** Closes all connections. */
  [Symbol.dispose](): void {
    for (const api of this.#opened.values()) api.close();
  }

  #select(name: string | undefined): Promise<Context> {
    return selectContext(this.#kubeconfig, name, toImpersonation(this.#args));
  }

  #toClusters(results: readonly ContextResult[]): Cluster[] {
    const namesOf = new Map(results.map((result) => [result, namesOfContext(result)]));
    const kept = dedupe(
      results,
      (result) => ("error" in result ? undefined : apiServerKey(result.context)),
      (first, other) => {
        this.#warn(`skipped context ${other.name}: same cluster as context ${first.name}`);
        namesOf.get(first)?.push(...namesOfContext(other));
      },
    );
    const open = (result: ContextResult) => this.#open(result);
    const close = (name: string) => {
      this.#opened.get(name)?.close();
      this.#opened.delete(name);
    };
    return kept.map((result) => ({
      source: result.name,
      names: namesOf.get(result) ?? [],
      get revision() {
        return revisionOf("error" in result ? result.error.message : result.context);
      },
      get api() {
        return open(result);
      },
      close: () => close(result.name),
    }));
  }

  #open(result: ContextResult): KubernetesApi {
    if ("error" in result) throw result.error;
    const opened = this.#opened.get(result.name) ?? this.#connect(result.context);
    this.#opened.set(result.name, opened);
    return opened;
  }

  #connect(context: Context): KubernetesApi {
    const args = this.#args;
    return openContext(context, {
      ...toOpenOptions(args, context.name),
      kubeconfig: args.kubeconfig,
      impersonate: toImpersonation(args),
    });
  }
}

/** Returns a hash by which a changed context is recognized; it does not reveal the credentials. */
export function revisionOf(content: Context | string): string {
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
}

/** Returns the absolute paths of the kubeconfig, separated as in `KUBECONFIG`; undefined for the default file. */
export function describeKubeconfig(
  { kubeconfig: path }: Pick<ClusterArguments, "kubeconfig">,
  env: NodeJS.ProcessEnv,
): string | undefined {
  const toText = (files: readonly string[]) => files.map((file) => resolve(file)).join(delimiter);
  const text = toText(listKubeconfigFiles({ env, path }));
  return text === toText(listKubeconfigFiles({ env: { HOME: env.HOME } })) ? undefined : text;
}

/** Converts the flags that apply to all clusters, whatever they come from. */
export function toOpenOptions(args: ClusterArguments, name: string): OpenOptions {
  return {
    clientName: FIELD_MANAGER,
    requestTimeout: parseDuration(args["request-timeout"], "request-timeout"),
    trace: args.debug ? (line) => logTrace(`${name}: ${line}`) : undefined,
    warn,
  };
}

/** Returns the name of a context, and the name of its cluster in the kubeconfig. */
function namesOfContext(result: ContextResult): string[] {
  return [result.name, ...("error" in result || result.context.cluster === undefined ? [] : [result.context.cluster])];
}

/** Sorts cluster2 before cluster10. */
export function sortNaturally(names: Iterable<string>): string[] {
  // Created on use: creating a collator takes as long as planning an import.
  return [...names].sort(new Intl.Collator("en", { numeric: true }).compare);
}

/** Returns the user that `--as` and its companions select. */
export function toImpersonation(args: ClusterArguments): Impersonation {
  return { user: args.as, groups: args["as-group"], uid: args["as-uid"] };
}

/** Resolves a host name on this machine. */
export async function resolveAddresses(name: string): Promise<string[]> {
  // Loaded on use: most imports and extractions resolve nothing.
  const { lookup } = await import("node:dns/promises");
  return (await lookup(name, { all: true })).map(({ address }) => address);
}
