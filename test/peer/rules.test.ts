import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { test } from "node:test";
import { checkPeer } from "../../lib/peer/checks/check-peer.ts";
import { checkAddresses, checkLoopbackAddresses } from "../../lib/peer/checks/endpoint.ts";
import { isSamePeer } from "../../lib/peer/checks/identity.ts";
import { checkMesh, type ExistingPeer, type TargetContext } from "../../lib/peer/checks/mesh.ts";
import { FINDING_CODES, type FindingCode } from "../../lib/peer/finding-codes.ts";
import { type Finding, finding, hasErrors } from "../../lib/peer/findings.ts";
import type { ClusterFacts, Peer } from "../../lib/peer/peer.ts";
import { type CaOptions, type Issuer, issue, type LeafOptions, makeCa } from "../../lib/sandbox/pki.ts";
import { caOf, clientOf, DAY, freshClient, intermediateOf, NOW, rsaCaOf } from "../support/material.ts";
import { peerOf } from "../support/targets.ts";

const codes = (findings: readonly Finding[]) => findings.map(({ code }) => code);
const judged = (overrides: Partial<Peer>, now = NOW) => checkPeer(peerOf("c2", 2, overrides), now);
const c2 = caOf("c2");
const client = clientOf(c2);
const past = { notBefore: new Date(NOW.getTime() - 9 * DAY), notAfter: new Date(NOW.getTime() - DAY) };
const future = { notBefore: new Date(NOW.getTime() + DAY) };

test("severity, message and remedy of a finding follow from its code", () => {
  const place = { source: "f", key: "c2" };
  const duplicate = finding("id-duplicate", place, { id: "2", other: "c3" });
  assert.deepEqual(duplicate, {
    code: "id-duplicate",
    formerCode: "id-twice",
    severity: "error",
    ...place,
    message: "cluster id 2 is also used by c3",
    remedy: "set a unique Helm value cluster.id in each cluster",
    data: { id: "2" },
  });
  const roots = finding("system-roots", place, {});
  assert.equal(roots.severity, "warning");
  assert.equal(hasErrors([roots]), false);
  assert.equal(hasErrors([roots, duplicate]), true);
  assert.equal(hasErrors([]), false);
});

test("what does not stop a connection is a warning", () => {
  const warnings: FindingCode[] = [
    "pod-cidrs-overlap",
    "tunnel-differs",
    "encryption-differs",
    "same-node-port",
    "certificate-expires",
    "id-unknown",
  ];
  for (const code of warnings) assert.equal(FINDING_CODES[code].severity, "warning", code);
  const errors: FindingCode[] = [
    "id-duplicate",
    "name-duplicate",
    "maximum-differs",
    "too-many-peers",
    "certificate-expired",
    "no-addresses",
    "own-cache",
    "secret-too-large",
  ];
  for (const code of errors) assert.equal(FINDING_CODES[code].severity, "error", code);
});

test("a good peer has no findings, of any kind of key and chain", () => {
  const rsa = rsaCaOf("r");
  const table: Partial<Peer>[] = [
    {},
    { ca: { pem: rsa.cert }, client: clientOf(rsa) },
    { ca: { pem: rsa.cert }, client: freshClient(rsa, { key: "rsa", keyFormat: "traditional" }) },
    { client: freshClient(c2, { keyFormat: "traditional" }) },
    { client: clientOf(intermediateOf("c2")) },
    { ca: { pem: caOf("a").cert + c2.cert } },
    { ca: { pem: intermediateOf("c2").cert + c2.cert }, client: clientOf(intermediateOf("c2")) },
    {
      ca: { pem: c2.cert.replaceAll("\n", "\r\n") },
      client: { cert: client.cert.replaceAll("\n", "\r\n"), key: client.key },
    },
    { ca: "importer" },
    { ca: "importer", client: "importer" },
    { endpoints: ["https://127.0.0.1:2379", "https://[::1]:2379"], hostAliases: [] },
  ];
  for (const overrides of table) assert.deepEqual(judged(overrides), [], JSON.stringify(overrides).slice(0, 80));
});

