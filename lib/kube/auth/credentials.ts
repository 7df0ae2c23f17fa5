/** What a request is authenticated by, obtained as kubectl does it. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { describeSystemError } from "../../util/system-error.ts";
import {
  type Context,
  type Impersonation,
  KubeconfigError,
  readPemSource,
  type UserEntry,
} from "../kubeconfig/kubeconfig.ts";
import { CredentialsError } from "./credentials-error.ts";

export interface Credentials {
  /** Names in lower case; several values are several header lines. */
  headers: Record<string, string | string[]>;
  /** A client certificate and its key, PEM; both or none. */
  cert?: string;
  key?: string;
}

/**
 * Obtains the credentials of a context: reads token and certificate files, asks an exec plugin, or takes the id token
 * of OIDC. Files are read anew by each call, for a 401 may mean that a token has ended. By client-go's order: a token or
 * a password that the kubeconfig says goes before plugins, and over plain http nothing but the impersonation is sent.
 *
 * @param refused the credentials that the server did not take, where these are to be others.
 * @throws CredentialsError, KubeconfigError
 */
export async function obtainCredentials(
  context: Context,
  env: NodeJS.ProcessEnv = process.env,
  refused?: Credentials,
): Promise<Credentials> {
  const impersonation = impersonationHeaders(context.user.impersonate);
  const plain = context.server.startsWith("http:");
  const { authorization, ...certificate } = plain ? {} : await identify(context, env, refused);
  const headers = { ...(authorization !== undefined && { authorization }), ...impersonation };
  return { headers: mapHeaders(headers, context.name), ...certificate };
}

async function identify(
  context: Context,
  env: NodeJS.ProcessEnv,
  refused: Credentials | undefined,
): Promise<{ authorization?: string; cert?: string; key?: string }> {
  const { user, name } = context;
  const certificate = await clientCertificate(user, name);
  const token = await tokenOf(user, name);
  if (token !== undefined) return { authorization: `Bearer ${token}`, ...certificate };
  if (user.username !== undefined) {
    const basic = Buffer.from(`${user.username}:${user.password ?? ""}`).toString("base64");
    return { authorization: `Basic ${basic}`, ...certificate };
  }
  if (user.exec && !certificate.cert) {
    const { runPlugin } = await import("./exec-plugin.ts");
    const status = await runPlugin(
      user.exec,
      context,
      env,
      ({ token, clientCertificateData }) =>
        refused?.headers.authorization === (token && `Bearer ${token}`) && refused?.cert === clientCertificateData,
    );
    const { token, clientCertificateData: cert, clientKeyData: key } = status;
    if (cert && key) checkPair(cert, key, (message) => new CredentialsError(name, `exec plugin: ${message}`));
    return { ...(token && { authorization: `Bearer ${token}` }), ...(cert && key && { cert, key }) };
  }
  if (user.authProvider) {
    const { obtainIdToken } = await import("./oidc.ts");
    return { authorization: `Bearer ${await obtainIdToken(user.authProvider, context, env)}`, ...certificate };
  }
  return certificate;
}

async function clientCertificate({ cert, key }: UserEntry, context: string): Promise<{ cert?: string; key?: string }> {
  if (!cert || !key) return {};
  const [certPem, keyPem] = await Promise.all([
    readPemSource(cert, `context ${context}: client-certificate`),
    readPemSource(key, `context ${context}: client-key`),
  ]);
  checkPair(certPem, keyPem, (message) => new KubeconfigError(`context ${context}: ${message}`));
  return { cert: certPem, key: keyPem };
}

function checkPair(cert: string, key: string, fail: (message: string) => Error): void {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch {
    throw fail("the client-certificate is no PEM certificate");
  }
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw fail("the client-key is no PEM private key, or it is encrypted");
  }
  if (!fits) throw fail("client-certificate and client-key do not belong together");
}

/** A token file goes before a token, as for client-go: it may be renewed. */
async function tokenOf({ token, tokenFile }: UserEntry, context: string): Promise<string | undefined> {
  if (tokenFile === undefined) return token;
  const read = await readFile(tokenFile, "utf8").then(
    (text) => ({ text: text.trim(), why: "is empty" }),
    (error: unknown) => ({ text: "", why: `cannot be read: ${describeSystemError(error)}` }),
  );
  if (read.text !== "") return read.text;
  if (token !== undefined) return token;
  throw new CredentialsError(context, `tokenFile ${tokenFile} ${read.why}`);
}

function impersonationHeaders(impersonate: Impersonation | undefined): Credentials["headers"] {
  if (impersonate?.user === undefined) return {};
  const { user, groups, uid, extra } = impersonate;
  const headers: Credentials["headers"] = { "impersonate-user": user };
  if (uid !== undefined) headers["impersonate-uid"] = uid;
  if (groups) headers["impersonate-group"] = groups;
  for (const [key, values] of Object.entries(extra ?? {})) {
    // What a header's name cannot hold is percent-encoded; the API server decodes it, and takes all as lower case.
    const name = encodeURIComponent(key).replace(/[()]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
    headers[`impersonate-extra-${name.toLowerCase()}`] = values;
  }
  return headers;
}

/** Values as the bytes of UTF-8, as Go sends them; Node takes one letter for one byte. */
function mapHeaders(headers: Credentials["headers"], context: string): Credentials["headers"] {
  const bytes = (name: string) => (value: string) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what no header may hold
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
      const what = name === "authorization" ? "the token" : name;
      throw new CredentialsError(context, `${what} holds a line break or a control character`);
    }
    return Buffer.from(value).toString("latin1");
  };
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(bytes(name)) : bytes(name)(value),
    ]),
  );
}
