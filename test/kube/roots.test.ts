import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { systemRoots } from "../../lib/kube/transport/roots.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";

const dir = mkdtempSync(join(tmpdir(), "roots-"));
after(() => rmSync(dir, { recursive: true }));
const [a, b, c] = ["a", "b", "c"].map((cn) => makeCa({ cn }).cert.trim()) as [string, string, string];
const nowhere = join(dir, "nowhere");

function file(name: string, ...texts: string[]): string {
  const path = join(dir, name);
  writeFileSync(path, texts.join("\n"));
  return path;
}

function folder(name: string, files: Record<string, string> = {}): string {
  const path = join(dir, name);
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

const both = file("both", "# of our company", a, "", b);
const empty = folder("empty");

test("the certificates of SSL_CERT_FILE and SSL_CERT_DIR are combined without duplicates", () => {
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: both, SSL_CERT_DIR: empty }), [a, b]);
  const one = folder("one", { "b.pem": b, "c.crt": `${c}\n${a}` });
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: both, SSL_CERT_DIR: `${empty}:${one}` }), [a, b, c]);
});

test("missing files, subdirectories and dangling links are skipped", () => {
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: nowhere, SSL_CERT_DIR: nowhere }), [], "nothing is trusted");
  const mixed = folder("mixed", { README: "no certificate", "a.pem": a, "mine.pem": b });
  mkdirSync(join(mixed, "java"));
  symlinkSync(nowhere, join(mixed, "12345678.0"));
  chmodSync(join(mixed, "mine.pem"), 0);
  const readable = process.getuid?.() === 0 ? [a, b] : [a];
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: nowhere, SSL_CERT_DIR: `${nowhere}::${mixed}` }), readable);
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: mixed, SSL_CERT_DIR: empty }), [], "a directory is skipped");
});

test("only certificates are read, and an invalid one does not affect the others", () => {
  const { cert, key } = makeCa({ cn: "d" });
  const invalid = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: file("mixture", invalid, key, cert, a), SSL_CERT_DIR: empty }), [
    invalid,
    cert.trim(),
    a,
  ]);
});

test("SSL_CERT_FILE replaces the system bundle, but not the system directories", () => {
  const system = systemRoots({ SSL_CERT_FILE: nowhere }) ?? [];
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: both }), [a, b, ...system]);
});

test("SSL_CERT_DIR replaces the system directories, but not the system bundle", () => {
  const bundle = systemRoots({ SSL_CERT_DIR: empty }) ?? [];
  assert.deepEqual(systemRoots({ SSL_CERT_DIR: folder("more", { a }) }), [...bundle, a]);
});

test("NODE_EXTRA_CA_CERTS is added if readable", () => {
  const env = { SSL_CERT_FILE: both, SSL_CERT_DIR: empty };
  assert.deepEqual(systemRoots({ ...env, NODE_EXTRA_CA_CERTS: file("extra", b, c) }), [a, b, c]);
  assert.deepEqual(systemRoots({ ...env, NODE_EXTRA_CA_CERTS: nowhere }), [a, b]);
});

test("an empty variable is ignored", () => {
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: "", SSL_CERT_DIR: "", NODE_EXTRA_CA_CERTS: "" }), systemRoots({}));
});