test("certificates and keys that will not do", () => {
  const pem = (pem: string): Partial<Peer> => ({ ca: { pem } });
  const cert = (cert: string): Partial<Peer> => ({ client: { cert, key: client.key } });
  const key = (key: string): Partial<Peer> => ({ client: { cert: client.cert, key } });
  const encrypted = createPrivateKey(client.key).export({
    type: "pkcs8",
    format: "pem",
    cipher: "aes-256-cbc",
    passphrase: "x",
  });
  const table: [what: string, overrides: Partial<Peer>, codes: FindingCode[]][] = [
    ["no CA at all", { ca: "system" }, ["system-roots"]],
    ["an empty CA file", pem(""), ["ca-empty"]],
    ["a CA file without PEM", pem("-"), ["ca-empty"]],
    ["a key in the CA file", pem(c2.key), ["ca-invalid"]],
    ["a key behind the CA", pem(c2.cert + c2.key), ["ca-invalid"]],
    ["a CA cut off", pem(c2.cert + c2.cert.slice(0, 200)), ["ca-invalid"]],
    ["another CA", pem(caOf("other").cert), ["certificate-not-signed"]],
    ["an empty certificate", cert(""), ["certificate-invalid"]],
    ["junk for a certificate", cert("x"), ["certificate-invalid"]],
    ["a key for a certificate", cert(client.key), ["certificate-invalid"]],
    ["another's certificate", cert(clientOf(c2, "remote", 1).cert), ["key-mismatch"]],
    ["a certificate of another CA and its key", { client: clientOf(caOf("other")) }, ["certificate-not-signed"]],
    [
      "a chain without its intermediate",
      { client: freshClient({ ...intermediateOf("c2"), chain: "" }) },
      ["certificate-not-signed"],
    ],
    ["an empty key", key(""), ["key-invalid"]],
    ["a certificate for a key", key(client.cert), ["key-invalid"]],
    ["an encrypted key", key(encrypted.toString()), ["key-invalid"]],
    ["a key cut off", key(client.key.slice(0, 80)), ["key-invalid"]],
    ["an RSA key", key(rsaCaOf("r").key), ["key-mismatch"]],
    [
      "everything wrong at once",
      { ...pem(""), client: { cert: "", key: "" } },
      ["ca-empty", "certificate-invalid", "key-invalid"],
    ],
    ["expired", { client: freshClient(c2, past) }, ["certificate-expired"]],
    [
      "expired and without its key",
      { client: { cert: freshClient(c2, past).cert, key: client.key } },
      ["certificate-expired", "key-mismatch"],
    ],
  ];
  for (const [what, overrides, expected] of table) {
    const findings = judged(overrides);
    assert.deepEqual(codes(findings), expected, what);
    for (const one of findings) {
      assert.deepEqual([one.source, one.key], ["c2-secret.json", "c2"], what);
      assert.doesNotMatch(one.message, /PRIVATE KEY-|\n/, what);
    }
  }
});

test("when a certificate is valid", () => {
  const at = (days: number, ms = 0) => new Date(Math.floor(NOW.getTime() / 1000) * 1000 + days * DAY + ms);
  const year = (text: string) => new Date(`${text}-06-01T00:00:00Z`);
  const table: [what: string, from: Date, until: Date, code: FindingCode | undefined, message: RegExp][] = [
    ["for long", at(-1), at(365), undefined, /^$/],
    ["for thirty days", at(-1), at(30, 5_000), undefined, /^$/],
    ["for a little less", at(-1), at(30, -5_000), "certificate-expires", /expires in 29 days, on \d{4}-\d\d-\d\d$/],
    ["for a day", at(-1), at(1, 5_000), "certificate-expires", /in 1 day, on/],
    ["for an hour", at(-1), at(0, 3_600_000), "certificate-expires", /in 0 days/],
    ["until now", at(-1), at(0, -2_000), "certificate-expired", /expired on/],
    ["from tomorrow on", at(1), at(365), "certificate-not-yet-valid", /not valid before/],
    ["until the year 0050", year("0040"), year("0050"), "certificate-expired", /expired on 0050-06-01/],
    ["until 1950", year("1940"), year("1950"), "certificate-expired", /expired on 1950-06-01/],
    ["until 9999", at(-1), year("9999"), undefined, /^$/],
  ];
  for (const [what, notBefore, notAfter, code, message] of table) {
    const [one, ...others] = judged({ client: freshClient(c2, { notBefore, notAfter }) }, NOW);
    assert.equal(one?.code, code, what);
    assert.match(one?.message ?? "", message, what);
    assert.deepEqual(others, [], what);
  }
});

