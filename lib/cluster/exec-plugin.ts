/** Exec plugins: programs that a kubeconfig names to get credentials from (client.authentication.k8s.io). */
import { spawn } from "node:child_process";
import { isatty } from "node:tty";
import { parse } from "yaml";
import { CredentialsError } from "./credentials-error.ts";
import type { Context, ExecConfig } from "./kubeconfig.ts";

/** What a plugin gives: a token, a client certificate with its key (PEM), or both. */
export interface ExecStatus {
  token?: string | undefined;
  clientCertificateData?: string | undefined;
  clientKeyData?: string | undefined;
}

const VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/** No credentials are larger. */
const MAX_OUTPUT = 1_048_576;

/** Plugins under way, so that several contexts of one user ask once. */
const running = new Map<string, Promise<ExecStatus>>();
/** The end of the last plugin that wanted the terminal for itself. */
let terminal: Promise<unknown> = Promise.resolve();

/**
 * Runs the plugin of a context. What it says on stderr is seen; where stdin is a terminal it may ask there, one plugin
 * after the other if they have to.
 *
 * @throws CredentialsError
 */
export function runPlugin(exec: ExecConfig, context: Context, env: NodeJS.ProcessEnv): Promise<ExecStatus> {
  const fail = (message: string) => new CredentialsError(context.name, `exec plugin ${exec.command}: ${message}`);
  const interactive = exec.interactiveMode !== "Never" && isatty(0);
  const spec = { interactive, ...(exec.provideClusterInfo && { cluster: clusterInfo(context) }) };
  const info = JSON.stringify({ kind: "ExecCredential", apiVersion: exec.apiVersion, spec });
  const id = JSON.stringify([exec, info]);
  const start = async () => {
    if (!VERSIONS.includes(exec.apiVersion)) throw fail(`apiVersion ${JSON.stringify(exec.apiVersion)} is not known`);
    if (exec.interactiveMode !== "Always") return readStatus(await run(exec, info, interactive, env, fail), exec, fail);
    if (!interactive) throw fail("it wants a terminal, and stdin is none");
    const before = terminal;
    const asked = before.then(() => run(exec, info, interactive, env, fail));
    terminal = asked.catch(() => {});
    return readStatus(await asked, exec, fail);
  };
  const under = running.get(id) ?? start().finally(() => running.delete(id));
  running.set(id, under);
  return under;
}

function clusterInfo({ server, tls, proxyUrl, execExtension }: Context): Record<string, unknown> {
  return {
    server,
    ...(tls.serverName !== undefined && { "tls-server-name": tls.serverName }),
    ...(tls.insecure && { "insecure-skip-tls-verify": true }),
    ...(tls.ca !== undefined && { "certificate-authority-data": Buffer.from(tls.ca).toString("base64") }),
    ...(proxyUrl !== undefined && { "proxy-url": proxyUrl }),
    config: execExtension ?? null,
  };
}

function run(
  { command, args, env: added, installHint }: ExecConfig,
  info: string,
  interactive: boolean,
  env: NodeJS.ProcessEnv,
  fail: (message: string) => Error,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: {
        ...env,
        ...Object.fromEntries(added.map(({ name, value }) => [name, value])),
        KUBERNETES_EXEC_INFO: info,
      },
      stdio: [interactive ? "inherit" : "ignore", "pipe", "inherit"],
    });
    const chunks: Buffer[] = [];
    let size = 0;
    child.stdout?.on("data", (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > MAX_OUTPUT) child.kill();
    });
    child.on("error", ({ code }: NodeJS.ErrnoException) => {
      // A terminal obeys control characters; a hint needs none.
      const hint = installHint?.replace(/[^\P{C}\n\t]/gu, "").trim();
      const missing = `there is no such program${hint ? `\n${hint}` : ""}`;
      reject(fail(code === "ENOENT" ? missing : `it cannot be run (${code})`));
    });
    child.on("close", (code, signal) => {
      if (size > MAX_OUTPUT) reject(fail("its output is more than 1 MiB"));
      else if (code === 0) resolve(Buffer.concat(chunks).toString());
      else reject(fail(signal ? `it was ended by ${signal}` : `it ended with exit code ${code}`));
    });
  });
}

function readStatus(output: string, { apiVersion }: ExecConfig, fail: (message: string) => Error): ExecStatus {
  let credential: { apiVersion?: unknown; kind?: unknown; status?: Record<string, unknown> | null } | null;
  try {
    credential = parse(output, { logLevel: "error" });
  } catch {
    throw fail("its output is not JSON");
  }
  if (credential?.kind !== "ExecCredential") throw fail("its output is no ExecCredential");
  if (credential.apiVersion !== apiVersion) {
    throw fail(`it was asked for ${apiVersion} and gave ${JSON.stringify(credential.apiVersion)}`);
  }
  const text = (key: string) => {
    const value = credential.status?.[key] ?? "";
    if (typeof value !== "string") throw fail(`its ${key} is not a text`);
    return value === "" ? undefined : value;
  };
  const status = {
    token: text("token"),
    clientCertificateData: text("clientCertificateData"),
    clientKeyData: text("clientKeyData"),
  };
  if ((status.clientCertificateData === undefined) !== (status.clientKeyData === undefined)) {
    throw fail("it gave a certificate without key, or a key without certificate");
  }
  if ((status.token ?? status.clientKeyData) === undefined) throw fail("it gave neither a token nor a certificate");
  return status;
}
