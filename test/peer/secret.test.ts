import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import fc from "fast-check";
import { mergeEntries } from "../../lib/import/plan/merge-secret.ts";
import { parseSecrets } from "../../lib/peer/documents.ts";
import { finding } from "../../lib/peer/findings.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import { decodeFiles, readEntries, readPeerFile, toSecretEntry, writePeerFile } from "../../lib/peer/secret.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { peer as anyPeer, existingFiles } from "../support/arbitraries.ts";
import { caOf, clientOf, intermediateOf, rsaCaOf } from "../support/material.ts";
import { COMMON, configText, LOCAL, peerOf, secretOf, textsOf } from "../support/targets.ts";

const MOUNT = "/var/lib/cilium/clustermesh/";
const a = caOf("a");
const client = clientOf(a);
const codes = (secret: V1Secret) => readPeerFile(secret, "f").findings.map(({ code, key }) => [code, key]);

test("any peer is read from its file as it was written", () => {
  fc.assert(
    fc.property(anyPeer, (peer) => {
      const file = writePeerFile(peer);
      const { peers, findings, layouts } = readPeerFile(file, "f");
      assert.deepEqual([peers, findings], [[peer], []]);
      assert.equal(layouts.get(peer.name), "clustermesh-secrets");
      assert.equal(JSON.stringify(writePeerFile(peer)), JSON.stringify(file));
    }),
  );
});

test("any peer is read from a target as it was written, except for its facts", () => {
  fc.assert(
    fc.property(anyPeer, (peer) => {
      const { files } = mergeEntries({ files: new Map() }, [toSecretEntry(peer, "target")]);
      const [entry, ...others] = readEntries({ files }, {}, "t");
      assert.deepEqual(entry?.peer, { ...peer, facts: {} });
      assert.deepEqual(others, []);
    }),
  );
});

/** One peer in each of the layouts that are in the field. */
const LAYOUTS: Record<string, { files: Record<string, string>; tls: Pick<Peer, "ca" | "client"> }> = {
  "old scripts": {
    files: {
      "c2-ca.crt": a.cert,
      "c2.crt": client.cert,
      "c2.key": client.key,
      c2: configText("https://10.0.0.2:32379", ["c2-ca.crt", "c2.crt", "c2.key"]),
    },
    tls: { ca: { pem: a.cert }, client },
  },
  "chart with a certificate for each": {
    files: {
      "c2.etcd-client-ca.crt": a.cert,
      "c2.etcd-client.crt": client.cert,
      "c2.etcd-client.key": client.key,
      c2: configText("https://10.0.0.2:32379", ["c2.etcd-client-ca.crt", "c2.etcd-client.crt", "c2.etcd-client.key"]),
    },
    tls: { ca: { pem: a.cert }, client },
  },
  "chart with a shared CA": {
    files: { c2: configText("https://10.0.0.2:32379", COMMON) },
    tls: { ca: "importer", client: "importer" },
  },
  mixture: {
    files: {
      "c2.etcd-client.crt": client.cert,
      "c2.etcd-client.key": client.key,
      c2: configText("https://10.0.0.2:32379", [
        "common-etcd-client-ca.crt",
        "c2.etcd-client.crt",
        "c2.etcd-client.key",
      ]),
    },
    tls: { ca: "importer", client },
  },
  "a separate CA, the certificate common": {
    files: { "c2-ca.crt": a.cert, c2: configText("https://10.0.0.2:32379", ["c2-ca.crt", COMMON[1], COMMON[2]]) },
    tls: { ca: { pem: a.cert }, client: "importer" },
  },
  "no CA": {
    files: {
      "x.crt": client.cert,
      "x.key": client.key,
      c2: configText("https://10.0.0.2:32379", [undefined, "x.crt", "x.key"]),
    },
    tls: { ca: "system", client },
  },
  "files of any name, shared": {
    files: {
      ...{ "x.pem": a.cert, y: client.cert, z: client.key },
      ...{
        c2: configText("https://10.0.0.2:32379", ["x.pem", "y", "z"]),
        c3: configText("https://10.0.0.3:32379", ["x.pem", "y", "z"]),
      },
    },
    tls: { ca: { pem: a.cert }, client },
  },
};

test("a peer is read from every layout by following the paths", () => {
  for (const [what, { files, tls }] of Object.entries(LAYOUTS)) {
    const { peers, findings } = readPeerFile(secretOf(files), "f");
    assert.deepEqual(findings, [], what);
    assert.deepEqual(
      peers[0],
      { name: "c2", endpoints: ["https://10.0.0.2:32379"], hostAliases: [], ...tls, facts: {} },
      what,
    );
    assert.deepEqual(
      peers.map(({ name }) => name),
      "c3" in files ? ["c2", "c3"] : ["c2"],
      what,
    );
  }
});