test("CAs that expire are warned of, unless others will do then", () => {
  const at = (days: number) => new Date(NOW.getTime() + days * DAY);
  const ca = (cn: string, days: number, options: Partial<CaOptions> = {}) =>
    makeCa({ cn, notBefore: at(-9), notAfter: at(days), ...options });
  const [soon, year] = [ca("soon", 20), ca("year", 365)];
  const file = (issuer: Issuer, ...certificates: string[]): Partial<Peer> => ({
    ca: { pem: certificates.join("") },
    client: freshClient(issuer, { notAfter: at(900) }),
  });
  const middle = ca("middle", 20, { issuer: c2 });
  const { cert: server } = issue(c2, { cn: "s", usage: "server", dns: ["c2.mesh.cilium.io"], notAfter: at(20) });
  const table: [what: string, overrides: Partial<Peer>, expected: string[]][] = [
    ["the only one", file(soon, soon.cert), ["ca-expires ca"]],
    ["without a client certificate", { ca: { pem: soon.cert }, client: "importer" }, ["ca-expires ca"]],
    [
      "of two, the last to expire",
      { ca: { pem: ca("a", 5).cert + ca("b", 9).cert }, client: "importer" },
      ["ca-expires ca"],
    ],
    ["beside a new one", { ca: { pem: soon.cert + c2.cert }, client: "importer" }, []],
    ["beside a new one, for a client certificate of the new", file(c2, soon.cert, c2.cert), []],
    ["beside a new one, for a client certificate of the old", file(soon, soon.cert, c2.cert), ["ca-expires ca"]],
    ["beside one that has expired", file(soon, soon.cert, ca("old", -2).cert), ["ca-expires ca"]],
    ["one between", file(middle, c2.cert), ["certificate-expires client"]],
    [
      "the server's certificate as a CA",
      { ca: { pem: server }, client: "importer" },
      ["server-certificate-expires server"],
    ],
    ["in a year", file(year, year.cert), []],
  ];
  for (const [what, overrides, expected] of table) {
    const found = judged(overrides).map(({ code, certificate }) => `${code} ${certificate?.use}`);
    assert.deepEqual(found, expected, what);
  }
  const [one] = judged({ ca: { pem: ca("a", 5).cert + ca("b", 9).cert }, client: "importer" });
  assert.match(one?.message ?? "", /^the CA CN=b expires in \d days, on \d{4}-\d\d-\d\d$/);
  assert.match(one?.remedy ?? "", /rotate c2 --trust/);
});

test("how soon is asked for", () => {
  const notAfter = new Date(NOW.getTime() + 20.5 * DAY);
  const peer = peerOf("c2", 2, { client: freshClient(c2, { notAfter }) });
  const within = (days: number) => codes(checkPeer(peer, NOW, { expiresWithin: days * DAY }));
  assert.deepEqual([within(0), within(20), within(21)], [[], [], ["certificate-expires"]]);
  assert.deepEqual(within(Number.POSITIVE_INFINITY), ["ca-expires", "certificate-expires"]);
  const [one] = checkPeer(peer, NOW);
  const { fingerprint, ...fact } = one?.certificate ?? { fingerprint: "" };
  const expiresAt = `${notAfter.toISOString().slice(0, 19)}Z`;
  assert.deepEqual(fact, { use: "client", expires: expiresAt.slice(0, 10), expiresAt, daysLeft: 20 });
  assert.match(fingerprint, /^[0-9a-f]{64}$/);
});

