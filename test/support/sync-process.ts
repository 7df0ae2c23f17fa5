/** Runs `clustermesh-secrets sync` as a child process, and waits for what it logs and for its metrics. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { node, programPath } from "./programs.ts";
import { freePort, removeFolder, temporaryFolder, waitFor } from "./real-process.ts";

/** A line of `--log-format=json`. */
export interface LoggedEvent {
  time: string;
  level: "info" | "warning" | "error";
  /** Such as `written`. */
  event: string;
  message: string;
  // biome-ignore lint/suspicious/noExplicitAny: each event has its own fields.
  [field: string]: any;
}

export interface SyncProcessOptions {
  kubeconfig?: string;
  /**
   * Runs it as in a pod, without a kubeconfig: the folder is mounted as that of the service account, and `env` has the address
   * of the API server (Linux only).
   */
  serviceAccount?: string;
  /** Further variables, such as those of a pod. */
  env?: NodeJS.ProcessEnv;
  /** Limit of each wait, against hanging. Default: 60 s. */
  limitMs?: number;
}

/** How long a sync gets to end after SIGTERM, before it is killed. */
const GRACE_MS = 20_000;

const children = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** A sync that can be ended and started again with the same arguments and the same state. */
export class SyncProcess {
  /** All events of this and the previous processes, in order. */
  readonly events: LoggedEvent[] = [];
  /** `HOST:PORT` of metrics and probes. */
  readonly listen: string;
  readonly #args: readonly string[];
  readonly #options: SyncProcessOptions;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #output = "";

  constructor(args: readonly string[], listen: string, options: SyncProcessOptions) {
    this.listen = listen;
    this.#args = [...args, `--listen=${listen}`, "--log-format=json"];
    this.#options = options;
    this.#folder = temporaryFolder("sync");
    this.start();
  }

  /** Starts it again after it ended. */
  start(): void {
    const { kubeconfig = "/nonexistent", serviceAccount, env } = this.#options;
    const inPod = serviceAccount !== undefined;
    const own = { PATH: process.env.PATH, HOME: "/nonexistent", ...(!inPod && { KUBECONFIG: kubeconfig }) };
    const command = [node, programPath("clustermesh-secrets"), "sync", ...this.#args];
    const [program = "", ...args] = inPod ? withServiceAccount(serviceAccount, command) : command;
    const child = spawn(program, args, {
      env: { ...own, ...(!inPod && { XDG_STATE_HOME: join(this.#folder, "state") }), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.add(child);
    child.once("close", () => children.delete(child));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
    createInterface({ input: child.stderr }).on("line", (line) => {
      const event = parseEvent(line);
      if (event) this.events.push(event);
      else this.#output += `${line}\n`;
    });
    this.#child = child;
  }

  /** What it printed besides events. */
  get output(): string {
    return this.#output;
  }

  /** Whether it has not ended, or its output was not read to the end. */
  get isRunning(): boolean {
    return this.#child !== undefined && children.has(this.#child);
  }

  /** The number of events so far, for {@link until}. */
  get position(): number {
    return this.events.length;
  }

  /**
   * Waits for an event, which may have been logged before.
   *
   * @param since - only events from this position on count.
   * @throws Error with the log if the process ends before, or on timeout.
   */
  async until(what: string, condition: (event: LoggedEvent) => boolean, since = 0): Promise<LoggedEvent> {
    return this.eventually(what, () => this.events.slice(since).find(condition));
  }

  /**
   * Waits until a condition holds, as {@link waitFor} does.
   *
   * @throws Error with the log if the process ends before, or on timeout.
   */
  async eventually<T>(
    what: string,
    condition: () => T | undefined | false | Promise<T | undefined | false>,
  ): Promise<T> {
    const { limitMs: timeoutMs = 60_000 } = this.#options;
    try {
      const ended = await waitFor(
        what,
        async () => {
          const isRunning = this.isRunning;
          const value = await condition();
          if (value !== undefined && value !== false) return { value };
          return isRunning ? undefined : { value };
        },
        { timeoutMs },
      );
      if (ended.value === undefined || ended.value === false) throw new Error(`sync ended before: ${what}`);
      return ended.value;
    } catch (error) {
      throw new Error(`${(error as Error).message}\n--- sync ${this.#args.join(" ")}:\n${this.#log().slice(-12_000)}`);
    }
  }

  /** Returns the sum of all samples of a metric; undefined while it has none. */
  async metric(name: string): Promise<number | undefined> {
    const response = await fetch(`http://${this.listen}/metrics`);
    const lines = (await response.text())
      .split("\n")
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return lines.length > 0 ? lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0) : undefined;
  }

  /** Waits until this many further reconciliations have ended. */
  async reconciliations(count: number): Promise<void> {
    const read = () => this.metric("clustermesh_sync_reconciliations_total").catch(() => undefined);
    const before = await this.eventually("the metrics", read);
    await this.eventually(`${count} reconciliations`, async () => ((await read()) ?? 0) >= before + count);
  }

  /** The id of the process that was started last. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Sends a signal, such as SIGSTOP. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Sends a signal and returns the exit code; null if the signal ended the process. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    const child = this.#child;
    if (!child) return null;
    if (this.isRunning) {
      const closed = once(child, "close");
      child.kill(signal);
      const timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
      await closed;
      clearTimeout(timer);
    }
    return child.exitCode;
  }

  /** Ends the process if it runs, and deletes its state. For hooks that run after a test, also one that failed. */
  async close(): Promise<void> {
    await this.stop();
    removeFolder(this.#folder);
  }

  #log(): string {
    return [...this.events.map(({ time, event, message }) => `${time} ${event} ${message}`), this.#output].join("\n");
  }
}

/**
 * Starts `clustermesh-secrets sync` with these arguments, `--log-format=json` and `--listen` at a free port. Its state is in a
 * temporary folder, unless the arguments select another one.
 */
export async function startSyncProcess(
  args: readonly string[],
  options: SyncProcessOptions = {},
): Promise<SyncProcess> {
  return new SyncProcess(args, `127.0.0.1:${await freePort()}`, options);
}

/** Wraps a command so that it sees a folder as that of the service account, in a mount namespace. */
function withServiceAccount(folder: string, command: readonly string[]): string[] {
  const parent = "/var/run/secrets/kubernetes.io";
  const mount = `mount -t tmpfs tmpfs "$(readlink -f /var/run)"; mkdir -p ${parent}; ln -s "$0" ${parent}/serviceaccount`;
  return ["unshare", process.getuid?.() === 0 ? "-m" : "-rm", "sh", "-ec", `${mount}; exec "$@"`, folder, ...command];
}

function parseEvent(line: string): LoggedEvent | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Matches an event about an entry of the list. */
export function isAbout(event: string, entry: string): (one: LoggedEvent) => boolean {
  return (one) => one.event === event && one.entry === entry;
}
