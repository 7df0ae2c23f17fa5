/** An API server for the state and the Lease of `sync`, with connections that can fail, and other processes. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KubernetesApi } from "../../lib/kube/api.ts";
import type { Context } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openTransport, type Request, type Response, type Transport } from "../../lib/kube/transport/transport.ts";
import { type Api, startApi } from "../../lib/sandbox/server.ts";

/** A request and what becomes of it: `send` forwards it. */
export type Interceptor = (request: Request, send: () => Promise<Response>) => Promise<Response>;

export interface Connection {
  api: KubernetesApi;
  /** Set to fail, delay or answer requests of this connection. */
  intercept: Interceptor | undefined;
}

export interface StateServer {
  server: Api;
  /** Opens another connection, which is closed after the test. */
  connect(): Connection;
  kubeconfig: string;
}

/** Starts an empty API server that is stopped after the test. */
export async function startStateServer(t: TestContext): Promise<StateServer> {
  const server = await startApi();
  t.after(() => server.stop());
  const connect = () => {
    const connection: Connection = { api: undefined as never, intercept: undefined };
    const transport = openTransport(contextOf(server), async () => ({ headers: bearer(server) }), { env: {} });
    t.after(() => transport.close());
    const intercepted = {
      ...transport,
      request: (request: Request) => {
        const send = () => transport.request(request);
        return connection.intercept ? connection.intercept(request, send) : send();
      },
    } satisfies Transport;
    connection.api = new KubernetesApi(intercepted, { context: "a", flags: "--context a", fieldManager: "test" });
    return connection;
  };
  return { server, connect, kubeconfig: writeKubeconfig(temporaryFolder(t), server) };
}

function bearer({ token }: Api): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

function contextOf({ url, ca }: Api): Context {
  return { name: "a", server: url, tls: { ca: ca.cert, insecure: false }, user: {}, presentsCertificate: false };
}

function writeKubeconfig(folder: string, { url, ca, token }: Api): string {
  const path = join(folder, "kubeconfig");
  const config = {
    ...{ apiVersion: "v1", kind: "Config", "current-context": "a" },
    clusters: [
      { name: "a", cluster: { server: url, "certificate-authority-data": Buffer.from(ca.cert).toString("base64") } },
    ],
    users: [{ name: "a", user: { token } }],
    contexts: [{ name: "a", context: { cluster: "a", user: "a" } }],
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

/** Creates a folder that is deleted after the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "sync-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface OtherProcess {
  /** The lines that it has printed. */
  lines: string[];
  child: ChildProcess;
  /** Resolves with the signal or code when it has exited. */
  exited: Promise<NodeJS.Signals | number | null>;
}

/** Runs a TypeScript module with top-level await in another process, which is killed after the test. */
export function startProcess(t: TestContext, code: string, ...args: string[]): OtherProcess {
  const root = new URL("../..", import.meta.url);
  const options = ["--import", "tsx", "--input-type=module", "--eval", code.replaceAll("ROOT/", root.href), ...args];
  const child = spawn(process.execPath, options, { stdio: ["ignore", "pipe", "inherit"] });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const exited = new Promise<NodeJS.Signals | number | null>((resolve) =>
    child.once("exit", (exitCode, signal) => resolve(signal ?? exitCode)),
  );
  t.after(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  return { lines, child, exited };
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
}
