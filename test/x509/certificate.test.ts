import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { type CaOptions, issue, makeCa, type Usage } from "../../lib/sandbox/pki.ts";
import { allowsPurpose, buildChain, type IssuerProblem, isSignedBy, issuerProblem } from "../../lib/x509/chain.ts";
import { expiryOf, formatExpiry } from "../../lib/x509/expiry.ts";
import { commonName, covers, formatName, subjectAltNames } from "../../lib/x509/names.ts";
import {
  contentHash,
  hasPem,
  isMatchingKey,
  normalizeCa,
  PemError,
  readCertificates,
  readPrivateKey,
  validity,
} from "../../lib/x509/pem.ts";
import { ipAddress } from "../support/arbitraries.ts";
import { relativeCost } from "../support/cost.ts";
import { caOf, clientOf, DAY, freshClient, intermediateOf, NOW, rsaCaOf } from "../support/material.ts";

const crlf = (text: string) => text.replaceAll("\n", "\r\n");
const cut = (text: string) => text.slice(0, text.length / 2);

test("certificates are parsed from PEM with other text around them", () => {
  const [a, b, r] = [caOf("a").cert, caOf("b").cert, rsaCaOf("r").cert];
  const table: [what: string, pem: string, expected: string[] | RegExp][] = [
    ["ECDSA", a, [a]],
    ["RSA", r, [r]],
    ["a bundle", a + r + b, [a, r, b]],
    ["comments around", `# CA\n${a}\nsubject=/CN=b\n${b}bye`, [a, b]],
    ["CRLF", crlf(a + b), [a, b]],
    ["no newline at the end", a.trimEnd(), [a]],
    ["empty", "", /contains no PEM certificate/],
    ["spaces", " \n\n", /contains no PEM certificate/],
    ["junk", "not a certificate", /contains no PEM certificate/],
    ["DER", Buffer.from(new X509Certificate(a).raw).toString("latin1"), /contains no PEM certificate/],
    ["indented, which Go does not find", a.replace(/^/gm, "  "), /contains no PEM certificate/],
    ["a key", caOf("a").key, /contains a PRIVATE KEY, expected certificates/],
    ["a key behind a certificate", a + caOf("a").key, /contains a PRIVATE KEY, expected certificates/],
    ["a request", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", /REQUEST/],
    ["no ASN.1", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /invalid certificate \(number 1\)/],
    ["the second damaged", a + b.replace("MII", "AAA").replace("MI", "AA"), /invalid certificate \(number 2\)/],
    ["cut off", cut(a), /contains no PEM certificate|truncated/],
    ["the second cut off", a + cut(b), /contains a truncated PEM block/],
    ["no time", withBadTime(a), /invalid certificate \(number 1\)/],
    ["an invalid public key", withBadKey(a), /invalid certificate \(number 1\)/],
  ];
  for (const [what, pem, expected] of table) {
    if (expected instanceof RegExp) {
      assert.throws(
        () => readCertificates(pem),
        (error) => error instanceof PemError && expected.test(error.message),
        what,
      );
    } else {
      const raw = expected.map((one) => new X509Certificate(one).fingerprint256);
      assert.deepEqual(
        readCertificates(pem).map((one) => one.fingerprint256),
        raw,
        what,
      );
    }
  }
});

/** The month of notBefore is 13. */
function withBadTime(pem: string): string {
  return changed(pem, (der) => der.write("13", der.indexOf(Buffer.from("301e170d", "hex")) + 6, "latin1"));
}

/** A point that is not on the curve. */
function withBadKey(pem: string): string {
  return changed(pem, (der) => der.writeUInt32BE(0, der.indexOf(Buffer.from("03420004", "hex")) + 8));
}

function changed(pem: string, change: (der: Buffer) => void): string {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  change(der);
  return `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
}

test("a file without PEM blocks is distinguished from an invalid one", () => {
  assert.equal(hasPem(""), false);
  assert.equal(hasPem("# nothing\n"), false);
  assert.equal(hasPem(caOf("a").cert), true);
  assert.equal(hasPem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), true);
});

test("many unterminated blocks are parsed in linear time", () => {
  const pem = "-----BEGIN CERTIFICATE-----\n".repeat(40_000);
  const cost = relativeCost(() => {
    assert.equal(hasPem(pem), false);
    assert.throws(() => readCertificates(pem), PemError);
  });
  assert.ok(cost < 20, `${cost}`);
});

test("private keys of each kind are parsed, and invalid ones rejected", () => {
  const ec = clientOf(caOf("a"));
  const parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
  const sec1 = createPrivateKey(ec.key).export({ type: "sec1", format: "pem" }).toString();
  const ed25519 = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const rsa = createPrivateKey(rsaCaOf("r").key);
  const passphrase = { cipher: "aes-256-cbc", passphrase: "secret" };
  const good: [string, string][] = [
    ["PKCS#8", ec.key],
    ["SEC1", sec1],
    ["SEC1 behind its parameters, as openssl writes it", parameters + sec1],
    ["CRLF", crlf(ec.key)],
    ["RSA PKCS#8", rsa.export({ type: "pkcs8", format: "pem" }).toString()],
    ["RSA PKCS#1", rsa.export({ type: "pkcs1", format: "pem" }).toString()],
    ["Ed25519", ed25519],
    ["behind its certificate", ec.cert + ec.key],
  ];
  for (const [what, pem] of good) assert.equal(readPrivateKey(pem).type, "private", what);
  const bad: [string, string, RegExp][] = [
    ["empty", "", /contains no PEM private key/],
    ["a certificate", ec.cert, /contains no PEM private key/],
    [
      "a public key",
      generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString(),
      /contains no PEM private key/,
    ],
    ["cut off", cut(ec.key), /contains an invalid private key/],
    [
      "junk inside",
      "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
      /contains an invalid private key/,
    ],
    ["PKCS#8 encrypted", rsa.export({ type: "pkcs8", format: "pem", ...passphrase }).toString(), /is encrypted/],
    ["PKCS#1 encrypted", rsa.export({ type: "pkcs1", format: "pem", ...passphrase }).toString(), /is encrypted/],
  ];
  for (const [what, pem, message] of bad) {
    assert.throws(
      () => readPrivateKey(pem),
      (error) => error instanceof PemError && message.test(error.message) && !/AAAA/.test(error.message),
      what,
    );
  }
});

test("a private key matches its own certificate only", () => {
  const ec = clientOf(caOf("a"));
  const rsa = rsaCaOf("r");
  const fits = (key: string, cert: string) => isMatchingKey(readPrivateKey(key), new X509Certificate(cert));
  assert.equal(fits(ec.key, ec.cert), true);
  assert.equal(fits(rsa.key, rsa.cert), true);
  assert.equal(fits(clientOf(caOf("b")).key, ec.cert), false);
  assert.equal(fits(rsa.key, ec.cert), false);
  assert.equal(fits(ec.key, rsa.cert), false);
});

test("a damaged private key does not match, even if its file has the right public key", () => {
  const ec = clientOf(caOf("a"));
  const der = createPrivateKey(ec.key).export({ format: "der", type: "sec1" });
  // The private half begins at byte 7 (RFC 5915).
  der[20] = (der[20] ?? 0) ^ 1;
  const damagedEc = createPrivateKey({ key: der, format: "der", type: "sec1" });
  const rsa = rsaCaOf("r");
  const jwk = createPrivateKey(rsa.key).export({ format: "jwk" });
  const { dp = "", dq = "" } = jwk;
  const damagedRsa = createPrivateKey({ format: "jwk", key: { ...jwk, d: dp, dp: dq, dq: dp } });
  for (const [damaged, { cert, key }] of [
    [damagedEc, ec],
    [damagedRsa, rsa],
  ] as const) {
    const certificate = new X509Certificate(cert);
    assert.equal(certificate.checkPrivateKey(damaged), true, "OpenSSL compares the public halves");
    assert.equal(isMatchingKey(damaged, certificate), false);
    assert.equal(isMatchingKey(readPrivateKey(key), certificate), true);
  }
});

test("bundles of the same certificates have one canonical form", () => {
  const [a, b, r] = [caOf("a").cert, caOf("b").cert, rsaCaOf("r").cert];
  const one = normalizeCa(a + b + r);
  assert.equal(normalizeCa(r + a + b + a), one);
  assert.equal(normalizeCa(`# CAs\n${crlf(b)}\n\n${r}${a.trimEnd()}`), one);
  assert.equal(normalizeCa(one), one);
  assert.notEqual(normalizeCa(a + b), one);
  assert.equal(normalizeCa(a), a);
  assert.throws(() => normalizeCa(""), PemError);
  assert.match(contentHash(one), /^[0-9a-f]{16}$/);
  assert.notEqual(contentHash(one), contentHash(a));
});

