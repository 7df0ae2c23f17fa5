/** Recognizes foreign files by their first bytes or lines. Pure. */
import { createRemedy, EXTRACT, type ForeignFile } from "./foreign.ts";
import { isOpenPgpMessage } from "./openpgp.ts";

/** The number of bytes searched for a signature. */
const HEAD_BYTES = 1_024;

interface Signature extends ForeignFile {
  /** @param head - the first lines, without a leading byte order mark and white space. */
  matches(bytes: Buffer, head: string): boolean;
}

const matchPrefix = (prefix: string) => (bytes: Buffer) => bytes.toString("latin1", 0, prefix.length) === prefix;

const matchText = (pattern: RegExp) => (_: Buffer, head: string) => pattern.test(head);

const encryptedFile = (by: string, remedy: string): ForeignFile => ({
  code: "encrypted-file",
  message: `is encrypted with ${by}`,
  remedy: createRemedy(remedy),
});

const foreignFile = (description: string, remedy: string): ForeignFile => ({
  code: "foreign-file",
  message: `is ${description}`,
  remedy: createRemedy(remedy),
});

const AGE_HEADER = "age-encryption.org/v1\n";
const AGE_ARMOR = "-----BEGIN AGE ENCRYPTED FILE-----";

/** Returns the kind of recipient of an age file (https://c2sp.org/age); undefined for other files. */
function detectAgeRecipient(head: string): "passphrase" | "key" | undefined {
  const [first = "", second = ""] = head.split(/\r?\n/);
  const armored = first.trimEnd() === AGE_ARMOR;
  // A line of armor encodes 48 bytes: the version, and the start of the first stanza.
  const header = armored ? Buffer.from(second, "base64").toString("latin1") : head;
  if (!header.startsWith(AGE_HEADER)) return armored ? "key" : undefined;
  return header.startsWith("-> scrypt ", AGE_HEADER.length) ? "passphrase" : "key";
}

const SIGNATURES: readonly Signature[] = [
  {
    ...encryptedFile("age", "age --decrypt --identity {key}.txt {file} | {rerun}"),
    matches: (_, head) => detectAgeRecipient(head) === "key",
  },
  {
    ...encryptedFile("age (passphrase)", "age --decrypt {file} | {rerun}"),
    matches: (_, head) => detectAgeRecipient(head) === "passphrase",
  },
  {
    ...encryptedFile("OpenPGP", "gpg --decrypt {file} | {rerun}"),
    matches: (bytes, head) => /^-----BEGIN PGP (?:SIGNED )?MESSAGE-----/.test(head) || isOpenPgpMessage(bytes),
  },
  {
    ...encryptedFile("Ansible Vault", "ansible-vault decrypt --output - {file} | {rerun}"),
    matches: matchText(/^\$ANSIBLE_VAULT;/),
  },
  { ...encryptedFile("git-crypt", "git-crypt unlock"), matches: matchPrefix("\0GITCRYPT\0") },
  {
    ...encryptedFile("openssl enc", "openssl enc -d -{cipher} -in {file} | {rerun}"),
    matches: matchPrefix("Salted__"),
  },
  {
    ...encryptedFile("openssl enc", "openssl enc -d -base64 -{cipher} -in {file} | {rerun}"),
    matches: matchText(/^U2FsdGVkX1[89+/]/),
  },
  { ...foreignFile("compressed with gzip", "gzip -dc {file} | {rerun}"), matches: matchPrefix("\x1f\x8b\x08") },
  { ...foreignFile("compressed with xz", "xz -dc {file} | {rerun}"), matches: matchPrefix("\xfd7zXZ\0") },
  { ...foreignFile("compressed with zstd", "zstd -dc {file} | {rerun}"), matches: matchPrefix("\x28\xb5\x2f\xfd") },
  { ...foreignFile("compressed with bzip2", "bzip2 -dc {file} | {rerun}"), matches: matchText(/^BZh[1-9]1AY&SY/) },
  { ...foreignFile("a ZIP archive", "unzip -p {file} | {rerun}"), matches: matchPrefix("PK\x03\x04") },
  {
    ...foreignFile("a tar archive", "tar -xOf {file} | {rerun}"),
    matches: (bytes) => bytes.toString("latin1", 257, 262) === "ustar",
  },
  {
    ...foreignFile("a Git LFS pointer, not the file itself", "git lfs pull"),
    matches: matchText(/^version https:\/\/git-lfs\.github\.com\/spec\//),
  },
  {
    ...foreignFile("an HTML page, probably a login page", "download the file again"),
    matches: matchText(/^<(?:!doctype html|html)\b/i),
  },
];

/** Recognizes a foreign file by its first bytes; undefined if there is no match. */
export function recognizeContent(bytes: Buffer): ForeignFile | undefined {
  const head = bytes.toString("utf8", 0, HEAD_BYTES).replace(/^[\uFEFF\s]+/, "");
  const signature = SIGNATURES.find(({ matches }) => matches(bytes, head));
  if (signature) return signature;
  const [, label] = /^-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(head) ?? [];
  if (label === undefined) return undefined;
  return { code: "foreign-file", message: `is a PEM file (${label}), not a Secret`, remedy: EXTRACT };
}

/** Recognizes an unrendered template, which is usually not valid YAML. */
export function recognizeTemplate(text: string): ForeignFile | undefined {
  if (!/\{\{-?\s*(?:[.$]|(?:include|template|define|range|if|with|tpl|lookup|required)\b)/.test(text)) return undefined;
  return {
    code: "foreign-file",
    message: "is an unrendered template ({{ … }})",
    remedy: createRemedy("helm template {release} {chart} --show-only {template} | {rerun}"),
  };
}
