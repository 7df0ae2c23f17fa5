/** The id token of the auth-provider `oidc`, renewed and stored as kubectl does. */
import { chmod, chown, readFile, realpath, stat, unlink, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";
import { isMap, isSeq, parseDocument } from "yaml";
import { describeNetworkError } from "../../util/network-error.ts";
import { replaceFile } from "../../util/private-file.ts";
import { describeSystemError } from "../../util/system-error.ts";
import { type AuthProvider, type Context, parseUrl } from "../kubeconfig/kubeconfig.ts";
import { hostOf, openTunnel, portOf, proxyFor } from "../transport/proxy.ts";
import { systemRoots } from "../transport/roots.ts";
import { CredentialsError } from "./credentials-error.ts";

/** Exec plugins that replace auth-providers removed from Kubernetes. */
const REPLACEMENTS: Record<string, string> = {
  gcp: "gke-gcloud-auth-plugin",
  azure: "kubelogin",
  openstack: "client-keystone-auth",
};
/** Tokens that expire within this time are renewed, as in client-go. */
const EXPIRY_MARGIN_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How long to wait for another program to release the lock of the kubeconfig. */
const LOCK_TIMEOUT_MS = 5_000;
const MAX_RESPONSE_LENGTH = 1_048_576;

/** Renewals in progress, so that contexts which share a user send a refresh token once. */
const renewals = new Map<string, Promise<string>>();

/**
 * Returns the id token of the kubeconfig. An expired token is renewed, and the new tokens are written to the kubeconfig,
 * since many issuers accept a refresh token only once. `@kubernetes/client-node` neither writes them back nor uses the
 * client's secret and the issuer's CA.
 *
 * @throws CredentialsError
 */
export async function obtainIdToken(provider: AuthProvider, context: Context, env: NodeJS.ProcessEnv): Promise<string> {
  const fail = (message: string) => new CredentialsError(context, message);
  if (provider.name !== "oidc") {
    const plugin = REPLACEMENTS[provider.name];
    const hint = plugin ? `; use the exec plugin ${plugin}` : "";
    throw fail(`unsupported auth-provider ${JSON.stringify(provider.name)}${hint}`);
  }
  const { "id-token": token, "refresh-token": refresh } = provider.config;
  if (token && expiryTime(token) > Date.now() + EXPIRY_MARGIN_MS) return token;
  if (!refresh) throw fail("OIDC id-token has expired and there is no refresh-token; log in again");
  const id = JSON.stringify([provider.file, provider.user]);
  const renewal =
    renewals.get(id) ??
    renew(provider, refresh, context, env)
      .catch((error: Error) => {
        throw error instanceof CredentialsError ? error : fail(`cannot renew OIDC id-token: ${error.message}`);
      })
      .finally(() => renewals.delete(id));
  renewals.set(id, renewal);
  return renewal;
}

/** The expiry of a JSON Web Token in milliseconds since 1970; 0 if it has none. */
function expiryTime(token: string): number {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { exp?: number };
    return (exp ?? 0) * 1000;
  } catch {
    return 0;
  }
}

