/** Since when the configs of peers in targets have been as they are, whoever wrote them. */
import { createHash } from "node:crypto";
import { secretHolding } from "../import/plan/existing.ts";
import { existingOf, type Member } from "../mesh/member.ts";

/** What was observed of a config. */
interface Observation {
  /** Of its content: enough to recognize a change, and small, as a mesh has tens of thousands of configs. */
  hash: number;
  /** When it was first seen: it was written before. */
  since: number;
}

/** The configs of all targets. Times are those of the monotonic clock, in milliseconds. */
export class ConfigHistory {
  readonly #targets = new Map<string, Map<string, Observation>>();

  /** Records the configs of a target that has been read. */
  note(target: string, member: Member): void {
    const now = performance.now();
    const existing = existingOf(member);
    const before = this.#targets.get(target);
    const configs = [...existing.names].map((name): [string, Observation] => {
      const hash = hashOf(secretHolding(existing, name)?.entries.get(name)?.peer ?? null);
      const known = before?.get(name);
      return [name, known?.hash === hash ? known : { hash, since: now }];
    });
    this.#targets.set(target, new Map(configs));
  }

  /** Returns when the config of a peer was first seen as it is. */
  since(target: string, peer: string): number {
    return this.#targets.get(target)?.get(peer)?.since ?? Number.NEGATIVE_INFINITY;
  }

  /** Removes a target. */
  remove(target: string): void {
    this.#targets.delete(target);
  }
}

function hashOf(content: unknown): number {
  return createHash("sha256").update(JSON.stringify(content)).digest().readUIntBE(0, 6);
}
