/** Foreign files that are known by their first bytes or lines. Pure. */
import { createRemedy, EXTRACT, type ForeignFile } from "./foreign.ts";
import { isOpenPgpMessage } from "./openpgp.ts";

/** How much of a file is looked at. */
const HEAD = 1_024;

interface Signature extends ForeignFile {
  /** @param head - the first lines, without white space and a byte order mark before them. */
  matches(bytes: Buffer, head: string): boolean;
}

const startsWith = (prefix: string) => (bytes: Buffer) => bytes.toString("latin1", 0, prefix.length) === prefix;

const text = (pattern: RegExp) => (_: Buffer, head: string) => pattern.test(head);

const encrypted = (by: string, remedy: string): ForeignFile => ({
  code: "encrypted-file",
  message: `is encrypted by ${by}`,
  remedy: createRemedy(remedy),
});

const packed = (as: string, remedy: string): ForeignFile => ({
  code: "foreign-file",
  message: `is ${as}`,
  remedy: createRemedy(remedy),
});

const AGE_HEADER = "age-encryption.org/v1\n";
const AGE_ARMOR = "-----BEGIN AGE ENCRYPTED FILE-----";

/** Whom a file is encrypted for by age (https://c2sp.org/age); undefined if it is not. */
function ageRecipient(head: string): "passphrase" | "key" | undefined {
  const [first = "", second = ""] = head.split(/\r?\n/);
  const armored = first.trimEnd() === AGE_ARMOR;
  // A line of the armor has 48 bytes: the version, and how the first stanza begins.
  const header = armored ? Buffer.from(second, "base64").toString("latin1") : head;
  if (!header.startsWith(AGE_HEADER)) return armored ? "key" : undefined;
  return header.startsWith("-> scrypt ", AGE_HEADER.length) ? "passphrase" : "key";
}

const SIGNATURES: readonly Signature[] = [
  {
    ...encrypted("age", "age --decrypt --identity {key}.txt {file} | {rerun}"),
    matches: (_, head) => ageRecipient(head) === "key",
  },
  {
    ...encrypted("age with a passphrase", "age --decrypt {file} | {rerun}"),
    matches: (_, head) => ageRecipient(head) === "passphrase",
  },
  {
    ...encrypted("OpenPGP", "gpg --decrypt {file} | {rerun}"),
    matches: (bytes, head) => /^-----BEGIN PGP (?:SIGNED )?MESSAGE-----/.test(head) || isOpenPgpMessage(bytes),
  },
  {
    ...encrypted("Ansible Vault", "ansible-vault decrypt --output - {file} | {rerun}"),
    matches: text(/^\$ANSIBLE_VAULT;/),
  },
  { ...encrypted("git-crypt", "git-crypt unlock"), matches: startsWith("\0GITCRYPT\0") },
  {
    ...encrypted("openssl enc", "openssl enc -d -{cipher} -in {file} | {rerun}"),
    matches: startsWith("Salted__"),
  },
  {
    ...encrypted("openssl enc", "openssl enc -d -base64 -{cipher} -in {file} | {rerun}"),
    matches: text(/^U2FsdGVkX1[89+/]/),
  },
  { ...packed("compressed by gzip", "gzip -dc {file} | {rerun}"), matches: startsWith("\x1f\x8b\x08") },
  { ...packed("compressed by xz", "xz -dc {file} | {rerun}"), matches: startsWith("\xfd7zXZ\0") },
  { ...packed("compressed by zstd", "zstd -dc {file} | {rerun}"), matches: startsWith("\x28\xb5\x2f\xfd") },
  { ...packed("compressed by bzip2", "bzip2 -dc {file} | {rerun}"), matches: text(/^BZh[1-9]1AY&SY/) },
  { ...packed("a ZIP archive", "unzip -p {file} | {rerun}"), matches: startsWith("PK\x03\x04") },
  {
    ...packed("a tar archive", "tar -xOf {file} | {rerun}"),
    matches: (bytes) => bytes.toString("latin1", 257, 262) === "ustar",
  },
  {
    ...packed("a pointer of Git LFS, not the file itself", "git lfs pull"),
    matches: text(/^version https:\/\/git-lfs\.github\.com\/spec\//),
  },
  {
    ...packed("an HTML page, as a login page that was saved in place of a file", "download the file again"),
    matches: text(/^<(?:!doctype html|html)\b/i),
  },
];

/** What a file is by its first bytes; undefined if none of these. */
export function recognizeContent(bytes: Buffer): ForeignFile | undefined {
  const head = bytes.toString("utf8", 0, HEAD).replace(/^[\uFEFF\s]+/, "");
  const found = SIGNATURES.find(({ matches }) => matches(bytes, head));
  if (found) return found;
  const [, label] = /^-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(head) ?? [];
  if (label === undefined) return undefined;
  return { code: "foreign-file", message: `is a PEM file (${label}), not a Secret`, remedy: EXTRACT };
}

/** Recognizes a template that has not been rendered, in a text that is not YAML for that reason. */
export function recognizeTemplate(text: string): ForeignFile | undefined {
  if (!/\{\{-?\s*(?:[.$]|(?:include|template|define|range|if|with|tpl|lookup|required)\b)/.test(text)) return undefined;
  return {
    code: "foreign-file",
    message: "is a template ({{ … }}) that has not been rendered",
    remedy: createRemedy("helm template {release} {chart} --show-only {template} | {rerun}"),
  };
}
