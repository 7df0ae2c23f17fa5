/** Observes the objects that connect a cluster: who writes them how often, and whether a peer is ever withdrawn or damaged. */
import type { V1Secret } from "@kubernetes/client-node";
import { decodeFiles, readEntries } from "../../lib/peer/secret.ts";
import type { StoredChange } from "../../lib/sandbox/history.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import type { Api } from "../../lib/sandbox/server.ts";

const SECRETS: readonly string[] = ["cilium-clustermesh", "cilium-kvstoremesh"];
const NAMESPACE = "kube-system";
const WRITES: readonly string[] = ["POST", "PUT", "PATCH"];

export class WriteLedger {
  /** What must never happen, as sentences. */
  readonly violations: string[] = [];
  /** Requests by method. */
  readonly requests = new Map<string, number>();
  readonly #cluster: string;
  readonly #api: Api;
  readonly #writes = new Map<string, number>();
  readonly #unsubscribe: () => void;
  #seen: number;

  /** Observes a cluster from now on. */
  constructor(cluster: string, api: Api) {
    this.#cluster = cluster;
    this.#api = api;
    this.#seen = api.store.history.latest;
    this.#unsubscribe = api.store.history.subscribe(() => this.#readChanges());
  }

  /** Ends the observation. */
  close(): void {
    this.#unsubscribe();
  }

  /** Returns the number of successful writes of a user by object, such as `secrets/cilium-kvstoremesh`. */
  writesOf(user: string): Map<string, number> {
    this.count();
    const own = [...this.#writes].filter(([key]) => key.startsWith(`${user} `));
    return new Map(own.map(([key, count]) => [key.slice(user.length + 1), count]));
  }

  /** Counts the requests since the last count, and removes them from the log of the server, which otherwise grows. */
  count(): void {
    for (const { method, path, user, status, body } of this.#api.requests.splice(0)) {
      const kind = path.includes("watch=true") ? "WATCH" : method;
      this.requests.set(kind, (this.requests.get(kind) ?? 0) + 1);
      if (!WRITES.includes(method) || status >= 300 || path.includes("dryRun=")) continue;
      const key = `${user} ${objectOf(path, body)}`;
      this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1);
    }
  }

  /** Returns the names of the peers in a Secret. */
  peersIn(secret: string): string[] {
    const object = this.#api.store.read("Secret", NAMESPACE, secret);
    return object ? this.#readPeers(object) : [];
  }

  #readChanges(): void {
    for (;;) {
      const change = this.#api.store.history.next(this.#seen);
      if (!change) return;
      this.#seen = change.version;
      this.#check(change);
    }
  }

  #check({ before, after }: StoredChange): void {
    const { kind, metadata } = (after ?? before) as KubernetesObject;
    if (kind !== "Secret" || metadata.namespace !== NAMESPACE || !SECRETS.includes(metadata.name)) return;
    const peers = after ? this.#readPeers(after) : [];
    for (const name of before ? this.#readPeers(before) : []) {
      if (!peers.includes(name)) this.#report(`${metadata.name} lost ${name}`);
    }
    // The agents read from KVStoreMesh's cache what KVStoreMesh is configured to fetch.
    const fetched = this.#api.store.read("Secret", NAMESPACE, "cilium-kvstoremesh");
    if (metadata.name !== "cilium-clustermesh" || !fetched) return;
    const names = this.#readPeers(fetched);
    for (const name of peers) if (!names.includes(name)) this.#report(`agents look for ${name}, which is not fetched`);
  }

  #readPeers(secret: KubernetesObject): string[] {
    const { name } = secret.metadata;
    const { files, findings } = decodeFiles(secret as unknown as V1Secret, { source: name });
    const entries = readEntries({ files }, {}, name);
    for (const { code, message } of [...findings, ...entries.flatMap((entry) => entry.findings)]) {
      this.#report(`${name}: ${message} [${code}]`);
    }
    return entries.map((entry) => entry.name);
  }

  #report(violation: string): void {
    this.violations.push(`${new Date().toISOString()} ${this.#cluster}: ${violation}`);
  }
}

function objectOf(path: string, body: unknown): string {
  const [, plural = "", name] = /\/(?:namespaces\/[^/]+\/)?([a-z]+)(?:\/([^/?]+))?(?:\?.*)?$/.exec(path) ?? [];
  const created = (body as { metadata?: { name?: string } } | undefined)?.metadata?.name;
  // Names of Events are generated.
  return plural === "events" ? plural : `${plural}/${name ?? created ?? ""}`;
}
