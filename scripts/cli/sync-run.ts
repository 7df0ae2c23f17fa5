/** A run of `sync`: confirms the first plan, takes turns with other replicas, and logs what happens. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { showRefusal } from "../../lib/render/findings.ts";
import { showPlan } from "../../lib/render/plan.ts";
import { count, escapeLine, listFirst } from "../../lib/render/style.ts";
import { formatJsonMessage, formatSyncEvent } from "../../lib/render/sync-log.ts";
import { holdLease, LEASE_TIMES } from "../../lib/sync/lease.ts";
import type { MemberSource } from "../../lib/sync/members.ts";
import { findUnknownNames, type PairingOptions } from "../../lib/sync/pairing.ts";
import type { SyncRound } from "../../lib/sync/round.ts";
import type { SyncSnapshot } from "../../lib/sync/snapshot.ts";
import { emptyState } from "../../lib/sync/state.ts";
import { saveUntil } from "../../lib/sync/state-store.ts";
import { Sync } from "../../lib/sync/sync.ts";
import type { Occurrence } from "../../lib/sync/sync-event.ts";
import type { SyncOptions, SyncPorts } from "../../lib/sync/sync-options.ts";
import type { HostPort } from "../../lib/util/address.ts";
import { enumerate } from "../../lib/util/enumerate.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { resolveSecretFlags } from "./cluster-secrets.ts";
import { parseListenAddress, startHealthServer } from "./health-server.ts";
import { createMemberSource } from "./member-source.ts";
import { exitBySignal, signalExitCode, TERMINATION_SIGNALS, type TerminationSignal } from "./signals.ts";
import { assertStateFlags, type OpenedState, openStateStore } from "./state-options.ts";
import { completeError, completePublicRemedy, completeRemedy, setGivenFlags } from "./streams.ts";
import { readPairingOptions, type SyncArguments, toSyncOptions } from "./sync-flags.ts";
import { confirm, findStreamWithoutTerminal, log, setMessageFormat, style } from "./terminal.ts";

/** A time in which this process works. */
interface Turn {
  /** Aborted when the work has to end. */
  signal: AbortSignal;
  /** Aborted when another process may work: the state is not saved any more. */
  lost: AbortSignal;
}
/** How long `--once` waits for another process to release the Lease, in milliseconds. */
const PATIENCE_MS = 2 * LEASE_TIMES.duration;

/** One run of the command. */
export class SyncRun implements AsyncDisposable {
  readonly #args: SyncArguments;
  readonly #pairing: PairingOptions;
  readonly #listen: HostPort | undefined;
  readonly #options: SyncOptions;
  readonly #home: OpenedState;
  readonly #ports: SyncPorts;
  readonly #stop = new AbortController();
  #stoppedBy: TerminationSignal | undefined;
  #sync: Sync | undefined;
  #isConfirmed: boolean;
  #isLeading = false;
  #isStandby = false;

  /** @throws UserError if the flags are invalid, the first plan cannot be confirmed, or the state cannot be opened. */
  static async open(args: SyncArguments): Promise<SyncRun> {
    if (args["log-format"] === "json") {
      setMessageFormat((level, text) => formatJsonMessage(new Date(), level, text));
    }
    const pairing = await readPairingOptions(args);
    const options = toSyncOptions(args, pairing);
    const listen = args.listen === undefined ? undefined : parseListenAddress(args.listen);
    assertStateFlags(args);
    setGivenFlags(await resolveSecretFlags(args));
    const source = createMemberSource(args);
    // A wrong list precedes what else is wrong. Listing Secrets would contact a cluster.
    const assertListed = async () => {
      if (args["clusters-from"] === undefined) await source.list();
    };
    const stream = findStreamWithoutTerminal();
    if (!args.yes && stream !== undefined) {
      await assertListed();
      throw new UserError(`confirmation required: ${stream} is not a terminal; pass --yes`, EXIT.refused);
    }
    const home = await openStateStore(args).catch(async (error: unknown) => {
      await assertListed();
      throw error;
    });
    return new SyncRun(args, { pairing, listen, options, source, home });
  }

