/** Faults of API servers, injected at random by their relays. */
import type { FaultyCluster, FaultyMesh } from "./faulty-mesh.ts";
import type { Random } from "./random.ts";
import type { Fault } from "./relay.ts";

/** Faults of single requests. Only writes get a 409. */
const REQUEST_FAULTS: Fault[] = ["reset", "reset after", "truncated", "slow", 409, 429, 500, 503];

/** Injects faults, and counts them. */
export class MeshFaults {
  /** Faults by kind. */
  readonly injected = new Map<string, number>();
  readonly #mesh: FaultyMesh;
  readonly #random: Random;
  /** Ends what lasts. */
  readonly #ends = new Map<FaultyCluster, () => void | Promise<void>>();

  constructor(mesh: FaultyMesh, random: Random) {
    this.#mesh = mesh;
    this.#random = random;
  }

  /**
   * Injects one of the faults at random; returns a description.
   *
   * @param users - accounts whose tokens may expire
   */
  async injectOne(users: readonly string[]): Promise<string> {
    const cluster = this.#random.pick(this.#mesh.clusters);
    // One lasting fault at a time for each cluster.
    await this.#end(cluster);
    const inject = this.#random.pick([
      () => this.cut(cluster),
      () => this.cutWatches(cluster),
      () => this.compact(cluster),
      () => this.leave(cluster),
      () => this.failRequests(cluster),
      () => this.expireTokens(cluster, users),
    ]);
    return inject();
  }

  cut(cluster: FaultyCluster): string {
    cluster.relay.cut();
    return this.#note(cluster, "cut connection");
  }

  cutWatches(cluster: FaultyCluster): string {
    cluster.relay.cutWatches();
    return this.#note(cluster, "cut watches");
  }

  /** Removes the history of changes, and cuts the watches, which then are resumed from a version that is gone. */
  compact(cluster: FaultyCluster): string {
    const { store } = cluster.api;
    // A compaction is noticed only if anything was written since.
    store.put({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "unrelated", namespace: "default" }, data: {} });
    store.history.compact();
    cluster.relay.cutWatches();
    return this.#note(cluster, "compacted");
  }

  /** The API server is away until {@link mend}. */
  leave(cluster: FaultyCluster, how = this.#random.pick(["refused", "silent"] as const)): string {
    cluster.relay.leave(how);
    this.#ends.set(cluster, () => cluster.relay.mend());
    return this.#note(cluster, `away, ${how}`);
  }

  /** One of a few requests fails until {@link mend}. */
  failRequests(cluster: FaultyCluster, fault = this.#random.pick(REQUEST_FAULTS)): string {
    cluster.relay.onRequest = (method) => {
      if (this.#random.below(4) > 0 || (fault === 409 && method === "GET")) return undefined;
      this.#count(`request: ${fault}`);
      return fault;
    };
    this.#ends.set(cluster, () => {
      cluster.relay.onRequest = undefined;
    });
    return this.#note(cluster, `failing requests: ${fault}`);
  }

  /** Tokens are rejected until {@link mend}, which renews their files. */
  expireTokens(cluster: FaultyCluster, users: readonly string[]): string {
    for (const user of users) this.#mesh.expireToken(cluster, user);
    // Watches outlive a token, as on a real API server.
    if (this.#random.below(2) === 0) cluster.relay.cut();
    this.#ends.set(cluster, () => {
      for (const user of users) this.#mesh.renewToken(cluster, user);
    });
    return this.#note(cluster, "expired token");
  }

  /** Ends all lasting faults. */
  async mend(): Promise<void> {
    for (const cluster of this.#mesh.clusters) await this.#end(cluster);
  }

  async #end(cluster: FaultyCluster): Promise<void> {
    await this.#ends.get(cluster)?.();
    this.#ends.delete(cluster);
  }

  #note({ name }: FaultyCluster, kind: string): string {
    this.#count(kind);
    return `${name}: ${kind}`;
  }

  #count(kind: string): void {
    this.injected.set(kind, (this.injected.get(kind) ?? 0) + 1);
  }
}
