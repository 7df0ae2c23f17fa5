/** The id token of a kubeconfig's auth-provider `oidc`, renewed and kept as kubectl does it. */
import { chmod, chown, readFile, realpath, stat, unlink, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";
import { isMap, isSeq, parseDocument } from "yaml";
import { UserError } from "../../util/errors.ts";
import { describeNetworkError } from "../../util/network-error.ts";
import { replaceFile } from "../../util/private-file.ts";
import { describeSystemError } from "../../util/system-error.ts";
import { type AuthProvider, type Context, parseUrl } from "../kubeconfig/kubeconfig.ts";
import { hostOf, openTunnel, portOf, proxyFor } from "../transport/proxy.ts";
import { systemRoots } from "../transport/roots.ts";
import { CredentialsError } from "./credentials-error.ts";

/** What replaced the providers that Kubernetes no longer has. */
const REPLACED: Record<string, string> = {
  gcp: "gke-gcloud-auth-plugin",
  azure: "kubelogin",
  openstack: "client-keystone-auth",
};
/** A token that ends sooner, in milliseconds, is renewed, as by client-go. */
const MARGIN = 10_000;
const TIMEOUT = 30_000;
/** How many milliseconds another program may hold the kubeconfig's lock: it takes a few. */
const LOCK_TIMEOUT = 5_000;
const MAX_ANSWER = 1_048_576;

/** Renewals under way, so that several contexts of one user use a refresh token once. */
const running = new Map<string, Promise<string>>();

/**
 * The id token that the kubeconfig holds; where it has ended, a new one, which is also written to the kubeconfig: many
 * issuers take a refresh token only once. (That is why `@kubernetes/client-node` does not do it: it keeps what it got
 * to itself, and knows neither the client's secret nor the issuer's CA.)
 *
 * @throws CredentialsError
 */
export async function obtainIdToken(provider: AuthProvider, context: Context, env: NodeJS.ProcessEnv): Promise<string> {
  const fail = (message: string) => new CredentialsError(context.name, message);
  if (provider.name !== "oidc") {
    const plugin = REPLACED[provider.name];
    const instead = plugin ? `: the exec plugin ${plugin} takes its place` : "";
    throw fail(`Kubernetes has no auth-provider ${JSON.stringify(provider.name)} any more${instead}`);
  }
  const { "id-token": token, "refresh-token": refresh } = provider.config;
  if (token && expiry(token) > Date.now() + MARGIN) return token;
  if (!refresh) throw fail("the OIDC id-token has expired, and there is no refresh-token: log in again");
  const id = JSON.stringify([provider.file, provider.user]);
  const under =
    running.get(id) ??
    renew(provider, refresh, context, env)
      .catch((error: Error) => {
        throw error instanceof CredentialsError ? error : fail(`the OIDC id-token cannot be renewed: ${error.message}`);
      })
      .finally(() => running.delete(id));
  running.set(id, under);
  return under;
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

async function renew(
  provider: AuthProvider,
  refresh: string,
  context: Context,
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const { "idp-issuer-url": issuer = "", "client-id": id = "", "client-secret": secret = "" } = provider.config;
  const ask = await issuerClient(provider, context, env);
  const metadata = await ask(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  const endpoint = metadata.token_endpoint;
  if (typeof endpoint !== "string") throw new Error(`${issuer} names no token_endpoint`);
  const grant = { grant_type: "refresh_token", refresh_token: refresh };
  const named = { ...grant, client_id: id };
  const basic = Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString("base64");
  // An issuer takes the client's secret in a header or in the form; it need not take both.
  const answer = secret
    ? await ask(endpoint, grant, basic).catch(() => ask(endpoint, { ...named, client_secret: secret }))
    : await ask(endpoint, named);
  const { id_token: token, refresh_token: next = refresh } = answer;
  if (typeof token !== "string" || typeof next !== "string") throw new Error(`${issuer} gave no id_token`);
  const renewed = { "id-token": token, "refresh-token": next };
  try {
    await saveTokens(provider, renewed);
  } catch (error) {
    // With the old refresh token still good, a kubeconfig that cannot be written does no harm.
    if (next !== refresh)
      throw new Error(`the new refresh-token cannot be written to ${provider.file}: ${describeSystemError(error)}`);
  }
  Object.assign(provider.config, renewed);
  return token;
}

type Ask = (url: string, form?: Record<string, string>, basic?: string) => Promise<Record<string, unknown>>;

/** Asks the issuer: GET or, with a form, POST; JSON comes back. Errors never hold what was sent or answered. */
async function issuerClient({ config }: AuthProvider, context: Context, env: NodeJS.ProcessEnv): Promise<Ask> {
  const { "idp-certificate-authority-data": data, "idp-certificate-authority": file } = config;
  const ca = data ? Buffer.from(data, "base64").toString() : file ? await readAuthority(file) : systemRoots(env);
  const trust = { ...(ca !== undefined && { ca }), allowPartialTrustChain: true };
  return async (address, form, basic) => {
    const url = parseUrl(address);
    if (!url || !/^https?:$/.test(url.protocol)) throw new Error(`${JSON.stringify(address)} is no http or https URL`);
    const proxy = proxyFor({ ...context, proxyUrl: undefined }, url, env);
    const secure = url.protocol === "https:";
    const host = hostOf(url);
    const under = proxy && (await openTunnel(proxy, host, portOf(url), { env, signal: AbortSignal.timeout(TIMEOUT) }));
    const body = form && new URLSearchParams(form).toString();
    const options = {
      method: body === undefined ? "GET" : "POST",
      agent: false,
      timeout: TIMEOUT,
      headers: {
        accept: "application/json",
        ...(body !== undefined && { "content-type": "application/x-www-form-urlencoded" }),
        ...(basic !== undefined && { authorization: `Basic ${basic}` }),
      },
      ...trust,
      ...(under && {
        createConnection: () => (secure ? tlsConnect({ socket: under, servername: host, ...trust }) : under),
      }),
    };
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new UserError(`${url.origin}${url.pathname} ${why}`, 1));
      const asking = (secure ? httpsRequest : httpRequest)(url, options, async (answer) => {
        try {
          let text = "";
          for await (const chunk of answer.setEncoding("utf8")) {
            text += chunk;
            if (text.length > MAX_ANSWER) return fail("answers too much");
          }
          if (answer.statusCode !== 200) return fail(`answers ${answer.statusCode}`);
          const value: unknown = JSON.parse(text);
          if (typeof value !== "object" || value === null) return fail("does not answer an object");
          resolve(value as Record<string, unknown>);
        } catch {
          fail("does not answer JSON");
        }
      });
      asking.on("timeout", () => asking.destroy(new Error(`no answer within ${TIMEOUT / 1000} s`)));
      asking.on("error", (error: NodeJS.ErrnoException) => fail(`cannot be reached: ${describeNetworkError(error)}`));
      asking.end(body);
    });
  };
}

