/** Exec plugins: programs that a kubeconfig names to get credentials from (client.authentication.k8s.io). */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { basename, delimiter, isAbsolute, join } from "node:path";
import { isatty } from "node:tty";
import { parse } from "yaml";
import { describeSystemError } from "../../util/system-error.ts";
import type { Context, ExecConfig } from "../kubeconfig/kubeconfig.ts";
import { CredentialsError } from "./credentials-error.ts";

/** What a plugin gives: a token, a client certificate with its key (PEM), or both. */
export interface ExecStatus {
  token?: string | undefined;
  clientCertificateData?: string | undefined;
  clientKeyData?: string | undefined;
  /** When it ends, in milliseconds since 1970; undefined where the plugin does not say. */
  expires?: number | undefined;
}

const VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/** No credentials are larger. */
const MAX_OUTPUT = 1_048_576;

/** What plugins gave or are about to give: several contexts of one user ask once, and a later look does not ask again. */
const given = new Map<string, { asked: Promise<ExecStatus>; status?: ExecStatus }>();
/** The end of the last plugin that was given the terminal. */
let terminal: Promise<unknown> = Promise.resolve();

/**
 * What the plugin of a context gives: what it gave before, until that ends or is refused, as client-go has it. What it
 * says on stderr is seen; where stdin is a terminal it may ask there, one plugin after the other.
 *
 * @param isRefused whether the server did not take what the plugin gave before.
 * @throws CredentialsError
 */
export function runPlugin(
  exec: ExecConfig,
  context: Context,
  env: NodeJS.ProcessEnv,
  isRefused: (status: ExecStatus) => boolean,
): Promise<ExecStatus> {
  const fail = (message: string) => new CredentialsError(context.name, `exec plugin ${exec.command}: ${message}`);
  const interactive = exec.interactiveMode !== "Never" && isatty(0);
  const spec = { interactive, ...(exec.provideClusterInfo && { cluster: context.execCluster }) };
  const info = JSON.stringify({ kind: "ExecCredential", apiVersion: exec.apiVersion, spec });
  const id = JSON.stringify([exec, info]);
  const known = given.get(id);
  const { status } = known ?? {};
  const ended = status?.expires !== undefined && status.expires <= Date.now();
  if (known && (!status || !(ended || isRefused(status)))) return known.asked;

  const start = async () => {
    if (!VERSIONS.includes(exec.apiVersion)) {
      throw fail(`apiVersion ${JSON.stringify(exec.apiVersion)} is not known; v1 and v1beta1 are`);
    }
    if (exec.interactiveMode === "Always" && !interactive) throw fail("it wants a terminal, and stdin is none");
    if (!interactive) return readStatus(await run(exec, info, false, env, fail), exec, fail);
    const asked = terminal.then(() => run(exec, info, true, env, fail));
    terminal = asked.catch(() => {});
    return readStatus(await asked, exec, fail);
  };
  const one: { asked: Promise<ExecStatus>; status?: ExecStatus } = { asked: start() };
  given.set(id, one);
  one.asked.then(
    (status) => Object.assign(one, { status }),
    () => given.delete(id),
  );
  return one.asked;
}

/** Where a program is, as Go looks for it: a bare name on the PATH of the caller, but never in the current folder. */
function programAt(command: string, { PATH = "" }: NodeJS.ProcessEnv): string | undefined {
  const bare = command === basename(command);
  // There a name has endings to try, which Node does.
  if (process.platform === "win32" && bare) return command;
  const places = bare ? PATH.split(delimiter).filter(isAbsolute) : [""];
  return places
    .map((folder) => join(folder, command))
    .find((path) => {
      try {
        accessSync(path, bare ? constants.X_OK : constants.F_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function run(
  { command, args, env: added, installHint }: ExecConfig,
  info: string,
  interactive: boolean,
  env: NodeJS.ProcessEnv,
  fail: (message: string) => Error,
): Promise<string> {
  const program = programAt(command, env);
  if (program === undefined) {
    // A terminal obeys control characters; a hint needs none.
    const hint = installHint?.replace(/[^\P{C}\n\t]/gu, "").trim();
    return Promise.reject(fail(`there is no such program${hint ? `\n${hint}` : ""}`));
  }
  const cannot = (error: NodeJS.ErrnoException) => {
    const hint = error.code === "ENOENT" ? "; is what its first line names there?" : "";
    return fail(`it cannot be run: ${describeSystemError(error)}${hint}`);
  };
  return new Promise((resolve, reject) => {
    let child: ChildProcess;
    try {
      child = spawn(program, args, {
        env: {
          ...env,
          ...Object.fromEntries(added.map(({ name, value }) => [name, value])),
          KUBERNETES_EXEC_INFO: info,
        },
        stdio: [interactive ? "inherit" : "ignore", "pipe", "inherit"],
      });
    } catch (error) {
      // Node's message repeats what it does not take, which may be a password.
      return reject(cannot(error as NodeJS.ErrnoException));
    }
    const chunks: Buffer[] = [];
    let size = 0;
    child.stdout?.on("data", (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > MAX_OUTPUT) child.kill();
    });
    child.on("error", (error) => reject(cannot(error)));
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
  const until = text("expirationTimestamp");
  const status = {
    token: text("token"),
    clientCertificateData: text("clientCertificateData"),
    clientKeyData: text("clientKeyData"),
    expires: until === undefined ? undefined : Date.parse(until),
  };
  if (Number.isNaN(status.expires)) throw fail("its expirationTimestamp is no time");
  if ((status.clientCertificateData === undefined) !== (status.clientKeyData === undefined)) {
    throw fail("it gave a certificate without key, or a key without certificate");
  }
  if ((status.token ?? status.clientKeyData) === undefined) throw fail("it gave neither a token nor a certificate");
  return status;
}