test("a peer of any layout, written to a file, is the same peer", () => {
  for (const [what, { files }] of Object.entries(LAYOUTS)) {
    const [peer] = readPeerFile(secretOf(files), "f").peers;
    assert.deepEqual(readPeerFile(writePeerFile(peer as Peer), "f").peers, [peer], what);
  }
});

test("the drop-in form of the old scripts", () => {
  const { peer } = peerOf("c2", 2);
  const file = writePeerFile(peer);
  assert.equal(file.metadata?.name, "cilium-clustermesh");
  assert.deepEqual(Object.keys(file.data ?? {}), ["c2", "c2-ca.crt", "c2.crt", "c2.key"]);
  assert.deepEqual(textsOf(file), {
    c2:
      "endpoints:\n- https://c2.mesh.cilium.io:32379\n" +
      `trusted-ca-file: ${MOUNT}c2-ca.crt\ncert-file: ${MOUNT}c2.crt\nkey-file: ${MOUNT}c2.key\n` +
      "cilium-host-aliases:\n- hostname: c2.mesh.cilium.io\n  ips:\n  - 10.0.0.2\n",
    "c2-ca.crt": caOf("c2").cert,
    "c2.crt": clientOf(caOf("c2")).cert,
    "c2.key": clientOf(caOf("c2")).key,
  });
});

test("the file of a keyless peer holds no key, and its CA in an annotation", () => {
  const facts = { name: "c2", id: 2, authMode: "cluster" as const, ca: a.cert };
  const file = writePeerFile({ ...peerOf("c2").peer, ca: "importer", client: "importer", facts });
  assert.deepEqual(Object.keys(file.data ?? {}), ["c2"]);
  for (const path of COMMON) assert.equal(textsOf(file).c2?.includes(MOUNT + path), true);
  assert.doesNotMatch(JSON.stringify(file) + JSON.stringify(textsOf(file)), /PRIVATE KEY/);
  assert.equal(file.metadata?.annotations?.["clustermesh-secrets/ca"], a.cert);
});

test("in a target a CA is named by its content, certificate and key by the peer", () => {
  const one = toSecretEntry(peerOf("c2").peer, "target");
  const renewed = toSecretEntry(peerOf("c2", 2, { client: clientOf(caOf("c2"), "remote", 1) }).peer, "target");
  const other = toSecretEntry(peerOf("c3", 3, { ca: { pem: caOf("c2").cert } }).peer, "target");
  const changed = toSecretEntry(peerOf("c2", 2, { ca: { pem: caOf("new").cert } }).peer, "target");
  assert.match(one.ca?.key ?? "", /^ca-[0-9a-f]{16}\.crt$/);
  assert.deepEqual([one.cert?.key, one.key?.key], ["c2.etcd-client.crt", "c2.etcd-client.key"]);
  assert.deepEqual(renewed.config, one.config);
  assert.equal(other.ca?.key, one.ca?.key);
  assert.notEqual(changed.config.trustedCaFile, one.config.trustedCaFile);
  for (const key of [one.ca?.key, one.cert?.key, one.key?.key])
    assert.doesNotMatch(key ?? "", /^(common|local)-etcd-client/);
});

test("every kind of PEM passes through, and a CA in its normal form", () => {
  const middle = intermediateOf("a");
  const rsa = rsaCaOf("r");
  for (const ca of [
    a.cert,
    rsa.cert,
    middle.cert + a.cert,
    a.cert + caOf("b").cert,
    `# my CA\n${a.cert.replaceAll("\n", "\r\n")}`,
  ]) {
    const files = {
      ca,
      crt: clientOf(middle).cert,
      key: clientOf(middle).key,
      c2: configText("https://c2:1", ["ca", "crt", "key"]),
    };
    const [peer] = readPeerFile(secretOf(files), "f").peers;
    assert.deepEqual(peer?.ca, { pem: normalizeCa(ca) });
    assert.deepEqual(peer?.client, clientOf(middle));
  }
  // What cannot be read stays as it is: the rules judge it.
  for (const ca of ["", "junk", a.key]) {
    const files = { ca, crt: client.cert, key: client.key, c2: configText("https://c2:1", ["ca", "crt", "key"]) };
    assert.deepEqual(readPeerFile(secretOf(files), "f").peers[0]?.ca, { pem: ca });
  }
});