test("a CA file is valid if one of its CAs is, and a client certificate if its chain to one of them is", () => {
  const reissue = (options: Partial<CaOptions>) => makeCa({ cn: "c2 CA", privateKey: c2.key, ...options }).cert;
  const made = (options: Partial<CaOptions>) => makeCa({ cn: "clients", ...options });
  const below = (options: Partial<CaOptions>) => makeCa({ cn: "middle", issuer: c2, ...options });
  const of = (issuer: Issuer, options: Partial<LeafOptions> = {}) => freshClient(issuer, options);
  const beside = (options: Partial<CaOptions>): Partial<Peer> => {
    const other = made(options);
    return { ca: { pem: c2.cert + other.cert }, client: of(other) };
  };
  const file = (...certificates: string[]): Partial<Peer> => ({ ca: { pem: certificates.join("") }, client });
  const serverOf = (name: string): Partial<Peer> => {
    const { cert } = issue(c2, { cn: "server", usage: "server", dns: [name] });
    return { ca: { pem: cert }, client: "importer" };
  };
  const table: [what: string, overrides: Partial<Peer>, codes: FindingCode[], message?: RegExp][] = [
    ["an expired one beside", file(made(past).cert, c2.cert), []],
    ["one not yet valid beside", file(made(future).cert, c2.cert), []],
    ["one that is not a CA beside", file(client.cert, c2.cert), []],
    ["reissued with its key, and the expired one", file(reissue(past), c2.cert), []],
    ["one for servers and one for clients", beside({ usage: "client" }), []],
    ["the server's own certificate", serverOf("*.mesh.cilium.io"), []],
    ["that of another server", serverOf("c3.example"), ["ca-invalid"]],
    ["for any use", file(reissue({ usage: "any" })), []],
    ["X.509 v1", file(reissue({ flaw: "v1" })), []],
    [
      "expired",
      file(reissue(past)),
      ["ca-expired"],
      /^the CA file contains CN=c2 CA, which expired on \d{4}-\d\d-\d\d$/,
    ],
    ["each expired", file(reissue(past), made(past).cert), ["ca-expired", "ca-expired"]],
    ["not valid yet", file(reissue(future)), ["certificate-not-yet-valid"], /CN=c2 CA, which is not valid before/],
    ["expired, and not yet valid", file(made(past).cert, reissue(future)), ["ca-expired", "certificate-not-yet-valid"]],
    [
      "none",
      file(reissue({ flaw: "no-ca" })),
      ["ca-invalid"],
      /the CA file contains CN=c2 CA, which is not a CA, or its key usage lacks keyCertSign$/,
    ],
    ["without keyCertSign", file(reissue({ flaw: "no-cert-sign" })), ["ca-invalid"]],
    [
      "for clients only",
      file(reissue({ usage: "client" })),
      ["certificate-usage"],
      /cannot issue certificates for servers.*serverAuth$/,
    ],
    [
      "for servers only",
      file(reissue({ usage: "server" })),
      ["certificate-usage"],
      /cannot issue certificates for clients.*clientAuth$/,
    ],
    ["expired, and not that of the client", file(made(past).cert), ["ca-expired", "certificate-not-signed"]],
    ["without a client", { ca: { pem: reissue(past) }, client: "importer" }, ["ca-expired"]],
    [
      "the client's expired",
      beside(past),
      ["ca-expired"],
      /^the client certificate is issued by CN=clients, which expired/,
    ],
    [
      "the client's not yet valid",
      beside(future),
      ["certificate-not-yet-valid"],
      /is issued by CN=clients, which is not valid before/,
    ],
    [
      "the client's is not a CA",
      beside({ flaw: "no-ca" }),
      ["certificate-not-signed"],
      /is issued by CN=clients, which is not a CA/,
    ],
    ["the client's is for servers", beside({ usage: "server" }), ["certificate-usage"], /is issued by CN=clients/],
    [
      "an intermediate expired",
      { client: of(below(past)) },
      ["certificate-expired"],
      /issued by CN=middle, which expired/,
    ],
    [
      "an intermediate not yet valid",
      { client: of(below(future)) },
      ["certificate-not-yet-valid"],
      /issued by CN=middle/,
    ],
    [
      "an intermediate is not a CA",
      { client: of(below({ flaw: "no-ca" })) },
      ["certificate-not-signed"],
      /is not a CA/,
    ],
    ["an intermediate is of X.509 v1", { client: of(below({ flaw: "v1" })) }, ["certificate-not-signed"]],
    ["an intermediate is for servers", { client: of(below({ usage: "server" })) }, ["certificate-usage"]],
    [
      "an intermediate and the CA expired",
      { ...file(reissue(past)), client: of(below(past)) },
      ["ca-expired", "certificate-expired"],
    ],
    ["an unneeded expired one", { client: of({ ...c2, chain: below(past).cert }) }, []],
    [
      "a client for servers",
      { client: of(c2, { usage: "server" }) },
      ["certificate-usage"],
      /is not valid for clients/,
    ],
    ["a client for any use", { client: of(c2, { usage: "any" }) }, []],
    ["a client without an extended key usage", { client: of(c2, { usage: "none" }) }, []],
    ["a client without a name", { client: of(c2, { cn: "" }) }, ["no-common-name"]],
    [
      "a client without a name, nor a CA",
      { ca: "system", client: of(c2, { cn: "" }) },
      ["system-roots", "no-common-name"],
    ],
  ];
  for (const [what, overrides, expected, message = /^/] of table) {
    const findings = judged(overrides);
    assert.deepEqual(codes(findings), expected, what);
    assert.match(findings[0]?.message ?? "", message, what);
  }
});