  private constructor(
    args: SyncArguments,
    parts: {
      pairing: PairingOptions;
      listen: HostPort | undefined;
      options: SyncOptions;
      source: MemberSource;
      home: OpenedState;
    },
  ) {
    this.#args = args;
    this.#pairing = parts.pairing;
    this.#listen = parts.listen;
    this.#options = parts.options;
    this.#home = parts.home;
    this.#isConfirmed = args.yes;
    this.#ports = {
      source: parts.source,
      store: parts.home.store,
      emit: (occurrence) => this.#emit(occurrence),
      now: () => new Date(),
      completion: { inRemedy: completeRemedy, inEvent: completePublicRemedy, inError: completeError },
    };
    for (const signal of TERMINATION_SIGNALS) process.on(signal, () => this.#interrupt(signal));
  }

  /** Runs one round. Returns the exit code. */
  async runOnce(): Promise<number> {
    return this.#whileLeading(async (turn) => {
      const round = await this.#lead(turn, (sync) => sync.runOnce());
      if (round === undefined) return EXIT.refused;
      // An interrupted round has no result.
      if (this.#stoppedBy === undefined) this.#emit({ kind: "finished", ...round });
      return exitCodeOf(round);
    });
  }

  /** Keeps the clusters connected until a signal arrives. Returns the exit code. */
  async runUntilStopped(): Promise<number> {
    using _server = await this.#serve();
    // Awaited, because the server is closed at the end of this block.
    return await this.#whileLeading(async (turn) => {
      const hasRun = await this.#lead(turn, async (sync) => {
        if (process.stderr.isTTY && this.#args["log-format"] === "text") {
          log(style.dim(`watching ${count(sync.memberNames().length, "cluster")}; press Ctrl-C to stop`));
        }
        await sync.run();
        return true;
      });
      return hasRun === undefined ? EXIT.refused : EXIT.done;
    });
  }

  /** Serves metrics and probes, if `--listen` is set. */
  async #serve(): Promise<Disposable | undefined> {
    if (this.#listen === undefined) return undefined;
    const server = await startHealthServer({
      listen: this.#listen,
      snapshot: () => this.#snapshot(),
      interval: this.#options.interval,
    });
    this.#emit({ kind: "listening", address: server.address });
    return { [Symbol.dispose]: () => server.close() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#home.close();
  }

  /** Starts a sync, lets its first plan be confirmed, and runs it. Returns undefined if it is declined. */
  async #lead<T>({ signal, lost }: Turn, run: (sync: Sync) => Promise<T>): Promise<T | undefined> {
    const ports = { ...this.#ports, store: saveUntil(this.#ports.store, lost) };
    const sync = await Sync.start(this.#options, ports, signal);
    this.#sync = sync;
    try {
      this.#assertKnownNames(sync);
      this.#isConfirmed ||= await this.#confirm(sync, signal);
      if (this.#isConfirmed) return await run(sync);
      if (!signal.aborted) log(showRefusal([], style));
      return undefined;
    } finally {
      await sync.close();
    }
  }

  /**
   * Warns about names of pairs that no member has: it may join later.
   *
   * @throws UserError (exit code 2) if no member is the hub, which would connect none.
   */
  #assertKnownNames(sync: Sync): void {
    const members = sync.memberNames();
    const unknown = findUnknownNames(this.#pairing, members);
    const { hub } = this.#pairing;
    // A member that could not be read may have the name.
    if (hub !== undefined && unknown.includes(hub) && members.every(({ cluster }) => cluster !== undefined)) {
      const names = enumerate(members.map(({ entry }) => entry));
      throw new UserError(`no member is the hub ${JSON.stringify(hub)}\n  members: ${names}`, EXIT.refused);
    }
    if (unknown.length > 0) this.#emit({ kind: "names-unknown", names: unknown });
  }

  async #confirm(sync: Sync, signal: AbortSignal): Promise<boolean> {
    const targets = await sync.preview();
    showPlan(targets, style, { details: this.#args.details, restarts: "with --restarts" }).forEach(log);
    if (targets.length === 0) log("nothing to change now");
    const members = sync.memberNames();
    const unreadable = members.flatMap(({ entry, isUnreachable }) => (isUnreachable ? [escapeLine(entry)] : []));
    if (unreadable.length > 0) {
      const covered = `${members.length - unreadable.length} of ${count(members.length, "cluster")}`;
      log(`the plan covers ${covered}; ${listFirst(unreadable)} will be connected once readable`);
    }
    return confirm(
      this.#args.once ? "Apply these changes?" : "Keep these clusters connected, and write such changes from now on?",
      signal,
    );
  }

  /** Runs work while this process holds the Lease, again if it was lost meanwhile; without a Lease, at once. */
  async #whileLeading(work: (turn: Turn) => Promise<number>): Promise<number> {
    const { cluster } = this.#home;
    const only = { signal: this.#stop.signal, lost: new AbortController().signal };
    const code = cluster ? await this.#takeTurns(cluster, work) : await this.#work(work, only);
    if (this.#stoppedBy === undefined) return code;
    this.#emit({ kind: "stopped" });
    // As with other controllers, SIGTERM is the regular end; a round that it interrupts may be incomplete.
    const isRegular = this.#stoppedBy === "SIGTERM" && !this.#args.once;
    return isRegular ? EXIT.done : signalExitCode(this.#stoppedBy);
  }

  async #takeTurns(
    { api, namespace }: NonNullable<OpenedState["cluster"]>,
    work: (turn: Turn) => Promise<number>,
  ): Promise<number> {
    const lease = new AbortController();
    const isStopped = () => this.#stop.signal.aborted;
    let turn = new AbortController();
    let working = Promise.resolve(EXIT.done as number);
    let failure: unknown;
    const begin = async (before: Promise<unknown>, { signal: lost }: AbortController): Promise<number> => {
      await before;
      this.#emit({ kind: "leading" });
      try {
        const code = await this.#work(work, { signal: AbortSignal.any([lost, this.#stop.signal]), lost });
        if (!lost.aborted || isStopped()) lease.abort();
        return code;
      } catch (error) {
        failure = error;
        lease.abort();
        return EXIT.failed;
      }
    };
    const fail = (message: string) => {
      failure = new UserError(message, EXIT.failed);
      lease.abort();
    };
    let patience: NodeJS.Timeout | undefined;
    // A process that waits for the Lease has nothing to complete.
    this.#stop.signal.addEventListener("abort", () => !this.#isLeading && lease.abort(), { once: true });
    await holdLease(api, {
      ...{ namespace, identity: `${hostname()}_${randomUUID()}`, signal: lease.signal },
      onAcquired: () => {
        clearTimeout(patience);
        turn = new AbortController();
        working = begin(working, turn);
        this.#isStandby = false;
      },
      onLost: (holder) => {
        turn.abort();
        this.#standBy(holder);
      },
      onWaiting: (holder) => {
        this.#standBy(holder);
        // One that was killed is replaced within this time.
        if (this.#args.once)
          patience ??= setTimeout(() => fail(`sync already runs: ${holder} holds the Lease`), PATIENCE_MS);
      },
      log: (message) => {
        if (this.#args.once && !this.#isLeading) fail(`cannot get the Lease: ${message}`);
        else this.#emit({ kind: "lease-failed", error: message });
      },
    });
    clearTimeout(patience);
    const code = await working;
    if (failure !== undefined) throw failure;
    return code;
  }

  #standBy(holder: string | undefined): void {
    this.#isStandby = true;
    this.#emit({ kind: "standby", holder });
  }

  async #work(work: (turn: Turn) => Promise<number>, turn: Turn): Promise<number> {
    this.#isLeading = true;
    try {
      return await work(turn);
    } finally {
      this.#isLeading = false;
      this.#sync = undefined;
    }
  }

  #interrupt(signal: TerminationSignal): void {
    if (this.#stoppedBy !== undefined) exitBySignal(signal);
    this.#stoppedBy = signal;
    // After the ^C of the terminal.
    if (signal === "SIGINT" && process.stdin.isTTY && process.stderr.isTTY) log("");
    this.#emit({ kind: "stopping", signal });
    this.#stop.abort();
  }

  #emit(occurrence: Occurrence): void {
    const error = "error" in occurrence && occurrence.error && { error: completeError(occurrence.error) };
    const remedy = "remedy" in occurrence && occurrence.remedy && { remedy: completeRemedy(occurrence.remedy) };
    log(
      formatSyncEvent(
        { time: new Date(), ...occurrence, ...error, ...remedy },
        this.#args["log-format"] as "text" | "json",
        style,
      ),
    );
  }

  #snapshot(): SyncSnapshot {
    const idle = {
      state: emptyState(""),
      findings: [],
      certificates: [],
      versions: new Map(),
      watchRestarts: {},
      lastProgress: new Date(),
    };
    const isReady = this.#sync !== undefined || this.#isStandby;
    const { interval } = this.#options;
    return { ...(this.#sync?.snapshot() ?? idle), interval, isLeading: this.#isLeading, isReady };
  }
}

function exitCodeOf({ failed, held }: SyncRound): number {
  if (failed > 0) return EXIT.failed;
  return held > 0 ? EXIT.findings : EXIT.done;
}
