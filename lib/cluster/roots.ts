/** Whom the system trusts, for what says no CA of its own. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import * as tls from "node:tls";

/** Where Go looks for the system's bundle; the first that is there counts. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/**
 * The certificates by which Go, and so kubectl, verifies a server where nothing else is said: `SSL_CERT_FILE` or the
 * system's bundle, and what is in the folders of `SSL_CERT_DIR`. Node has a list of its own, in which a company's CA is
 * not. `NODE_EXTRA_CA_CERTS` counts too, as people expect of a program of Node's.
 *
 * @returns PEM texts; undefined where none is found, for Node's own list.
 */
export function systemRoots(env: NodeJS.ProcessEnv): string[] | undefined {
  const { SSL_CERT_FILE, SSL_CERT_DIR = "", NODE_EXTRA_CA_CERTS } = env;
  const file = SSL_CERT_FILE || BUNDLES.find((path) => existsSync(path));
  const bundle = file ? readOrNot(file) : ofPlatform();
  const folders = SSL_CERT_DIR.split(delimiter).filter((folder) => folder !== "");
  const found = [bundle ?? [], folders.flatMap(filesIn).map(readOrNot)].flat().filter((pem) => pem !== undefined);
  const extra = NODE_EXTRA_CA_CERTS ? readOrNot(NODE_EXTRA_CA_CERTS) : undefined;
  return found.length === 0 ? undefined : [...found, ...(extra === undefined ? [] : [extra])];
}

/** The keychain or the store of macOS and Windows, which Node can read from 22.15 on. */
function ofPlatform(): string[] | undefined {
  const { getCACertificates } = tls as { getCACertificates?: (type: "system") => string[] };
  return process.platform === "linux" ? undefined : getCACertificates?.("system");
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

function readOrNot(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
