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

test("SSL_CERT_FILE and the folders of SSL_CERT_DIR: all that is in them, each certificate once", () => {
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: both, SSL_CERT_DIR: empty }), [a, b]);
  const one = folder("one", { "b.pem": b, "c.crt": `${c}\n${a}` });
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: both, SSL_CERT_DIR: `${empty}:${one}` }), [a, b, c]);
});

test("what cannot be read is passed over: a file that is not there, a folder in a folder, a link to nowhere", () => {
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: nowhere, SSL_CERT_DIR: nowhere }), [], "nobody is trusted then");
  const mixed = folder("mixed", { README: "no certificate", "a.pem": a, "mine.pem": b });
  mkdirSync(join(mixed, "java"));
  symlinkSync(nowhere, join(mixed, "12345678.0"));
  chmodSync(join(mixed, "mine.pem"), 0);
  const readable = process.getuid?.() === 0 ? [a, b] : [a];
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: nowhere, SSL_CERT_DIR: `${nowhere}::${mixed}` }), readable);
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: mixed, SSL_CERT_DIR: empty }), [], "a folder is no file");
});

test("of a file only certificates are taken, and one that is spoilt takes no other with it", () => {
  const { cert, key } = makeCa({ cn: "d" });
  const spoilt = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: file("mixture", spoilt, key, cert, a), SSL_CERT_DIR: empty }), [
    spoilt,
    cert.trim(),
    a,
  ]);
});

test("SSL_CERT_FILE alone takes the place of the system's bundle, but not of its folders", () => {
  const system = systemRoots({ SSL_CERT_FILE: nowhere }) ?? [];
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: both }), [a, b, ...system]);
});

test("SSL_CERT_DIR alone stands beside the system's bundle", () => {
  const bundle = systemRoots({ SSL_CERT_DIR: empty }) ?? [];
  assert.deepEqual(systemRoots({ SSL_CERT_DIR: folder("more", { a }) }), [...bundle, a]);
});

test("NODE_EXTRA_CA_CERTS is added, where it can be read", () => {
  const env = { SSL_CERT_FILE: both, SSL_CERT_DIR: empty };
  assert.deepEqual(systemRoots({ ...env, NODE_EXTRA_CA_CERTS: file("extra", b, c) }), [a, b, c]);
  assert.deepEqual(systemRoots({ ...env, NODE_EXTRA_CA_CERTS: nowhere }), [a, b]);
});

test("an empty variable says nothing", () => {
  assert.deepEqual(systemRoots({ SSL_CERT_FILE: "", SSL_CERT_DIR: "", NODE_EXTRA_CA_CERTS: "" }), systemRoots({}));
});