async function readAuthority(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new Error(`idp-certificate-authority ${file} cannot be read: ${describeSystemError(error)}`);
  }
}

/** Writes tokens to the kubeconfig that said the provider, under client-go's lock; comments and the order of fields stay. */
async function saveTokens({ file, user }: AuthProvider, tokens: Record<string, string>): Promise<void> {
  const target = await realpath(file);
  const lock = `${file}.lock`;
  const held = await locked(lock);
  try {
    const document = parseDocument(await readFile(target, "utf8"), { logLevel: "silent" });
    const users = document.get("users");
    const entry = isSeq(users) ? users.items.find((item) => isMap(item) && item.get("name") === user) : undefined;
    if (!isMap(entry) || document.errors.length > 0) throw new Error("it has changed");
    for (const [key, value] of Object.entries(tokens)) entry.setIn(["user", "auth-provider", "config", key], value);
    await replace(target, document.toString({ lineWidth: 0 }));
  } finally {
    if (held) await unlink(lock).catch(() => {});
  }
}

/**
 * Takes a lock, so that what another program writes meanwhile is not undone.
 *
 * @returns false where it cannot be had; a new token that is not kept would do more harm than that.
 */
async function locked(lock: string): Promise<boolean> {
  for (const deadline = Date.now() + LOCK_TIMEOUT; ; await sleep(50)) {
    try {
      await writeFile(lock, "", { flag: "wx", mode: 0 });
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EEXIST" || Date.now() > deadline) return false;
    }
  }
}

/** Replaces a file's content, whole where that can be; its mode and its owner stay. */
async function replace(file: string, text: string): Promise<void> {
  const { mode, uid, gid } = await stat(file);
  try {
    await replaceFile(file, text, async (temporary) => {
      await chown(temporary, uid, gid);
      // Only now: the umask takes from what a file is made with.
      await chmod(temporary, mode & 0o7777);
    });
  } catch {
    // A file that is mounted by itself cannot be replaced, nor one in a folder or of an owner that is not ours.
    await writeFile(file, text);
  }
}
