/** Since when the configs of peers in targets have been as they are, whoever wrote them. */
import { secretHolding } from "../import/plan/existing.ts";
import { existingOf, type Member } from "../mesh/member.ts";
import type { EtcdConfig } from "../peer/etcd-config.ts";
import type { Entry } from "../peer/secret.ts";
import { hashText } from "../util/hash.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import type { WrittenVersion } from "./write-plan.ts";

/** What was observed of a config. */
interface Observation {
  /**
   * Of its content: enough to recognize a change, and small, as a mesh has tens of thousands of configs. Undefined: as
   * `written` has it.
   */
  hash: number | undefined;
  /** When it was first seen: it was written before. */
  since: number;
}

interface ObservedTarget {
  configs: ReadonlyMap<string, Observation>;
  /** The versions of its Secrets that were written since it was read. */
  written: readonly WrittenVersion[];
}

/** The configs of all targets. Times are those of the monotonic clock, in milliseconds. */
export class ConfigHistory {
  readonly #targets = new Map<string, ObservedTarget>();

  /** Records the configs of a target that has been read. */
  note(target: string, member: Member): void {
    const now = performance.now();
    const existing = existingOf(member);
    const before = this.#targets.get(target);
    // If somebody else wrote since, the config may be theirs.
    const isAsWritten = areCurrent(before?.written ?? [], member.target);
    const configs = [...existing.names].map((name): [string, Observation] => {
      const hash = hashOf(secretHolding(existing, name)?.entries.get(name), member.target.cache);
      const known = before?.configs.get(name);
      if (known?.hash === hash) return [name, known];
      const isOurs = known && known.hash === undefined && isAsWritten;
      return [name, { hash, since: isOurs ? known.since : now }];
    });
    this.#targets.set(target, { configs: new Map(configs), written: [] });
  }

  /** Records the configs of a target that were written: unless somebody else writes, the next reading finds them. */
  noteWrite(target: string, peers: Iterable<string>, written: readonly WrittenVersion[]): void {
    const now = performance.now();
    const configs = new Map(this.#targets.get(target)?.configs);
    for (const peer of peers) configs.set(peer, { hash: undefined, since: now });
    this.#targets.set(target, { configs, written });
  }

  /** Returns when the config of a peer was first seen as it is. */
  since(target: string, peer: string): number {
    return this.#targets.get(target)?.configs.get(peer)?.since ?? Number.NEGATIVE_INFINITY;
  }

  /** Removes a target. */
  remove(target: string): void {
    this.#targets.delete(target);
  }
}

/** Whether the Secrets of a target still have the last versions that were written; true of what was not written. */
function areCurrent(
  written: readonly WrittenVersion[],
  { agentsSecret, kvstoremeshSecret }: Member["target"],
): boolean {
  const last = new Map(written.filter(({ kind }) => kind === "Secret").map((one) => [one.name, one.resourceVersion]));
  return [agentsSecret, kvstoremeshSecret].every((secret) => {
    const version = last.get(secret?.metadata?.name ?? "");
    return version === undefined || version === secret?.metadata?.resourceVersion;
  });
}

/**
 * Returns a hash of a config and its files (32 bits); 0 if it cannot be read. Each part is hashed once, because hundreds of
 * targets have the same.
 */
function hashOf(entry: Entry | undefined, cache: ParseCache): number {
  if (!entry?.peer || !entry.config) return 0;
  const { ca, client } = entry.peer;
  const files = [
    typeof ca === "object" ? ca.pem : ca,
    ...(client === "importer" ? [client] : [client.cert, client.key]),
  ];
  const hashes = [cache.parse(hashOfConfig, entry.config), ...files.map((text) => cache.parse(hashText, text))];
  return hashes.reduce((all, one) => (Math.imul(all, 31) + one) | 0, 0);
}

function hashOfConfig(config: EtcdConfig): number {
  return hashText(JSON.stringify(config));
}
