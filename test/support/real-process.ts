/** Child processes, folders and ports of the real servers: all of them end with the test's process. */
import { type ChildProcess, type ExecFileException, execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A host's name and the addresses it stands for, as in /etc/hosts. */
export type Hosts = Record<string, string[]>;

export interface Running {
  readonly name: string;
  /** What it wrote lately, to stdout and stderr: at most 64 KiB. */
  output(): string;
  /** Whether it has ended, wanted or not. */
  ended(): boolean;
  /** SIGKILL; with `gentle` SIGTERM, and SIGKILL after five seconds. Resolves when the process is gone. */
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

/** A new folder of mode 0700, gone when `removeFolder` is called or the process ends. */
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
 * Looks for a port on which nobody listens at that address. Taken at random and outside the kernel's ephemeral ports,
 * so that neither test files side by side nor outgoing connections get in the way.
 *
 * @param range `node`: 30000 to 32767, what a Service may take as node port
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

/** An address of 127.0.0.0/8 other than 127.0.0.1, such as a node or a Service could have; `port` is free there. */
export async function freeAddress(port?: number): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const address = `127.${randomInt(10, 250)}.${randomInt(0, 250)}.${randomInt(2, 250)}`;
    if (await isFree(address, port ?? 0)) return address;
  }
  throw new Error(`no address of 127.0.0.0/8 to listen at${port === undefined ? "" : ` with a free port ${port}`}`);
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Nothing of the caller's environment that a server or its client could listen to (ETCD_*, CILIUM_*, proxies). */
const environment = (folder: string) => ({ PATH: process.env.PATH ?? "", HOME: folder });

/** With `hosts` the command sees an /etc/hosts of its own (a mount namespace, so Linux only). */
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

/** Starts a server. `folder` is where a hosts file may be laid. */
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
  const gone = new Promise<void>((resolve) => {
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
    async stop(how) {
      child.ref();
      if (how === "gentle") child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), how === "gentle" ? 5_000 : 0);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** Runs a program to its end. `code` is -1 where a signal or a missing file ended it. */
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
 * Asks again and again, every 50 ms, until `condition` answers with something other than undefined and false.
 *
 * @throws where the time runs out or one of `running` has ended, with the last output of those
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
      const why = dead.length > 0 ? `${dead.map((one) => one.name).join(", ")} ended` : `${timeoutMs / 1000} s went by`;
      const outputs = (dead.length > 0 ? dead : running).map(
        (one) => `\n--- ${one.name}:\n${one.output().slice(-4_000)}`,
      );
      throw new Error(`waited for ${what}, but ${why}${problem}${outputs.join("")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
