/** Credentials for requests, obtained as kubectl obtains them. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { describeSystemError } from "../../util/system-error.ts";
import {
  type Context,
  describeContext,
  type Impersonation,
  KubeconfigError,
  readPemSource,
} from "../kubeconfig/kubeconfig.ts";
import { CredentialsError } from "./credentials-error.ts";

export interface Credentials {
  /** Names in lower case; each of several values becomes a header line. */
  headers: Record<string, string | string[]>;
  /** PEM; set if and only if `key` is. */
  cert?: string;
  key?: string;
}

/**
 * Obtains the credentials of a context from its token, files, exec plugin or OIDC provider. Files are read again by each
 * call, since a 401 may mean that a token was rotated. As in client-go, a token or password of the kubeconfig precedes
 * plugins, and a plain http server receives the impersonation headers only.
 *
 * @param rejected - credentials that the server rejected (401): a plugin that returned them runs again.
 * @throws CredentialsError if a plugin, an issuer or a token file fails.
 * @throws KubeconfigError if a certificate or key is invalid.
 */
export async function obtainCredentials(
  context: Context,
  env: NodeJS.ProcessEnv = process.env,
  rejected?: Credentials,
): Promise<Credentials> {
  const isPlain = context.server.startsWith("http:");
  const { authorization, ...certificate } = isPlain ? {} : await authenticate(context, env, rejected);
  const headers = {
    ...(authorization !== undefined && { authorization }),
    ...impersonationHeaders(context.user.impersonate),
  };
  return { headers: encodeHeaders(headers, context), ...certificate };
}

async function authenticate(
  context: Context,
  env: NodeJS.ProcessEnv,
  rejected: Credentials | undefined,
): Promise<{ authorization?: string; cert?: string; key?: string }> {
  const { user } = context;
  const certificate = await readClientCertificate(context);
  const token = await readToken(context);
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
        rejected?.headers.authorization === (token && `Bearer ${token}`) && rejected?.cert === clientCertificateData,
    );
    const { token, clientCertificateData: cert, clientKeyData: key } = status;
    if (cert && key) checkKeyPair(cert, key, (message) => new CredentialsError(context, `exec plugin: ${message}`));
    return { ...(token && { authorization: `Bearer ${token}` }), ...(cert && key && { cert, key }) };
  }
  if (user.authProvider) {
    const { obtainIdToken } = await import("./oidc.ts");
    return { authorization: `Bearer ${await obtainIdToken(user.authProvider, context, env)}`, ...certificate };
  }
  return certificate;
}

async function readClientCertificate(context: Context): Promise<{ cert?: string; key?: string }> {
  const { cert, key } = context.user;
  if (!cert || !key) return {};
  const fail = (message: string) => new KubeconfigError(`${describeContext(context)}: ${message}`);
  const [certPem, keyPem] = await Promise.all([
    readPemSource(cert, "client-certificate", fail),
    readPemSource(key, "client-key", fail),
  ]);
  checkKeyPair(certPem, keyPem, fail);
  return { cert: certPem, key: keyPem };
}

function checkKeyPair(cert: string, key: string, fail: (message: string) => Error): void {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch {
    throw fail("client-certificate is not a PEM certificate");
  }
  let isPair: boolean;
  try {
    isPair = certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw fail("client-key is not a PEM private key, or is encrypted");
  }
  if (!isPair) throw fail("client-key does not match client-certificate");
}

/** Reads the token file, if any. The token is used if the file is empty or unreadable, as in client-go. */
async function readToken(context: Context): Promise<string | undefined> {
  const { token, tokenFile } = context.user;
  if (tokenFile === undefined) return token;
  const read = await readFile(tokenFile, "utf8").then(
    (text) => ({ text: text.trim(), problem: "file is empty" }),
    (error: unknown) => ({ text: "", problem: describeSystemError(error) }),
  );
  if (read.text !== "") return read.text;
  if (token !== undefined) return token;
  throw new CredentialsError(context, `cannot read tokenFile ${tokenFile}: ${read.problem}`);
}

function impersonationHeaders(impersonate: Impersonation | undefined): Credentials["headers"] {
  if (impersonate?.user === undefined) return {};
  const { user, groups, uid, extra } = impersonate;
  const headers: Credentials["headers"] = { "impersonate-user": user };
  if (uid !== undefined) headers["impersonate-uid"] = uid;
  if (groups) headers["impersonate-group"] = groups;
  for (const [key, values] of Object.entries(extra ?? {})) {
    // The API server decodes percent-encoded keys and compares them in lower case.
    const name = encodeURIComponent(key).replace(/[()]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
    headers[`impersonate-extra-${name.toLowerCase()}`] = values;
  }
  return headers;
}

/** Encodes values as UTF-8, as Go does: Node writes each character of a header as one byte. */
function encodeHeaders(headers: Credentials["headers"], context: Context): Credentials["headers"] {
  const encode = (name: string) => (value: string) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are not allowed in headers
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
      const source = name === "authorization" ? "token" : name;
      throw new CredentialsError(context, `${source} contains a line break or control character`);
    }
    return Buffer.from(value).toString("latin1");
  };
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(encode(name)) : encode(name)(value),
    ]),
  );
}
