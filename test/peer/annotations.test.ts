import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type PeerRecord,
  readFacts,
  readPeerRecords,
  writeFacts,
  writePeerRecords,
} from "../../lib/peer/annotations.ts";
import type { ClusterFacts } from "../../lib/peer/peer.ts";
import { clusterName, peer } from "../support/arbitraries.ts";

const P = "clustermesh-secrets/";

test("the schema, name by name", () => {
  const facts: Required<ClusterFacts> = {
    name: "c2",
    id: 2,
    maxConnectedClusters: 255,
    version: "1.18.5",
    namespace: "kube-system",
    kvstoreMesh: false,
    authMode: "migration",
    podCidrs: ["10.2.0.0/16", "fd00::/48"],
    routingMode: "tunnel",
    tunnelProtocol: "vxlan",
    encryption: "none",
    kubeProxyReplacement: true,
    ipFamilies: ["IPv4", "IPv6"],
    nodePort: 32379,
    serverNames: ["*.mesh.cilium.io", "127.0.0.1"],
    ca: "-----BEGIN CERTIFICATE-----\n",
    endpointGiven: true,
  };
  assert.deepEqual(writeFacts(facts), {
    [`${P}schema`]: "1",
    [`${P}cluster-name`]: "c2",
    [`${P}cluster-id`]: "2",
    [`${P}max-connected-clusters`]: "255",
    [`${P}cilium-version`]: "1.18.5",
    [`${P}namespace`]: "kube-system",
    [`${P}kvstoremesh`]: "false",
    [`${P}auth-mode`]: "migration",
    [`${P}pod-cidrs`]: "10.2.0.0/16,fd00::/48",
    [`${P}routing-mode`]: "tunnel",
    [`${P}tunnel-protocol`]: "vxlan",
    [`${P}encryption`]: "none",
    [`${P}kube-proxy-replacement`]: "true",
    [`${P}ip-families`]: "IPv4,IPv6",
    [`${P}node-port`]: "32379",
    [`${P}server-names`]: "*.mesh.cilium.io,127.0.0.1",
    [`${P}ca`]: "-----BEGIN CERTIFICATE-----\n",
    [`${P}endpoint`]: "given",
  });
  assert.deepEqual(readFacts(writeFacts(facts)), facts);
  assert.deepEqual(writeFacts({}), { [`${P}schema`]: "1" });
});

test("facts are read as they were written", () => {
  fc.assert(fc.property(peer, ({ facts }) => assert.deepEqual(readFacts(writeFacts(facts)), facts)));
});

test("what cannot be read is absent", () => {
  const wrong: Record<string, string[]> = {
    "cluster-id": ["", "x", "-1", "1.5", "1e3", " 2", "99999999999"],
    "max-connected-clusters": ["", "many"],
    endpoint: ["", "Given", "10.1.2.3:2379"],
    kvstoremesh: ["", "yes", "True", "toString", "constructor", "__proto__"],
    "auth-mode": ["", "none", "constructor"],
    encryption: ["", "ipsec,wireguard"],
    "kube-proxy-replacement": ["strict"],
    "node-port": ["x"],
    "cluster-name": [""],
    ca: [""],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) assert.deepEqual(readFacts({ [P + name]: value }), {}, `${name}: ${value}`);
  }
  assert.deepEqual(readFacts({ [`${P}pod-cidrs`]: "", [`${P}ip-families`]: "IPv4,IPv5,," }), {
    podCidrs: [],
    ipFamilies: ["IPv4"],
  });
  // From files, values may be anything.
  for (const value of [null, 5, true, [], {}, { toString: 1 }] as unknown[]) {
    const annotations = Object.fromEntries(
      Object.keys(writeFacts({ id: 1, kvstoreMesh: true })).map((key) => [key, value]),
    );
    assert.deepEqual(readFacts(annotations as Record<string, never>), {});
  }
});

const record: fc.Arbitrary<PeerRecord> = fc.record(
  { id: fc.integer({ min: 1, max: 511 }), maxConnectedClusters: fc.constantFrom(255, 511) },
  { requiredKeys: [], noNullPrototype: true },
);

test("peer records are read as written, sorted by name, in at most 200 bytes each", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(clusterName, record), { selector: ([name]) => name }), (entries) => {
      const text = writePeerRecords(new Map(entries));
      assert.equal(writePeerRecords(new Map([...entries].reverse())), text);
      const known = entries.filter(([, one]) => Object.keys(one).length > 0);
      if (known.length === 0) assert.equal(text, undefined);
      assert.deepEqual(readPeerRecords(text), new Map([...known].sort(([a], [b]) => (a < b ? -1 : 1))));
      assert.equal((text ?? "").length <= 200 * known.length, true);
    }),
  );
});

test("no annotation crashes the reader of records, and what it reads are numbers", () => {
  const value = fc.oneof(
    fc.string(),
    fc.json(),
    fc.constantFrom("null", "[1]", '{"a":null}', '{"__proto__":{"id":1}}', '{"a":{"id":"1"}}'),
  );
  fc.assert(
    fc.property(value, (text) => {
      for (const { id, maxConnectedClusters } of readPeerRecords(text).values()) {
        assert.equal(id === undefined || typeof id === "number", true);
        assert.equal(maxConnectedClusters === undefined || typeof maxConnectedClusters === "number", true);
      }
    }),
  );
});