async function renew(
  provider: AuthProvider,
  refresh: string,
  context: Context,
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const { "idp-issuer-url": issuer = "", "client-id": id = "", "client-secret": secret = "" } = provider.config;
  const request = await issuerClient(provider, context, env);
  const metadata = await request(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  const endpoint = metadata.token_endpoint;
  if (typeof endpoint !== "string") throw new Error(`no token_endpoint in the discovery document of ${issuer}`);
  const grant = { grant_type: "refresh_token", refresh_token: refresh };
  const form = { ...grant, client_id: id };
  const basic = Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString("base64");
  // Issuers accept the client's secret in a header, in the form, or both.
  const response = secret
    ? await request(endpoint, grant, basic).catch(() => request(endpoint, { ...form, client_secret: secret }))
    : await request(endpoint, form);
  const { id_token: token, refresh_token: next = refresh } = response;
  if (typeof token !== "string" || typeof next !== "string")
    throw new Error(`no id_token in the response of ${issuer}`);
  const renewed = { "id-token": token, "refresh-token": next };
  try {
    await saveTokens(provider, renewed);
  } catch (error) {
    // If the refresh token is unchanged, the next run can renew again.
    if (next !== refresh) {
      throw new Error(`cannot write the new refresh-token to ${provider.file}: ${describeSystemError(error)}`);
    }
  }
  Object.assign(provider.config, renewed);
  return token;
}

/** Sends a GET or, with a form, a POST, and returns the JSON response. Errors contain neither request nor response. */
type IssuerRequest = (url: string, form?: Record<string, string>, basic?: string) => Promise<Record<string, unknown>>;

async function issuerClient(
  { config }: AuthProvider,
  context: Context,
  env: NodeJS.ProcessEnv,
): Promise<IssuerRequest> {
  const { "idp-certificate-authority-data": data, "idp-certificate-authority": file } = config;
  const ca = data ? Buffer.from(data, "base64").toString() : file ? await readCaFile(file) : systemRoots(env);
  // Set explicitly: NODE_TLS_REJECT_UNAUTHORIZED, which kubectl does not know, changes Node's default.
  const trust = { ...(ca !== undefined && { ca }), allowPartialTrustChain: true, rejectUnauthorized: true };
  return async (address, form, basic) => {
    const url = parseUrl(address);
    if (!url || !/^https?:$/.test(url.protocol))
      throw new Error(`${JSON.stringify(address)} is not an http or https URL`);
    const proxy = proxyFor({ ...context, proxyUrl: undefined }, url, env);
    const isTls = url.protocol === "https:";
    const host = hostOf(url);
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const tunnel = proxy && (await openTunnel(proxy, host, portOf(url), { env, signal }));
    const body = form && new URLSearchParams(form).toString();
    const options = {
      method: body === undefined ? "GET" : "POST",
      agent: false,
      timeout: REQUEST_TIMEOUT_MS,
      headers: {
        accept: "application/json",
        ...(body !== undefined && { "content-type": "application/x-www-form-urlencoded" }),
        ...(basic !== undefined && { authorization: `Basic ${basic}` }),
      },
      ...trust,
      ...(tunnel && {
        createConnection: () => (isTls ? tlsConnect({ socket: tunnel, servername: host, ...trust }) : tunnel),
      }),
    };
    return new Promise((resolve, reject) => {
      const fail = (problem: string) => reject(new Error(`${url.origin}${url.pathname}: ${problem}`));
      const request = (isTls ? httpsRequest : httpRequest)(url, options, async (response) => {
        try {
          let text = "";
          for await (const chunk of response.setEncoding("utf8")) {
            text += chunk;
            if (text.length > MAX_RESPONSE_LENGTH) return fail("response exceeds 1 MiB");
          }
          if (response.statusCode !== 200) return fail(`unexpected status ${response.statusCode}`);
          const value: unknown = JSON.parse(text);
          if (typeof value !== "object" || value === null) return fail("response is not a JSON object");
          resolve(value as Record<string, unknown>);
        } catch {
          fail("response is not JSON");
        }
      });
      request.on("timeout", () => request.destroy(new Error(`timed out after ${REQUEST_TIMEOUT_MS / 1000}s`)));
      request.on("error", (error: NodeJS.ErrnoException) => fail(describeNetworkError(error)));
      request.end(body);
    });
  };
}

async function readCaFile(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new Error(`cannot read idp-certificate-authority ${file}: ${describeSystemError(error)}`);
  }
}

/**
 * Writes tokens to the kubeconfig of the provider, under client-go's lock (`clientcmd/config.go`). Comments and the order
 * of fields are preserved.
 */
async function saveTokens({ file, user }: AuthProvider, tokens: Record<string, string>): Promise<void> {
  const target = await realpath(file);
  const lock = `${file}.lock`;
  const isLocked = await acquireLock(lock);
  try {
    const document = parseDocument(await readFile(target, "utf8"), { logLevel: "silent" });
    const users = document.get("users");
    const entry = isSeq(users) ? users.items.find((item) => isMap(item) && item.get("name") === user) : undefined;
    if (!isMap(entry) || document.errors.length > 0) throw new Error("the user was changed or removed");
    for (const [key, value] of Object.entries(tokens)) entry.setIn(["user", "auth-provider", "config", key], value);
    await replaceContent(target, document.toString({ lineWidth: 0 }));
  } finally {
    if (isLocked) await unlink(lock).catch(() => {});
  }
}

/**
 * Creates the lock file, so that a concurrent write of another program is not lost.
 *
 * @returns false if it cannot be created in time; losing the new token would be worse than writing without the lock.
 */
async function acquireLock(lock: string): Promise<boolean> {
  for (const deadline = Date.now() + LOCK_TIMEOUT_MS; ; await sleep(50)) {
    try {
      await writeFile(lock, "", { flag: "wx", mode: 0 });
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EEXIST" || Date.now() > deadline) return false;
    }
  }
}

/** Replaces the content of a file, atomically if possible; mode and owner are preserved. */
async function replaceContent(file: string, text: string): Promise<void> {
  const { mode, uid, gid } = await stat(file);
  try {
    await replaceFile(file, text, async (temporary) => {
      await chown(temporary, uid, gid);
      // The umask would reduce a mode given at creation.
      await chmod(temporary, mode & 0o7777);
    });
  } catch {
    // A bind-mounted file, or a file in a read-only directory, cannot be replaced.
    await writeFile(file, text);
  }
}