test("an invalid or missing reference is reported, with the key", () => {
  const files = { ca: a.cert, crt: client.cert, key: client.key };
  const raw = (path: string) =>
    `endpoints:\n- https://c2:1\ntrusted-ca-file: ${path}\ncert-file: ${MOUNT}crt\nkey-file: ${MOUNT}key\n`;
  const table: [what: string, config: string, code: string][] = [
    ["not YAML", "endpoints: [", "config-invalid"],
    ["not UTF-8", "endpoints: \u0000", "config-invalid"],
    ["of another shape", "endpoints: https://c2:1", "config-invalid"],
    ["a CA that is not there", configText("https://c2:1", ["c2-ca.crt", "crt", "key"]), "file-missing"],
    ["a certificate that is not there", configText("https://c2:1", ["ca", "c2.crt", "key"]), "file-missing"],
    ["a key that is not there", configText("https://c2:1", ["ca", "crt", "c2.key"]), "file-missing"],
    ["no key", `endpoints:\n- https://c2:1\ncert-file: ${MOUNT}crt\n`, "no-client-certificate"],
    ["no certificate", "endpoints:\n- https://c2:1\n", "no-client-certificate"],
    [
      "its own certificate with the common key",
      configText("https://c2:1", ["ca", "crt", COMMON[2]]),
      "no-client-certificate",
    ],
    ["elsewhere", raw("/var/lib/etcd-secrets/ca.crt"), "file-elsewhere"],
    ["in a folder below", raw(`${MOUNT}x/ca`), "file-elsewhere"],
    ["outside", raw(`${MOUNT}../ca`), "file-elsewhere"],
    ["the folder itself", raw(MOUNT), "file-missing"],
    ["relative", raw("ca"), "file-elsewhere"],
  ];
  for (const [what, config, code] of table) {
    const secret = secretOf({ ...files, c2: config });
    assert.deepEqual(codes(secret), [[code, "c2"]], what);
    assert.deepEqual(readPeerFile(secret, "f").peers, [], what);
  }
  assert.deepEqual(codes(secretOf(files)), [["no-peer", undefined]]);
  assert.deepEqual(codes(secretOf({})), [["no-peer", undefined]]);
  assert.deepEqual(codes({ kind: "Secret" }), [["no-peer", undefined]]);
});

test("all findings of a Secret are reported at once, and its valid peers are read", () => {
  const files = {
    ...LAYOUTS["old scripts"]?.files,
    c4: "endpoints: 4",
    c5: configText("https://c5:1", ["x", "y", "z"]),
  };
  const { peers, findings } = readPeerFile(secretOf(files), "f");
  assert.deepEqual(
    peers.map(({ name }) => name),
    ["c2"],
  );
  assert.deepEqual(
    findings.map(({ key, code }) => [key, code]),
    [["c4", "config-invalid"], ...["x", "y", "z"].map(() => ["c5", "file-missing"])],
  );
});

test("fields that are not carried over are warned of", () => {
  const config = `${configText("https://c2:1", ["ca", "crt", "key"])}dial-timeout: 5s\nca-file: /x\n`;
  const { peers, findings } = readPeerFile(
    secretOf({ ca: a.cert, crt: client.cert, key: client.key, c2: config }),
    "f",
  );
  assert.equal(peers.length, 1);
  const fields = "ca-file, dial-timeout";
  assert.deepEqual(findings, [finding("config-fields-ignored", { source: "f", key: "c2" }, { fields })]);
});

test("an id or a maximum that cannot be read is not one that is not there", () => {
  const { peer } = peerOf("c2", 2);
  const codes = (annotations: Record<string, string>) => {
    const secret = writePeerFile(peer);
    const written = Object.entries(annotations).map(([name, value]) => [`clustermesh-secrets/${name}`, value]);
    secret.metadata = { annotations: { ...secret.metadata?.annotations, ...Object.fromEntries(written) } };
    const { peers, findings } = readPeerFile(secret, "f");
    assert.equal(peers.length, 1);
    return findings.map(({ code, key, severity, message }) => {
      assert.deepEqual([key, severity], ["c2", "error"]);
      assert.match(message, /^invalid (?:cluster id|max-connected-clusters) /);
      assert.ok(message.includes(` ${JSON.stringify(Object.values(annotations)[0])}: `), message);
      return code;
    });
  };
  for (const value of ["-1", "abc", "1.5", "0x10", "99999999999", "", " 2", "1e3"]) {
    assert.deepEqual(codes({ "cluster-id": value }), ["id-invalid"], value);
    assert.deepEqual(codes({ "max-connected-clusters": value }), ["maximum-differs"], value);
  }
  assert.deepEqual(codes({ "cluster-id": "7", "max-connected-clusters": "511" }), []);
  // What a target keeps of peers is an aid, and stays one.
  const records = { "clustermesh-secrets/peers": '{"c2": {"id": "abc", "max": "many"}}' };
  const existing = secretOf(LAYOUTS["old scripts"]?.files ?? {}, records);
  assert.deepEqual(readPeerFile(existing, "f").findings, []);
});