test("the clock is the argument, not the machine's", () => {
  const later = new Date(NOW.getTime() + 4 * 365 * DAY);
  assert.deepEqual(codes(judged({}, later)), ["ca-expired", "certificate-expired"]);
  assert.deepEqual(codes(judged({}, new Date(0))), ["certificate-not-yet-valid", "certificate-not-yet-valid"]);
});

test("names and ids", () => {
  const table: [string, ClusterFacts, FindingCode[]][] = [
    ["c2", {}, []],
    ["c2", { id: 1 }, []],
    ["c2", { id: 255, maxConnectedClusters: 255 }, []],
    ["c2", { id: 511, maxConnectedClusters: 511 }, []],
    ["c2", { id: 511 }, []],
    ["c2", { id: 0 }, ["id-invalid"]],
    ["c2", { id: 256, maxConnectedClusters: 255 }, ["id-invalid"]],
    ["c2", { id: 512 }, ["id-invalid"]],
    ["default", { id: 0 }, ["name-invalid", "id-invalid"]],
    ["c2.example", {}, ["name-invalid"]],
    ["common-etcd-client", {}, ["name-invalid"]],
    ["C2", {}, ["name-invalid"]],
  ];
  for (const [name, facts, expected] of table) {
    const peer: Peer = { ...peerOf("c2").peer, name, facts };
    assert.deepEqual(codes(checkPeer({ peer, source: "f" }, NOW)), expected, `${name} ${JSON.stringify(facts)}`);
  }
});

test("endpoints and aliases", () => {
  const alias = (hostname: string, ...ips: string[]) => ({ hostname, ips });
  const table: [what: string, overrides: Partial<Peer>, codes: FindingCode[]][] = [
    ["none", { endpoints: [] }, ["endpoint-invalid"]],
    ["http", { endpoints: ["http://c2:2379"] }, ["endpoint-invalid"]],
    ["no port", { endpoints: ["https://c2"] }, ["endpoint-invalid"]],
    [
      "each is reported",
      { endpoints: ["c2:1", "https://c2:2379", "https://c2:0"] },
      ["endpoint-invalid", "endpoint-invalid"],
    ],
    ["the cluster's own cache", { endpoints: ["https://clustermesh-apiserver.kube-system.svc:2379"] }, ["own-cache"]],
    ["an alias without addresses", { hostAliases: [alias("a")] }, ["alias-invalid"]],
    ["an alias twice", { hostAliases: [alias("a", "10.0.0.1"), alias("a", "10.0.0.1")] }, ["alias-invalid"]],
    ["an alias of a prefix", { hostAliases: [alias("a", "10.0.0.0/24")] }, ["alias-invalid"]],
    ["not covered", { facts: { serverNames: ["127.0.0.1", "*.other.io"] } }, ["endpoint-not-covered"]],
    [
      "an address, and the covered names are unknown",
      { endpoints: ["https://10.0.0.2:2379", "https://[fd00::2]:2379"], hostAliases: [] },
      ["endpoint-address", "endpoint-address"],
    ],
    ["covered", { facts: { serverNames: ["*.mesh.cilium.io"] } }, []],
    [
      "an address not covered",
      { endpoints: ["https://10.0.0.2:2379"], facts: { serverNames: ["*.mesh.cilium.io", "127.0.0.1"] } },
      ["endpoint-not-covered"],
    ],
    ["an address covered", { endpoints: ["https://[fd00:0::2]:2379"], facts: { serverNames: ["fd00::2"] } }, []],
  ];
  for (const [what, overrides, expected] of table) assert.deepEqual(codes(judged(overrides)), expected, what);
  assert.match(
    judged({ endpoints: ["https://clustermesh-apiserver.cilium.svc:2379"] })[0]?.remedy ?? "",
    /cilium-kvstoremesh/,
  );
});

