/** Exec plugins: programs that print credentials (client.authentication.k8s.io). */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { basename, delimiter, isAbsolute, join } from "node:path";
import { isatty } from "node:tty";
import { parse } from "yaml";
import { describeSystemError } from "../../util/system-error.ts";
import type { Context, ExecConfig } from "../kubeconfig/kubeconfig.ts";
import { CredentialsError } from "./credentials-error.ts";

/** The status of an ExecCredential: a token, a client certificate with its key (PEM), or both. */
export interface ExecStatus {
  token?: string | undefined;
  clientCertificateData?: string | undefined;
  clientKeyData?: string | undefined;
  /** Milliseconds since 1970; undefined if the plugin gave no expiry. */
  expires?: number | undefined;
}

const VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
const MAX_OUTPUT_BYTES = 1_048_576;

interface PluginRun {
  result: Promise<ExecStatus>;
  /** The result, once available. */
  status?: ExecStatus;
}

/** Runs by plugin configuration, so that contexts which share a user run its plugin once. */
const runs = new Map<string, PluginRun>();
/** Settles when the last interactive plugin ends. */
let terminal: Promise<unknown> = Promise.resolve();

/**
 * Returns the credentials of a context's exec plugin. As in client-go, they are kept until they expire or are rejected.
 * The plugin writes to our stderr. If stdin is a terminal, it may prompt there; interactive plugins run in sequence.
 *
 * @param isRejected - whether the server rejected these credentials (401).
 * @throws CredentialsError
 */
export function runPlugin(
  exec: ExecConfig,
  context: Context,
  env: NodeJS.ProcessEnv,
  isRejected: (status: ExecStatus) => boolean,
): Promise<ExecStatus> {
  const fail = (message: string) => new CredentialsError(context, `exec plugin ${exec.command}: ${message}`);
  const interactive = exec.interactiveMode !== "Never" && isatty(0);
  const spec = { interactive, ...(exec.provideClusterInfo && { cluster: context.execCluster }) };
  const info = JSON.stringify({ kind: "ExecCredential", apiVersion: exec.apiVersion, spec });
  const id = JSON.stringify([exec, info]);
  const known = runs.get(id);
  const { status } = known ?? {};
  const hasExpired = status?.expires !== undefined && status.expires <= Date.now();
  if (known && (!status || !(hasExpired || isRejected(status)))) return known.result;

  const start = async () => {
    if (!VERSIONS.includes(exec.apiVersion)) {
      throw fail(`unsupported apiVersion ${JSON.stringify(exec.apiVersion)}; must be one of ${VERSIONS.join(", ")}`);
    }
    if (exec.interactiveMode === "Always" && !interactive)
      throw fail("requires a terminal (interactiveMode Always), but stdin is not a terminal");
    if (!interactive) return readStatus(await run(exec, info, false, env, fail), exec, fail);
    const output = terminal.then(() => run(exec, info, true, env, fail));
    terminal = output.catch(() => {});
    return readStatus(await output, exec, fail);
  };
  const current: PluginRun = { result: start() };
  runs.set(id, current);
  current.result.then(
    (status) => Object.assign(current, { status }),
    () => runs.delete(id),
  );
  return current.result;
}

/** Finds a program as Go's `exec.LookPath` does: a bare name on our PATH, never in the current directory. */
function findProgram(command: string, { PATH = "" }: NodeJS.ProcessEnv): string | undefined {
  const isBare = command === basename(command);
  // On Windows, Node resolves the name with the extensions of executables.
  if (process.platform === "win32" && isBare) return command;
  const folders = isBare ? PATH.split(delimiter).filter(isAbsolute) : [""];
  return folders
    .map((folder) => join(folder, command))
    .find((path) => {
      try {
        accessSync(path, isBare ? constants.X_OK : constants.F_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function run(
  { command, args, env: extraEnv, installHint }: ExecConfig,
  info: string,
  interactive: boolean,
  env: NodeJS.ProcessEnv,
  fail: (message: string) => Error,
): Promise<string> {
  const program = findProgram(command, env);
  if (program === undefined) {
    // A terminal would interpret control characters.
    const hint = installHint?.replace(/[^\P{C}\n\t]/gu, "").trim();
    return Promise.reject(fail(`executable not found${hint ? `\n${hint}` : ""}`));
  }
  const startError = (error: NodeJS.ErrnoException) => {
    const hint = error.code === "ENOENT" ? "; check the interpreter on its first line" : "";
    return fail(`cannot start: ${describeSystemError(error)}${hint}`);
  };
  return new Promise((resolve, reject) => {
    let child: ChildProcess;
    try {
      child = spawn(program, args, {
        env: {
          ...env,
          ...Object.fromEntries(extraEnv.map(({ name, value }) => [name, value])),
          KUBERNETES_EXEC_INFO: info,
        },
        stdio: [interactive ? "inherit" : "ignore", "pipe", "inherit"],
      });
    } catch (error) {
      // Node's message repeats the invalid value, which may be a password.
      return reject(startError(error as NodeJS.ErrnoException));
    }
    const chunks: Buffer[] = [];
    let size = 0;
    child.stdout?.on("data", (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > MAX_OUTPUT_BYTES) child.kill();
    });
    child.on("error", (error) => reject(startError(error)));
    child.on("close", (code, signal) => {
      if (size > MAX_OUTPUT_BYTES) reject(fail("output exceeds 1 MiB"));
      else if (code === 0) resolve(Buffer.concat(chunks).toString());
      else reject(fail(signal ? `killed by ${signal}` : `failed with exit code ${code}`));
    });
  });
}

function readStatus(output: string, { apiVersion }: ExecConfig, fail: (message: string) => Error): ExecStatus {
  let credential: { apiVersion?: unknown; kind?: unknown; status?: Record<string, unknown> | null } | null;
  try {
    credential = parse(output, { logLevel: "error" });
  } catch {
    throw fail("output is not JSON");
  }
  if (credential?.kind !== "ExecCredential") throw fail("output is not an ExecCredential");
  if (credential.apiVersion !== apiVersion) {
    throw fail(`expected an ExecCredential of apiVersion ${apiVersion}, got ${JSON.stringify(credential.apiVersion)}`);
  }
  const text = (key: string) => {
    const value = credential.status?.[key] ?? "";
    if (typeof value !== "string") throw fail(`${key} is not a string`);
    return value === "" ? undefined : value;
  };
  const expiration = text("expirationTimestamp");
  const status = {
    token: text("token"),
    clientCertificateData: text("clientCertificateData"),
    clientKeyData: text("clientKeyData"),
    expires: expiration === undefined ? undefined : Date.parse(expiration),
  };
  if (Number.isNaN(status.expires)) throw fail("expirationTimestamp is not a valid time");
  if ((status.clientCertificateData === undefined) !== (status.clientKeyData === undefined)) {
    throw fail("returned only one of clientCertificateData and clientKeyData");
  }
  if ((status.token ?? status.clientKeyData) === undefined) throw fail("returned neither a token nor a certificate");
  return status;
}