test("a cluster's own cache is read as an entry, by either kind of its files", () => {
  for (const own of [COMMON, LOCAL]) {
    const { peers, findings } = readPeerFile(
      secretOf({ c2: configText("https://clustermesh-apiserver.kube-system.svc:2379", own) }),
      "f",
    );
    assert.deepEqual(findings, []);
    assert.equal(peers[0]?.client, "importer");
  }
});

test("data is base64, and stringData lies over it", () => {
  const secret = (data: Record<string, unknown>, stringData?: Record<string, unknown>) =>
    ({ kind: "Secret", data, stringData }) as V1Secret;
  const decoded = decodeFiles(secret({ a: "YQ==", b: "Yg==\n", c: "", d: "YWFh\r\nYWFh" }, { b: "x" }), {
    source: "f",
  });
  assert.deepEqual(decoded.findings, []);
  assert.deepEqual(
    [...decoded.files].map(([key, content]) => [key, content.toString()]),
    [
      ["a", "a"],
      ["b", "x"],
      ["c", ""],
      ["d", "aaaaaa"],
    ],
  );
  for (const value of ["YQ=", "YQ", "Y", "====", "YQ==YQ==", "Y Q=", "YQ-_", "%", null, 5, {}, []]) {
    assert.deepEqual(codes(secret({ c2: value })), [["data-invalid", "c2"]], JSON.stringify(value));
  }
  assert.deepEqual(codes(secret({}, { c2: 5 })), [["data-invalid", "c2"]]);
  assert.deepEqual(decodeFiles({ data: null, stringData: null } as unknown as V1Secret, { source: "f" }).files.size, 0);
});

test("facts are read for the cluster that the file names, and for others from a target's records", () => {
  const files = { ...LAYOUTS["files of any name, shared"]?.files };
  const annotations = {
    "clustermesh-secrets/cluster-name": "c2",
    "clustermesh-secrets/cluster-id": "2",
    "clustermesh-secrets/peers": '{"c2":{"id":9},"c3":{"id":3,"max":511}}',
  };
  const { peers } = readPeerFile(secretOf(files, annotations), "f");
  assert.deepEqual(
    peers.map(({ facts }) => facts),
    [
      { name: "c2", id: 2 },
      { id: 3, maxConnectedClusters: 511 },
    ],
  );
});

test("annotations of a newer schema are warned of, and what is known of them is read", () => {
  const annotations = {
    "clustermesh-secrets/schema": "2",
    "clustermesh-secrets/cluster-name": "c2",
    "clustermesh-secrets/cluster-id": "2",
  };
  const { peers, findings } = readPeerFile(secretOf(LAYOUTS["old scripts"]?.files ?? {}, annotations), "f");
  assert.deepEqual(findings, [finding("schema-newer", { source: "f" }, { schema: "2", supported: 1 })]);
  assert.equal(peers[0]?.facts.id, 2);
});

test("no input Secret crashes the reader", () => {
  const anything = fc.oneof(fc.jsonValue(), fc.constant({ toString: 1, valueOf: 1 }));
  const annotation = fc.constantFrom(
    "clustermesh-secrets/schema",
    "clustermesh-secrets/peers",
    "clustermesh-secrets/ca",
  );
  const text = fc.string().map((rest) => `endpoints:${rest}`);
  const odd = fc.record(
    {
      kind: fc.constant("Secret"),
      data: fc.oneof(fc.dictionary(fc.string(), fc.oneof(fc.base64String(), anything)), fc.constant(null)),
      stringData: fc.dictionary(fc.constantFrom("c2", "__proto__", "x"), fc.oneof(text, anything)),
      metadata: fc.record({
        annotations: fc.oneof(
          fc.dictionary(annotation, fc.oneof(fc.string(), fc.json())),
          fc.dictionary(annotation, anything),
          fc.constant(null),
        ),
      }),
    },
    { requiredKeys: ["kind"] },
  );
  const secret = fc.oneof(
    existingFiles(["c2", "c3"]).map((files) => secretOf(files)),
    odd,
  );
  fc.assert(
    fc.property(secret, (given) => {
      const { secrets, findings } = parseSecrets(JSON.stringify(given), "f");
      const read = secrets.map((one) => readPeerFile(one, "f"));
      const peers = read.flatMap((one) => one.peers);
      const all = [...findings, ...read.flatMap((one) => one.findings)];
      assert.equal(peers.length + all.length > 0, true);
      for (const one of all) assert.doesNotMatch(one.message, /PRIVATE KEY-/);
      for (const peer of peers) assert.deepEqual(readPeerFile(writePeerFile(peer), "f").peers[0]?.client, peer.client);
    }),
    { numRuns: 200 },
  );
});
