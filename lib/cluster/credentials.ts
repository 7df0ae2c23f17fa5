/** What a request is authenticated by: obtained once a context, as kubectl does it. */
import { readFile } from "node:fs/promises";
import { UserError } from "../peer/errors.ts";
import { type Context, type ExecConfig, type Impersonation, readPem, type User } from "./kubeconfig.ts";

export interface Credentials {
  headers: Record<string, string | string[]>;
  /** A client certificate and its key, PEM. */
  cert?: string | undefined;
  key?: string | undefined;
}

/** The credentials of a context cannot be had. */
export class CredentialsError extends UserError {
  constructor(context: string, message: string) {
    super(`context ${context}: ${message}`, 1);
    this.name = "CredentialsError";
  }
}

/**
 * Obtains the credentials of a context: reads token and certificate files, runs an exec plugin, or takes the id token
 * of OIDC.
 *
 * @throws CredentialsError, KubeconfigError
 */
export async function obtainCredentials(context: Context, env: NodeJS.ProcessEnv = process.env): Promise<Credentials> {
  const { user, name } = context;
  const headers = impersonationHeaders(user.impersonate);
  const [cert, key] = await Promise.all([
    user.cert && readPem(user.cert, `context ${name}: client-certificate`),
    user.key && readPem(user.key, `context ${name}: client-key`),
  ]);
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}`, ...headers }, cert, key });
  const token = await tokenOf(user, name);
  if (token !== undefined) return bearer(token);
  if (user.username !== undefined) {
    const basic = Buffer.from(`${user.username}:${user.password ?? ""}`).toString("base64");
    return { headers: { authorization: `Basic ${basic}`, ...headers }, cert, key };
  }
  if (user.exec) {
    const status = await runPlugin(user.exec, context, env);
    return {
      headers: { ...(status.token && { authorization: `Bearer ${status.token}` }), ...headers },
      cert: status.clientCertificateData ?? cert,
      key: status.clientKeyData ?? key,
    };
  }
  if (user.authProvider) return bearer(await oidcToken(user.authProvider, name));
  return { headers, cert, key };
}

/** A token file wins over a token, as for client-go: it may be renewed. */
async function tokenOf({ token, tokenFile }: User, context: string): Promise<string | undefined> {
  if (tokenFile === undefined) return token;
  try {
    return (await readFile(tokenFile, "utf8")).trim();
  } catch (error) {
    if (token !== undefined) return token;
    const { code } = error as NodeJS.ErrnoException;
    throw new CredentialsError(context, `tokenFile ${tokenFile} cannot be read (${code})`);
  }
}

function impersonationHeaders(impersonate: Impersonation | undefined): Credentials["headers"] {
  if (impersonate?.user === undefined) return {};
  const { user, groups, uid, extra } = impersonate;
  const headers: Credentials["headers"] = { "impersonate-user": user };
  if (uid !== undefined) headers["impersonate-uid"] = uid;
  if (groups && groups.length > 0) headers["impersonate-group"] = groups;
  for (const [key, values] of Object.entries(extra ?? {})) {
    headers[`impersonate-extra-${encodeURIComponent(key).toLowerCase()}`] = values;
  }
  return headers;
}

interface ExecStatus {
  token?: string;
  clientCertificateData?: string;
  clientKeyData?: string;
}

const EXEC_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/** Runs an exec plugin. What it says on stderr is seen; it may ask on the terminal where that is one. */
async function runPlugin(exec: ExecConfig, context: Context, env: NodeJS.ProcessEnv): Promise<ExecStatus> {
  const fail = (message: string) => new CredentialsError(context.name, `exec plugin ${exec.command}: ${message}`);
  if (!EXEC_VERSIONS.includes(exec.apiVersion))
    throw fail(`apiVersion ${JSON.stringify(exec.apiVersion)} is not known`);
  const interactive = exec.interactiveMode !== "Never" && process.stdin.isTTY === true;
  if (exec.interactiveMode === "Always" && !interactive) throw fail("it wants a terminal, and stdin is none");
  const { server, tls } = context;
  const cluster = {
    server,
    ...(tls.serverName !== undefined && { "tls-server-name": tls.serverName }),
    ...(tls.insecure && { "insecure-skip-tls-verify": true }),
    ...(tls.ca !== undefined && { "certificate-authority-data": Buffer.from(tls.ca).toString("base64") }),
    ...(context.proxyUrl !== undefined && { "proxy-url": context.proxyUrl }),
    config: execConfigOf(context.execExtension),
  };
  const info = {
    apiVersion: exec.apiVersion,
    kind: "ExecCredential",
    spec: { interactive, ...(exec.provideClusterInfo && { cluster }) },
  };
  const { spawn } = await import("node:child_process");
  const output = await new Promise<string>((resolve, reject) => {
    const child = spawn(exec.command, exec.args, {
      env: {
        ...env,
        ...Object.fromEntries(exec.env.map(({ name, value }) => [name, value])),
        KUBERNETES_EXEC_INFO: JSON.stringify(info),
      },
      stdio: [interactive ? "inherit" : "ignore", "pipe", "inherit"],
    });
    const chunks: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", ({ code }: NodeJS.ErrnoException) => {
      const hint = exec.installHint ? `\n  ${exec.installHint.trim()}` : "";
      reject(fail(code === "ENOENT" ? `there is no such program${hint}` : `cannot be run (${code})`));
    });
    child.on("close", (code, signal) => {
      if (code === 0) resolve(Buffer.concat(chunks).toString());
      else reject(fail(signal ? `was ended by ${signal}` : `ended with exit code ${code}`));
    });
  });
  let credential: { apiVersion?: string; kind?: string; status?: ExecStatus } | null;
  try {
    credential = JSON.parse(output);
  } catch {
    throw fail("its output is not JSON");
  }
  if (credential?.kind !== "ExecCredential" || credential.apiVersion !== exec.apiVersion) {
    throw fail(`its output is no ExecCredential of ${exec.apiVersion}`);
  }
  const status = credential.status;
  if (!status || (!status.token && !(status.clientCertificateData && status.clientKeyData))) {
    throw fail("its output has neither a token nor a certificate with key");
  }
  return status;
}

/** The configuration that a kubeconfig holds for exec plugins in the cluster's extensions. */
function execConfigOf(extensions: unknown): unknown {
  const list = Array.isArray(extensions) ? (extensions as { name?: string; extension?: unknown }[]) : [];
  return list.find(({ name }) => name === "client.authentication.k8s.io/exec")?.extension ?? null;
}

/** The id token of auth-provider oidc; renewed by client-node where it has expired. */
async function oidcToken(
  { name, config }: { name: string; config: Record<string, string> },
  context: string,
): Promise<string> {
  if (name !== "oidc") {
    throw new CredentialsError(
      context,
      `auth-provider ${name} is gone from Kubernetes; its exec plugin takes its place`,
    );
  }
  const token = config["id-token"];
  if (token !== undefined && expiry(token) > Date.now() + 10_000) return token;
  const { OpenIDConnectAuth } = await import("@kubernetes/client-node/dist/oidc_auth.js");
  const options: { headers?: Record<string, string> } = { headers: {} };
  try {
    await new OpenIDConnectAuth().applyAuthentication({ name: "", authProvider: { name, config } }, options as never);
  } catch (error) {
    throw new CredentialsError(
      context,
      `the OIDC token has expired and cannot be renewed: ${(error as Error).message}`,
    );
  }
  const header = options.headers?.Authorization ?? options.headers?.authorization;
  const renewed = header?.replace(/^Bearer /, "");
  if (!renewed) throw new CredentialsError(context, "the OIDC token has expired and there is no refresh token");
  return renewed;
}

/** When a JSON Web Token ends, in milliseconds; 0 where it does not say. */
function expiry(token: string): number {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { exp?: number };
    return (exp ?? 0) * 1000;
  } catch {
    return 0;
  }
}
