/** The system roots: the CAs that are trusted if nothing else is configured. */
import { readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import * as tls from "node:tls";
import { certificateBlocks } from "../../x509/pem.ts";

/** The paths of the system bundle in Go's `crypto/x509`; the first readable file is used. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];
/** Go's directories of further certificate files. */
const FOLDERS = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/** Results by environment: as in Go, the roots are read once per process. */
const cache = new Map<string, string[] | undefined>();

/**
 * Returns the default roots of Go, and so of kubectl: the file `SSL_CERT_FILE` or the system bundle, and the files in the
 * directories of `SSL_CERT_DIR` or of the system. Node's bundled roots lack private CAs. `NODE_EXTRA_CA_CERTS` is added, as
 * in other Node programs.
 *
 * @returns a PEM text for each certificate, so that an invalid one does not affect the others; undefined, for Node's
 *   bundled roots, if neither variable is set and the system has no roots.
 */
export function systemRoots(env: NodeJS.ProcessEnv): string[] | undefined {
  const { SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS } = env;
  const key = JSON.stringify([SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS]);
  if (!cache.has(key)) {
    const folders = SSL_CERT_DIR ? SSL_CERT_DIR.split(delimiter) : FOLDERS;
    const texts = [
      ...(SSL_CERT_FILE ? read(SSL_CERT_FILE) : [...readPlatformRoots(), ...readFirst(BUNDLES)]),
      ...folders.flatMap(listFiles).flatMap(read),
    ];
    const found = texts.flatMap(certificateBlocks);
    const extra = NODE_EXTRA_CA_CERTS ? read(NODE_EXTRA_CA_CERTS).flatMap(certificateBlocks) : [];
    const isMissing = found.length === 0 && !SSL_CERT_FILE && !SSL_CERT_DIR;
    cache.set(key, isMissing ? undefined : [...new Set([...found, ...extra])]);
  }
  return cache.get(key);
}

/** The roots of the macOS keychain or the Windows store; requires Node 22.15. */
function readPlatformRoots(): string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: "system") => string[] };
  return (process.platform !== "linux" && getCACertificates?.("system")) || [];
}

function readFirst(paths: readonly string[]): string[] {
  for (const path of paths) {
    const texts = read(path);
    if (texts.length > 0) return texts;
  }
  return [];
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** The text of a file; empty if it cannot be read. */
function read(path: string): string[] {
  try {
    return [readFileSync(path, "utf8")];
  } catch {
    return [];
  }
}
