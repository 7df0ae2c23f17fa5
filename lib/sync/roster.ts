/** The members of a running `sync`, and what is known of them together. */
import { type Conflict, findConflicts } from "./identity.ts";
import type { MemberView } from "./member-view.ts";
import { type ActiveMember, closeMember, type MemberEntry } from "./members.ts";
import type { MemberNames } from "./pairing.ts";

/** How a list differs from the one before. */
export interface ListChange {
  added: string[];
  /** Entries with another server or other credentials. */
  changed: string[];
  left: ActiveMember[];
}

/** The names of a member. */
export interface ListedMember extends MemberNames {
  /** Whether it could not be read the last time. */
  isUnreachable: boolean;
}

/** The members by their entry. */
export class Roster {
  readonly #members = new Map<string, ActiveMember>();
  /** The targets that wait for a new reading of a member, by its entry. */
  readonly #waiting = new Map<string, Set<string>>();
  #conflicts: ReadonlyMap<string, Conflict> = new Map();

  /** Adopts a list: adds new members, reconnects those that changed, and closes those that left. */
  adopt(entries: readonly MemberEntry[]): ListChange {
    const listed = new Map(entries.map((entry) => [entry.name, entry]));
    const change: ListChange = { added: [], changed: [], left: [] };
    for (const [name, member] of this.#members) {
      const entry = listed.get(name);
      if (entry && entry.revision === member.entry.revision) continue;
      closeMember(member);
      if (entry) {
        member.entry = entry;
        change.changed.push(name);
      } else {
        this.#members.delete(name);
        this.#waiting.delete(name);
        change.left.push(member);
      }
    }
    for (const [name, entry] of listed) {
      if (this.#members.has(name)) continue;
      const idle = { watch: undefined, view: undefined, failures: 0, conflicts: 0, writeError: undefined };
      this.#members.set(name, { entry, ...idle, isUnreachable: false });
      change.added.push(name);
    }
    return change;
  }

  /** Returns a member; undefined if it is not in the list. */
  get(name: string): ActiveMember | undefined {
    return this.#members.get(name);
  }

  /** All members. */
  all(): ActiveMember[] {
    return [...this.#members.values()];
  }

  /** The names of all members: the cluster name is undefined until a member is read. */
  names(): ListedMember[] {
    return this.all().map(({ entry, isUnreachable }) => ({ ...this.namesOf(entry.name), isUnreachable }));
  }

  /** The members as they were last read. */
  views(): MemberView[] {
    return this.all().flatMap(({ view }) => view ?? []);
  }

  /** The members with which one may be connected: those that are in no conflict. */
  othersOf(name: string): MemberView[] {
    return this.views().filter(({ entry }) => entry !== name && !this.#conflicts.has(entry));
  }

  /** The members that could not be read, or extracted, the last time. */
  unreadable(): Set<string> {
    const members = this.all().filter(({ view, isUnreachable }) => isUnreachable || view?.peerError !== undefined);
    return new Set(members.map(({ entry }) => entry.name));
  }

  /** Why a member is not connected, if it is one of several ways to a cluster, or must not be in the mesh. */
  conflictOf(name: string): Conflict | undefined {
    return this.#conflicts.get(name);
  }

  /** The names of a member, and of other ways to its cluster, which are not used now. */
  namesOf(name: string): MemberNames {
    const aliases = [...this.#conflicts].flatMap(([entry, { kind, other }]) =>
      kind === "same" && other === name ? [entry] : [],
    );
    return { entry: name, cluster: this.get(name)?.view?.cluster, aliases };
  }

  /** Whether no member in use before this one has its cluster name: one of them reports their conflict. */
  isFirstOf(name: string): boolean {
    const views = this.views().filter(({ entry }) => this.conflictOf(entry)?.kind !== "same");
    const cluster = this.get(name)?.view?.cluster;
    return cluster === undefined || views.find((one) => one.cluster === cluster)?.entry === name;
  }

  /**
   * Compares the members again: of several ways to a cluster one that can be read is used, and the one in use as long as it
   * can. Returns whether the conflicts changed.
   */
  updateConflicts(): boolean {
    const before = JSON.stringify([...this.#conflicts]);
    const rankOf = ({ entry, isUnreachable }: ActiveMember) =>
      (isUnreachable ? 2 : 0) + (this.#conflicts.get(entry.name)?.kind === "same" ? 1 : 0);
    const ranks = new Map(this.all().map((member) => [member.entry.name, rankOf(member)]));
    this.#conflicts = findConflicts(this.views(), ({ entry }) => ranks.get(entry) ?? 0);
    return JSON.stringify([...this.#conflicts]) !== before;
  }

  /** Lets a target wait for the next reading of a member. */
  wait(target: string, source: string): void {
    this.#waiting.set(source, (this.#waiting.get(source) ?? new Set()).add(target));
  }

  /** Returns the targets that wait for a reading of a member, which was made. */
  takeWaiting(source: string): string[] {
    const waiting = [...(this.#waiting.get(source) ?? [])];
    this.#waiting.delete(source);
    return waiting;
  }

  /** Closes all connections. */
  close(): void {
    this.all().forEach(closeMember);
  }
}