test("the common name of a subject is read", () => {
  assert.equal(commonName(new X509Certificate(clientOf(caOf("a"), "remote-c2").cert)), "remote-c2");
  const nameless = new X509Certificate(freshClient(caOf("a"), { cn: "" }).cert);
  assert.equal(commonName(nameless), undefined);
  assert.equal(formatName(nameless.subject), "(no name)");
  assert.equal(formatName("C=CH\nCN=a"), "C=CH, CN=a");
});

test("the names and addresses of a server certificate are read", () => {
  const ips = ["127.0.0.1", "::1", "fd00:0:0::a", "::ffff:10.0.0.1"];
  const { cert } = issue(caOf("a"), { cn: "x", usage: "server", dns: ["*.mesh.cilium.io", "a.b"], ips });
  assert.deepEqual(subjectAltNames(new X509Certificate(cert)), [
    ...["*.mesh.cilium.io", "a.b", "127.0.0.1", "::1", "fd00::a", "10.0.0.1"],
  ]);
  assert.deepEqual(subjectAltNames(new X509Certificate(caOf("a").cert)), []);
  const odd = issue(caOf("a"), { cn: "x", usage: "server", dns: ["a, DNS:b", 'c"d'] });
  assert.deepEqual(subjectAltNames(new X509Certificate(odd.cert)), ["a, DNS:b", 'c"d']);
});