test("the same peer is recognized, however its files are written, and whatever else they contain", () => {
  const one = peerOf("c2").peer;
  const aliases = [
    { hostname: "a", ips: ["10.0.0.1", "10.0.0.2"] },
    { hostname: "b", ips: ["10.0.0.3"] },
  ];
  const same: [Partial<Peer>, Partial<Peer>][] = [
    [{}, {}],
    [{}, { facts: {} }],
    [{ endpoints: ["https://a:1", "https://b:1"] }, { endpoints: ["https://b:1", "https://a:1", "https://a:1"] }],
    [
      { hostAliases: aliases },
      { hostAliases: aliases.toReversed().map((alias) => ({ ...alias, ips: alias.ips.toReversed() })) },
    ],
    [{ facts: { id: 2, version: "1.18" } }, { facts: { id: 2, version: "1.19" } }],
  ];
  for (const [a, b] of same) assert.equal(isSamePeer({ ...one, ...a }, { ...one, ...b }), true, JSON.stringify(b));
  const others: Partial<Peer>[] = [
    { name: "c3" },
    { endpoints: ["https://c2.mesh.cilium.io:32380"] },
    { hostAliases: [] },
    { hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.0.0.9"] }] },
    { ca: "importer" },
    { ca: { pem: caOf("other").cert } },
    { client: "importer" },
    { client: clientOf(c2, "remote", 1) },
    { facts: { id: 3 } },
    { facts: { id: 2, maxConnectedClusters: 511 } },
  ];
  for (const other of others) assert.equal(isSamePeer(one, { ...one, ...other }), false, JSON.stringify(other));
});

function judge(facts: ClusterFacts = {}, existing: ExistingPeer[] = []): TargetContext {
  return {
    source: "own",
    facts: { name: "own", id: 1, maxConnectedClusters: 255, version: "1.18.5", ...facts },
    existing,
  };
}

test("ids and maxima are compared, also with existing peers of the target", () => {
  const [two, three] = [peerOf("c2", 2), peerOf("c3", 3)];
  const legacy = peerOf("c4", 4, { facts: {} });
  const existingPeer = (name: string, id?: number, maxConnectedClusters?: number): ExistingPeer => ({
    name,
    id,
    maxConnectedClusters,
  });
  const table: [
    what: string,
    peers: (typeof two)[],
    target: TargetContext,
    expected: [FindingCode, source: string, key?: string][],
  ][] = [
    ["all well", [two, three], judge({}, [existingPeer("c9", 9, 255)]), []],
    ["the same id twice", [two, peerOf("c3", 2)], judge(), [["id-duplicate", "c3-secret.json", "c3"]]],
    [
      "the id of an existing peer",
      [two],
      judge({}, [existingPeer("c9", 2, 255)]),
      [["id-duplicate", "c2-secret.json", "c2"]],
    ],
    ["the target's own id", [peerOf("c2", 1)], judge(), [["id-of-target", "c2-secret.json", "c2"]]],
    [
      "an existing peer with the target's own id",
      [two],
      judge({}, [existingPeer("c9", 1)]),
      [["id-of-target", "own", "c9"]],
    ],
    ["no id in the file", [legacy], judge(), [["id-unknown", "c4-secret.json", "c4"]]],
    ["an existing peer without an id", [two], judge({}, [existingPeer("c9")]), [["id-unknown", "own", "c9"]]],
    [
      "an existing peer without an id, and none in the file",
      [legacy],
      judge({}, [existingPeer("c9")]),
      [["id-unknown", "c4-secret.json", "c4"]],
    ],
    [
      "an existing peer without an id, and no new one",
      [two],
      { ...judge({}, [existingPeer("c9")]), idsRecorded: true },
      [],
    ],
    [
      "another maximum",
      [peerOf("c2", 2, { facts: { id: 2, maxConnectedClusters: 511 } })],
      judge(),
      [["maximum-differs", "c2-secret.json", "c2"]],
    ],
    [
      "an existing peer with another maximum",
      [two],
      judge({}, [existingPeer("c9", 9, 511)]),
      [["maximum-differs", "own", "c9"]],
    ],
    [
      "maximum 511 everywhere",
      [peerOf("c2", 300, { facts: { id: 300, maxConnectedClusters: 511 } })],
      judge({ maxConnectedClusters: 511 }),
      [],
    ],
    [
      "all at once",
      [peerOf("c2", 1), peerOf("c3", 9), legacy],
      judge({}, [existingPeer("c9", 9, 511)]),
      [
        ["maximum-differs", "own", "c9"],
        ["id-of-target", "c2-secret.json", "c2"],
        ["id-duplicate", "c3-secret.json", "c3"],
        ["id-unknown", "c4-secret.json", "c4"],
      ],
    ],
  ];
  for (const [what, peers, target, expected] of table) {
    assert.deepEqual(
      checkMesh(peers, target).map(({ code, source, key }) => [code, source, key]),
      expected,
      what,
    );
  }
  const message = (peers: (typeof two)[], target: TargetContext) => checkMesh(peers, target)[0]?.message ?? "";
  assert.match(message([two, peerOf("c3", 2)], judge()), /cluster id 2 is also used by c2/);
  assert.match(message([peerOf("c2", 1)], judge()), /id 1.*own/);
});

test("different maxima among the files are reported even if the target's is unknown", () => {
  const { maxConnectedClusters: _, ...facts } = judge().facts;
  const peers = [peerOf("c2", 2), peerOf("c3", 3, { facts: { id: 3, maxConnectedClusters: 511 } })];
  assert.deepEqual(codes(checkMesh(peers, { ...judge(), facts })), ["maximum-differs"]);
});

test("the maximum limits the number of peers, including existing ones", () => {
  const peers = (count: number, maximum: number) =>
    Array.from({ length: count }, (_, i) => ({
      peer: { ...peerOf("c2").peer, name: `p${i}`, facts: { id: i + 2, maxConnectedClusters: maximum } },
      source: "f",
    }));
  const existing: ExistingPeer[] = [{ name: "s", id: 255 }];
  assert.deepEqual(codes(checkMesh(peers(253, 255), judge({}, existing))), []);
  assert.deepEqual(codes(checkMesh(peers(254, 255), judge({}, []))), []);
  const [one] = checkMesh(peers(253, 255), judge({}, [...existing, { name: "t", id: 300 }]));
  assert.deepEqual([one?.code, one?.source], ["too-many-peers", "own"]);
  assert.match(one?.message ?? "", /255 peers exceed the limit of 254 \(max-connected-clusters is 255\)/);
  assert.match(one?.remedy ?? "", /511/);
  assert.deepEqual(codes(checkMesh(peers(510, 511), judge({ maxConnectedClusters: 511 }))), []);
  assert.deepEqual(codes(checkMesh(peers(511, 511), judge({ maxConnectedClusters: 511, id: 600 }))), [
    "too-many-peers",
  ]);
});

test("what must fit between clusters", () => {
  const of = (facts: ClusterFacts, overrides: Partial<Peer> = {}) => [
    peerOf("c2", 2, { ...overrides, facts: { id: 2, ...facts } }),
  ];
  const kpr = { kubeProxyReplacement: true, nodePort: 32379 };
  const table: [
    what: string,
    target: ClusterFacts,
    peer: ClusterFacts,
    codes: FindingCode[],
    overrides?: Partial<Peer>,
  ][] = [
    ["nothing known", {}, {}, []],
    ["pod CIDRs apart", { podCidrs: ["10.1.0.0/16"] }, { podCidrs: ["10.2.0.0/16"] }, []],
    [
      "pod CIDRs overlap",
      { podCidrs: ["10.1.0.0/16"] },
      { podCidrs: ["fd00::/48", "10.1.2.0/24"] },
      ["pod-cidrs-overlap"],
    ],
    [
      "one tunnel",
      { routingMode: "tunnel", tunnelProtocol: "vxlan" },
      { routingMode: "tunnel", tunnelProtocol: "vxlan" },
      [],
    ],
    [
      "another tunnel",
      { routingMode: "tunnel", tunnelProtocol: "vxlan" },
      { routingMode: "tunnel", tunnelProtocol: "geneve" },
      ["tunnel-differs"],
    ],
    [
      "native and a tunnel",
      { routingMode: "native" },
      { routingMode: "tunnel", tunnelProtocol: "geneve" },
      ["tunnel-differs"],
    ],
    [
      "native both, whatever the protocol",
      { routingMode: "native", tunnelProtocol: "vxlan" },
      { routingMode: "native" },
      [],
    ],
    ["one of the two not known", { tunnelProtocol: "vxlan" }, {}, []],
    ["encryption here only", { encryption: "wireguard" }, { encryption: "none" }, ["encryption-differs"]],
    ["another encryption", { encryption: "wireguard" }, { encryption: "ipsec" }, ["encryption-differs"]],
    ["encryption not known", { encryption: "wireguard" }, {}, []],
    ["the same node port", kpr, {}, ["same-node-port"]],
    ["the same node port by address", kpr, {}, ["same-node-port"], { endpoints: ["https://10.0.0.2:32379"] }],
    ["another node port", { ...kpr, nodePort: 32380 }, {}, []],
    ["the same node port, no kube-proxy replacement", { ...kpr, kubeProxyReplacement: false }, {}, []],
    ["the same node port, kube-proxy replacement not known", { nodePort: 32379 }, {}, []],
    ["the same node port on 1.19", { ...kpr, version: "1.19.0" }, {}, []],
    ["the same node port, version not known", { ...kpr, version: "" }, {}, []],
    ["no node port", { kubeProxyReplacement: true }, {}, []],
  ];
  for (const [what, target, peer, expected, overrides] of table) {
    const findings = checkMesh(of(peer, overrides), judge(target));
    assert.deepEqual(codes(findings), expected, what);
    for (const one of findings) {
      assert.deepEqual([one.severity, one.source, one.key], ["warning", "c2-secret.json", "c2"], what);
      const mutual = one.code !== "same-node-port";
      assert.deepEqual(one.clusters, mutual ? ["own", "c2"] : undefined, what);
    }
  }
  const two = [
    peerOf("c2", 2, { facts: { id: 2, podCidrs: ["10.2.0.0/16"] } }),
    peerOf("c3", 3, { facts: { id: 3, podCidrs: ["10.0.0.0/8"] } }),
  ];
  assert.deepEqual(
    checkMesh(two, judge()).map(({ code, source }) => [code, source]),
    [["pod-cidrs-overlap", "c3-secret.json"]],
  );
});

test("a name without addresses is a finding unless it is resolved, or DNS may know it", () => {
  const table: [endpoint: string, aliased: string[], resolved: string[], found: boolean][] = [
    ["c2.mesh.cilium.io:1", [], [], true],
    ["C2.Mesh.Cilium.IO:1", [], [], true],
    ["c2.mesh.cilium.io:1", ["c2.mesh.cilium.io"], [], false],
    ["c2.mesh.cilium.io:1", ["C2.mesh.cilium.io"], [], true],
    ["c2.mesh.cilium.io:1", ["c3.mesh.cilium.io"], ["c3.mesh.cilium.io"], true],
    ["c2.mesh.cilium.io:1", [], ["c2.mesh.cilium.io"], false],
    ["c2.example:1", [], [], false],
    ["mesh.cilium.io.example:1", [], [], false],
    ["10.0.0.2:1", [], [], false],
    ["[fd00::2]:1", [], [], false],
  ];
  for (const [endpoint, aliased, resolved, found] of table) {
    const hostAliases = aliased.map((hostname) => ({ hostname, ips: ["10.0.0.2"] }));
    const findings = checkAddresses(
      peerOf("c2", 2, { endpoints: [`https://${endpoint}`], hostAliases }),
      new Set(resolved),
    );
    assert.deepEqual(codes(findings), found ? ["no-addresses"] : [], `${endpoint} ${aliased} ${resolved}`);
  }
});

test("loopback addresses behind a name, or beside other endpoints, are warned of", () => {
  const place = { source: "f.json", key: "c2" };
  const messages = (overrides: Partial<Peer>) =>
    checkLoopbackAddresses(peerOf("c2", 2, overrides).peer, place).map(({ code, message }) => `${code} ${message}`);
  const alias = (...ips: string[]) => [{ hostname: "c2.mesh.cilium.io", ips }];
  assert.deepEqual(messages({ hostAliases: alias("10.0.0.1") }), []);
  assert.deepEqual(messages({ endpoints: ["https://127.0.0.1:1"] }), [], "that is another thing");
  assert.deepEqual(messages({ hostAliases: [{ hostname: "not.used", ips: ["127.0.0.1"] }] }), []);
  const [named = "", ...others] = messages({ hostAliases: alias("10.0.0.1", "127.18.2.2", "::1") });
  assert.match(named, /^loopback-address c2 has loopback addresses, .*: c2\.mesh\.cilium\.io \(127\.18\.2\.2, ::1\)$/);
  assert.deepEqual(others, []);
  const [mixed = ""] = messages({ endpoints: ["https://10.0.0.1:1", "https://localhost:1"], hostAliases: [] });
  assert.match(mixed, /: https:\/\/localhost:1$/);
  assert.deepEqual(
    checkPeer(peerOf("c2", 2, { hostAliases: alias("127.18.2.2") }), NOW),
    [],
    "which is for those who look, not for those who import",
  );
});
