import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type Issuer, issue, type KeyType, makeCa } from "../../lib/sandbox/pki.ts";

const KEYS: KeyType[] = ["rsa", "ec"];

test("CAs verify themselves and the certificates they issued, with RSA and EC keys in any combination", () => {
  for (const caKey of KEYS) {
    const ca = makeCa({ cn: "Cilium CA", key: caKey });
    const root = new X509Certificate(ca.cert);
    assert.ok(root.ca);
    assert.ok(root.verify(root.publicKey));
    assert.ok(root.checkPrivateKey(createPrivateKey(ca.key)));
    for (const key of KEYS) {
      const leaf = issue(ca, { cn: "remote", usage: "client", key });
      const x509 = new X509Certificate(leaf.cert);
      assert.equal(x509.subject, "CN=remote");
      assert.ok(x509.checkIssued(root));
      assert.ok(x509.verify(root.publicKey));
      assert.ok(x509.checkPrivateKey(createPrivateKey(leaf.key)));
      assert.equal(x509.ca, false);
      assert.equal(x509.publicKey.asymmetricKeyType, key);
      assert.deepEqual(x509.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
    }
  }
});

test("a certificate of another CA with the same subject does not verify", () => {
  const leaf = new X509Certificate(issue(makeCa({ cn: "Cilium CA" }), { cn: "remote", usage: "client" }).cert);
  const other = new X509Certificate(makeCa({ cn: "Cilium CA" }).cert);
  assert.equal(leaf.verify(other.publicKey), false);
  assert.equal(leaf.checkIssued(other), false);
});

test("server certificates cover their DNS names and IP addresses", () => {
  const ips = ["127.0.0.1", "::1", "fd00:10::2", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1"];
  const { cert } = issue(makeCa({ cn: "ca" }), { cn: "server", dns: ["*.mesh.cilium.io"], ips, usage: "server" });
  const x509 = new X509Certificate(cert);
  assert.equal(x509.checkHost("cluster1.mesh.cilium.io"), "*.mesh.cilium.io");
  assert.equal(x509.checkHost("mesh.cilium.io"), undefined);
  for (const ip of ips) assert.equal(x509.checkIP(ip), ip, ip);
  assert.equal(x509.checkIP("10.0.0.1"), undefined);
  assert.deepEqual(x509.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
  for (const ip of ["10.0.0", "fe80::1%eth0", "10.0.0.0/8"])
    assert.throws(() => issue(makeCa({ cn: "ca" }), { cn: "server", ips: [ip], usage: "server" }), TypeError);
});

test("validity dates before and after 2050, and keys in both PEM forms", () => {
  const notBefore = new Date("2001-02-03T04:05:06Z");
  const notAfter = new Date("2051-02-03T04:05:06Z");
  const ca = makeCa({ cn: "ca", notBefore, notAfter, key: "rsa", keyFormat: "traditional" });
  assert.match(ca.key, /^-----BEGIN RSA PRIVATE KEY-----/);
  assert.match(makeCa({ cn: "ca", keyFormat: "traditional" }).key, /^-----BEGIN EC PRIVATE KEY-----/);
  assert.match(makeCa({ cn: "ca" }).key, /^-----BEGIN PRIVATE KEY-----/);
  const x509 = new X509Certificate(ca.cert);
  assert.equal(x509.validFrom, "Feb  3 04:05:06 2001 GMT");
  assert.equal(x509.validTo, "Feb  3 04:05:06 2051 GMT");
});

test("serial numbers are positive and unique", () => {
  const ca = makeCa({ cn: "ca" });
  const serials = Array.from(
    { length: 50 },
    () => new X509Certificate(issue(ca, { cn: "x", usage: "client" }).cert).serialNumber,
  );
  assert.equal(new Set(serials).size, serials.length);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
});

test("openssl -x509_strict verifies chains, and refuses expired certificates and other purposes", (t) => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
  } catch {
    t.skip("openssl not found");
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), "pki-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const verify = (root: Issuer, leaf: { cert: string }, purpose: string) => {
    writeFileSync(join(dir, "root.crt"), root.cert);
    writeFileSync(join(dir, "leaf.crt"), leaf.cert);
    execFileSync(
      "openssl",
      [
        ...["verify", "-x509_strict", "-purpose", purpose],
        ...["-CAfile", join(dir, "root.crt"), "-untrusted", join(dir, "leaf.crt"), join(dir, "leaf.crt")],
      ],
      { stdio: "pipe" },
    );
  };
  for (const key of KEYS) {
    const root = makeCa({ cn: "root", key });
    const middle = makeCa({ cn: "middle", key, issuer: root });
    const low = makeCa({ cn: "low", issuer: middle });
    for (const issuer of [root, middle, low]) {
      verify(root, issue(issuer, { cn: "s", dns: ["a.b"], usage: "server", key }), "sslserver");
      verify(root, issue(issuer, { cn: "c", usage: "client", key }), "sslclient");
      assert.throws(() => verify(root, issue(issuer, { cn: "c", usage: "client", key }), "sslserver"), /purpose/);
    }
    const notAfter = new Date(Date.now() - 1000);
    assert.throws(() => verify(root, issue(root, { cn: "c", usage: "client", notAfter }), "sslclient"), /expired/);
    assert.throws(() => verify(makeCa({ cn: "root" }), issue(low, { cn: "c", usage: "client" }), "sslclient"));
  }
});