test("host names are matched as by Go", () => {
  const names = ["*.mesh.cilium.io", "ClusterMesh.example", "127.0.0.1", "::1", "fd00::a"];
  const yes = "c2.mesh.cilium.io C2.Mesh.Cilium.IO c2.mesh.cilium.io. clustermesh.example 127.0.0.1 ::1 0:0::1 FD00::A";
  for (const host of yes.split(" ")) assert.equal(covers(names, host), true, host);
  const no =
    "mesh.cilium.io a.b.mesh.cilium.io mesh.cilium.io.evil c2.mesh.cilium.io.evil x.clustermesh.example 10.0.0.1 ::2";
  for (const host of no.split(" ")) assert.equal(covers(names, host), false, host);
  // Addresses and DNS names never match each other.
  assert.equal(covers(["*.0.0.1", "10.0.0.1.nip.io"], "10.0.0.1"), false);
  assert.equal(covers([], "a"), false);
});

test("host names are matched as by node:crypto", () => {
  const label = fc.constantFrom("a", "B", "c2", "mesh");
  const host = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
  // OpenSSL requires two labels after the wildcard, Go one.
  const pattern = fc.oneof(
    host,
    fc.tuple(fc.constant("*"), host, label).map((parts) => parts.join(".")),
  );
  const certificates = fc
    .record({ dns: fc.array(pattern, { maxLength: 3 }), ips: fc.array(ipAddress, { minLength: 1, maxLength: 3 }) })
    .map((names) => ({
      names,
      x509: new X509Certificate(issue(caOf("a"), { cn: "x", usage: "server", ...names }).cert),
    }));
  fc.assert(
    fc.property(
      certificates,
      fc.array(host, { maxLength: 8 }),
      fc.array(ipAddress, { maxLength: 4 }),
      (one, hosts, ips) => {
        const names = subjectAltNames(one.x509);
        for (const name of hosts) {
          const theirs = one.x509.checkHost(name, { subject: "never", partialWildcards: false }) !== undefined;
          assert.equal(covers(names, name), theirs, `${name} in ${names}`);
        }
        for (const ip of [...ips, ...one.names.ips]) {
          // Go treats an IPv4-mapped address as equal to the IPv4 address, OpenSSL does not.
          if (ip.includes("::ffff:")) continue;
          assert.equal(covers(names, ip), one.x509.checkIP(ip) !== undefined, `${ip} in ${names}`);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("the validity period is parsed in each century", () => {
  const dates = [
    "0050-03-04T05:06:07Z",
    "1950-01-01T00:00:00Z",
    "2049-12-31T23:59:59Z",
    "2050-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
  ];
  for (const date of dates) {
    const at = new Date(date);
    const { cert } = freshClient(caOf("a"), { notBefore: at, notAfter: at });
    assert.deepEqual(validity(new X509Certificate(cert)), { from: at, until: at }, date);
  }
});

test("a chain is signed by a trusted certificate", () => {
  const [a, b, middle] = [caOf("a"), caOf("b"), intermediateOf("a")];
  const deep = makeCa({ cn: "deep", issuer: middle });
  const rsa = rsaCaOf("r");
  const namesake = makeCa({ cn: "a CA" });
  const reissue = (options: Partial<CaOptions>) => makeCa({ cn: "a CA", privateKey: a.key, ...options }).cert;
  const table: [what: string, chain: string, trusted: string, expected: boolean][] = [
    ["by a root", clientOf(a).cert, a.cert, true],
    ["by one of several", clientOf(a).cert, b.cert + a.cert, true],
    ["by another", clientOf(a).cert, b.cert, false],
    ["by another of the same name", clientOf(a).cert, namesake.cert, false],
    ["through an intermediate of the chain", clientOf(middle).cert, a.cert, true],
    ["through two intermediates", clientOf(deep).cert, a.cert, true],
    ["through a missing intermediate", freshClient({ ...middle, chain: "" }).cert, a.cert, false],
    ["by a trusted intermediate", freshClient({ ...middle, chain: "" }).cert, middle.cert, true],
    ["through an unrelated intermediate", freshClient({ ...middle, chain: b.cert }).cert, b.cert, false],
    ["trusted itself", clientOf(a).cert, clientOf(a).cert, true],
    ["RSA", freshClient(rsa).cert, rsa.cert, true],
    ["RSA by ECDSA", freshClient(rsa).cert, a.cert, false],
    ["RSA by ECDSA of the same name", freshClient(rsa).cert, makeCa({ cn: "r CA" }).cert, false],
    ["by a reissued root with the same key", clientOf(a).cert, reissue({ keyId: "another" }), true],
    ["by an expired root", clientOf(a).cert, reissue({ notAfter: new Date(NOW.getTime() - DAY) }), true],
    ["by a certificate that is not a CA", clientOf(a).cert, reissue({ flaw: "no-ca" }), false],
    ["by a CA that may not sign", clientOf(a).cert, reissue({ flaw: "no-cert-sign" }), false],
    ["by a root of X.509 v1", clientOf(a).cert, reissue({ flaw: "v1" }), true],
    ["an untrusted root in the chain", clientOf(a).cert + a.cert + a.cert, b.cert, false],
  ];
  for (const [what, chain, trusted, expected] of table) {
    assert.equal(isSignedBy(chain, trusted), expected, what);
  }
  assert.equal(isSignedBy("", a.cert), false);
});

test("a chain uses acceptable issuers, in any order", () => {
  const [root, other] = [caOf("a"), caOf("b")];
  const key = clientOf(root).key;
  const crossed = [root, other].map((issuer) => makeCa({ cn: "middle", privateKey: key, issuer }));
  const [one = root, two = root] = crossed;
  const chain = readCertificates(freshClient({ ...one, chain: one.cert + two.cert }).cert);
  const trusted = readCertificates(root.cert + other.cert);
  const names = (way: ReturnType<typeof buildChain>) => way?.map(({ subject }) => subject);
  const over = (name: string) => ["CN=remote", "CN=middle", `CN=${name} CA`];
  assert.deepEqual(names(buildChain(chain, trusted, () => true)), over("a"));
  assert.deepEqual(names(buildChain(chain, trusted, ({ subject }) => subject !== "CN=a CA")), over("b"));
  assert.deepEqual(names(buildChain(chain, trusted, (issuer) => issuer !== chain[1])), over("b"));
  assert.equal(
    buildChain(chain, trusted, (_, isTrusted) => isTrusted),
    undefined,
  );
  assert.deepEqual(
    buildChain(chain, chain, () => false),
    chain.slice(0, 1),
    "a trusted leaf needs no issuer",
  );
  assert.equal(
    buildChain([], trusted, () => true),
    undefined,
  );
});

test("the extended key usage limits the purpose", () => {
  const table: [Usage, server: boolean, client: boolean][] = [
    ["server", true, false],
    ["client", false, true],
    ["any", true, true],
    ["none", true, true],
  ];
  for (const [usage, server, client] of table) {
    const certificate = new X509Certificate(freshClient(caOf("a"), { usage }).cert);
    assert.deepEqual(
      [allowsPurpose("server", certificate), allowsPurpose("client", certificate)],
      [server, client],
      usage,
    );
  }
});

test("days until and since expiry are whole days, and the first day after expiry counts as one", () => {
  const certificate = new X509Certificate(caOf("a").cert);
  const HOUR = DAY / 24;
  const table: [left: number, days: number, text: string][] = [
    [48 * HOUR, 2, "(2 days)"],
    [47 * HOUR, 1, "(1 day)"],
    [HOUR, 0, "(0 days)"],
    [-HOUR, -1, "(1 day ago)"],
    [-25 * HOUR, -1, "(1 day ago)"],
    [-49 * HOUR, -2, "(2 days ago)"],
  ];
  for (const [left, days, text] of table) {
    const expiry = expiryOf(certificate, new Date(validity(certificate).until.getTime() - left));
    assert.equal(expiry.daysLeft, days, text);
    assert.equal(Date.parse(expiry.expiresAt), validity(certificate).until.getTime());
    assert.match(expiry.expiresAt, new RegExp(`^${expiry.expires}T\\d\\d:\\d\\d:\\d\\dZ$`));
    assert.ok(formatExpiry(expiry).endsWith(text), formatExpiry(expiry));
  }
});

test("invalid issuers are rejected with the reason", () => {
  const at = (days: number) => new Date(NOW.getTime() + days * DAY);
  const table: [
    what: string,
    options: Partial<CaOptions>,
    trusted: IssuerProblem | undefined,
    within?: IssuerProblem | undefined,
  ][] = [
    ["nothing", {}, undefined],
    ["an RSA key", { key: "rsa" }, undefined],
    ["expired", { notBefore: at(-9), notAfter: at(-1) }, "expired"],
    ["not valid yet", { notBefore: at(1) }, "not-yet-valid"],
    ["no CA", { flaw: "no-ca" }, "no-ca"],
    ["no keyCertSign", { flaw: "no-cert-sign" }, "no-ca"],
    ["X.509 v1, not a CA unless trusted", { flaw: "v1" }, undefined, "no-ca"],
    ["X.509 v1 with a longer key", { flaw: "v1", key: "rsa" }, undefined, "no-ca"],
    ["for servers", { usage: "server" }, "usage"],
    ["for clients", { usage: "client" }, undefined],
  ];
  for (const [what, options, trusted, within = trusted] of table) {
    const issuer = new X509Certificate(makeCa({ cn: "x", ...options }).cert);
    assert.equal(issuerProblem(issuer, true, "client", NOW), trusted, what);
    assert.equal(issuerProblem(issuer, false, "client", NOW), within, what);
  }
  const forClients = new X509Certificate(makeCa({ cn: "x", usage: "client" }).cert);
  assert.equal(issuerProblem(forClients, true, "server", NOW), "usage");
});

test("arbitrary text is parsed or rejected with a PemError", () => {
  const pieces = fc.constantFrom(
    ...[
      "-----BEGIN CERTIFICATE-----\n",
      "-----END CERTIFICATE-----\n",
      "-----BEGIN PRIVATE KEY-----",
      "-----BEGIN ",
      "-----",
    ],
    ...[caOf("a").cert, caOf("a").key, "\n", "\r\n", "MII", "Proc-Type: 4,ENCRYPTED\n"],
  );
  const text = fc
    .array(fc.oneof(pieces, fc.string({ unit: "binary" })), { maxLength: 8 })
    .map((parts) => parts.join(""));
  const damaged = fc
    .tuple(
      fc.constantFrom(caOf("a").cert, clientOf(caOf("a")).key, caOf("a").cert + caOf("b").cert),
      fc.nat(),
      fc.string({ minLength: 1 }),
    )
    .map(([pem, at, junk]) => pem.slice(0, at % pem.length) + junk + pem.slice((at % pem.length) + junk.length));
  fc.assert(
    fc.property(fc.oneof(text, damaged), (pem) => {
      for (const read of [readCertificates, readPrivateKey, normalizeCa]) {
        try {
          read(pem);
        } catch (error) {
          assert.ok(error instanceof PemError, String(error));
        }
      }
    }),
    { numRuns: 60 },
  );
});
