/** Child processes, folders and ports of the real servers; all are cleaned up when the test process exits. */
import { type ChildProcess, type ExecFileException, execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Addresses by hostname, as in /etc/hosts. */
export type Hosts = Record<string, string[]>;

export interface Running {
  readonly name: string;
  /** Recent stdout and stderr, at most 64 KiB. */
  output(): string;
  /** Whether the process has exited. */
  ended(): boolean;
  /** The exit code; null if it runs, or was ended by a signal. */
  code(): number | null;
  /** Sends SIGKILL or, with `gentle`, SIGTERM and after 20 seconds SIGKILL. Resolves when the process has exited. */
  stop(how?: "gentle"): Promise<void>;
}

const children = new Set<ChildProcess>();
const folders = new Set<string>();
let cleaning = false;

function cleanAtExit(): void {
  if (cleaning) return;
  cleaning = true;
  process.on("exit", () => {
    for (const child of children) child.kill("SIGKILL");
    for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
}

/** Creates a folder with mode 0700, deleted by `removeFolder` or when the process exits. */
export function temporaryFolder(name: string): string {
  cleanAtExit();
  const folder = mkdtempSync(join(tmpdir(), `clustermesh-${name}-`));
  folders.add(folder);
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  folders.delete(folder);
}

const ports = new Set<string>();

/**
 * Finds a free port of an address: a random one outside the ephemeral range, to avoid collisions with concurrent test files
 * and outgoing connections.
 *
 * @param range `node`: the node ports, 30000 to 32767
 * @throws Error if no port is found
 */
export async function freePort(address = "127.0.0.1", range: "any" | "node" = "any"): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = range === "node" ? randomInt(30_000, 32_768) : randomInt(12_000, 30_000);
    if (!ports.has(`${address} ${port}`) && (await isFree(address, port))) {
      ports.add(`${address} ${port}`);
      return port;
    }
  }
  throw new Error(`no free port at ${address}`);
}

/**
 * Finds an address of 127.0.0.0/8 for a node or a Service, where `port` is free.
 *
 * @throws Error if no address is found
 */
export async function freeAddress(port?: number): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const address = `127.${randomInt(10, 250)}.${randomInt(0, 250)}.${randomInt(2, 250)}`;
    if (await isFree(address, port ?? 0)) return address;
  }
  throw new Error(`no free address in 127.0.0.0/8${port === undefined ? "" : ` for port ${port}`}`);
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * Returns an environment without variables that affect the servers (ETCD_*, CILIUM_*, proxies). They run for seconds, so that
 * collecting garbage less often saves a sixth of their CPU time, for a third more memory.
 */
const environment = (folder: string) => ({ PATH: process.env.PATH ?? "", HOME: folder, GOGC: "400" });

/** Wraps a command so that it sees its own /etc/hosts, in a mount namespace (Linux only). */
function withHosts(command: string, args: string[], hosts: Hosts | undefined, folder: string): [string, string[]] {
  if (!hosts) return [command, args];
  const lines = [
    "127.0.0.1 localhost",
    ...Object.entries(hosts).flatMap(([name, ips]) => ips.map((ip) => `${ip} ${name}`)),
  ];
  const file = join(folder, `hosts-${randomInt(2 ** 40)}`);
  writeFileSync(file, `${lines.join("\n")}\n`);
  chmodSync(file, 0o644);
  const user = process.getuid?.() === 0 ? "-m" : "-rm";
  return ["unshare", [user, "sh", "-ec", 'mount --bind "$0" /etc/hosts; exec "$@"', file, command, ...args]];
}

/** Starts a server; `folder` is its working directory. */
export function start(
  name: string,
  command: string,
  args: string[],
  options: { folder: string; hosts?: Hosts | undefined },
): Running {
  cleanAtExit();
  const [program, all] = withHosts(command, args, options.hosts, options.folder);
  const child = spawn(program, all, {
    cwd: options.folder,
    env: environment(options.folder),
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-65_536);
    });
    (stream as unknown as { unref?(): void }).unref?.();
  }
  child.unref();
  const exited = new Promise<void>((resolve) => {
    const end = () => {
      children.delete(child);
      resolve();
    };
    child.once("exit", end);
    child.once("error", (error) => {
      output += `${error.message}\n`;
      end();
    });
  });
  return {
    name,
    output: () => output,
    ended: () => !children.has(child),
    code: () => child.exitCode,
    async stop(how) {
      child.ref();
      if (how === "gentle") child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), how === "gentle" ? 20_000 : 0);
      await exited;
      clearTimeout(timer);
    },
  };
}

/** Runs a program until it exits. `code` is -1 if it was killed or could not start. */
export async function run(
  command: string,
  args: string[],
  options: { folder: string; hosts?: Hosts | undefined; timeoutMs?: number },
): Promise<{ code: number; stdout: string; stderr: string }> {
  const [program, all] = withHosts(command, args, options.hosts, options.folder);
  return new Promise((resolve) => {
    execFile(
      program,
      all,
      {
        cwd: options.folder,
        env: environment(options.folder),
        timeout: options.timeoutMs ?? 30_000,
        maxBuffer: 16 * 1024 * 1024,
      },
      (error: ExecFileException | null, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : -1) : 0;
        resolve({ code, stdout, stderr: stderr || (error?.message ?? "") });
      },
    );
  });
}

/**
 * Polls every 50 ms until `condition` returns a value other than undefined and false.
 *
 * @param what the awaited state, for the error
 * @throws Error with recent output on timeout, or if one of `running` has exited
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  { timeoutMs = 30_000, running = [] }: { timeoutMs?: number; running?: Running[] } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let problem = "";
  for (;;) {
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      problem = `: ${(error as Error).message}`;
    }
    const dead = running.filter((one) => one.ended());
    if (dead.length > 0 || performance.now() > deadline) {
      const why =
        dead.length > 0 ? `${dead.map((one) => one.name).join(", ")} exited` : `timed out after ${timeoutMs / 1000}s`;
      const outputs = (dead.length > 0 ? dead : running).map(
        (one) => `\n--- ${one.name}:\n${one.output().slice(-4_000)}`,
      );
      throw new Error(`${why} waiting for ${what}${problem}${outputs.join("")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
