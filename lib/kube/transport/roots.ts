/** Whom the system trusts, for what says no CA of its own. */
import { readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import * as tls from "node:tls";
import { certificateBlocks } from "../../x509/pem.ts";

/** Where Go looks for the system's bundle; the first that can be read counts. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];
/** Where it looks for others besides, which are files of their own. */
const FOLDERS = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/** What was found, by what the environment says: as in Go, a process looks once. */
const known = new Map<string, string[] | undefined>();

/**
 * The certificates by which Go, and so kubectl, verifies a server where nothing else is said: those of `SSL_CERT_FILE` or
 * the system's bundle, and those in the folders of `SSL_CERT_DIR` or the system's. Node has a list of its own, in which a
 * company's CA is not. `NODE_EXTRA_CA_CERTS` counts too, as people expect of a program of Node's.
 *
 * @returns each in a PEM text of its own, so that one which cannot be read takes no other with it; undefined where the
 *   environment says nothing and the system has none, for Node's own list.
 */
export function systemRoots(env: NodeJS.ProcessEnv): string[] | undefined {
  const { SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS } = env;
  const key = JSON.stringify([SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS]);
  if (!known.has(key)) {
    const folders = SSL_CERT_DIR ? SSL_CERT_DIR.split(delimiter) : FOLDERS;
    const texts = [
      ...(SSL_CERT_FILE ? read(SSL_CERT_FILE) : [...ofPlatform(), ...ofFirst(BUNDLES)]),
      ...folders.flatMap(filesIn).flatMap(read),
    ];
    const found = texts.flatMap(certificateBlocks);
    const extra = NODE_EXTRA_CA_CERTS ? read(NODE_EXTRA_CA_CERTS).flatMap(certificateBlocks) : [];
    const none = found.length === 0 && !SSL_CERT_FILE && !SSL_CERT_DIR;
    known.set(key, none ? undefined : [...new Set([...found, ...extra])]);
  }
  return known.get(key);
}

/** The keychain or the store of macOS and Windows, which Node can read from 22.15 on. */
function ofPlatform(): string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: "system") => string[] };
  return (process.platform !== "linux" && getCACertificates?.("system")) || [];
}

function ofFirst(paths: readonly string[]): string[] {
  for (const path of paths) {
    const texts = read(path);
    if (texts.length > 0) return texts;
  }
  return [];
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** The text of a file; none where it cannot be read. */
function read(path: string): string[] {
  try {
    return [readFileSync(path, "utf8")];
  } catch {
    return [];
  }
}
