import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import fc from "fast-check";
import { checkPeer } from "../../lib/peer/checks/check-peer.ts";
import { checkNodeLocal } from "../../lib/peer/checks/endpoint.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { inspectPeers } from "../../lib/peer/inspect.ts";
import type { Peer, SourcedPeer } from "../../lib/peer/peer.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { showInspection } from "../../lib/render/inspect.ts";
import { styleFor } from "../../lib/render/style.ts";
import { issue } from "../../lib/sandbox/pki.ts";
import { peer as anyPeer } from "../support/arbitraries.ts";
import { caOf, clientOf, DAY, freshClient, NOW } from "../support/material.ts";
import { COMMON, configText, peerOf, secretOf } from "../support/targets.ts";

const ca = caOf("a");
const plain = styleFor({}, {});

function inspect(peers: SourcedPeer[], found: Finding[] = []) {
  return inspectPeers(peers, [...found, ...peers.flatMap((one) => checkPeer(one, NOW))], NOW);
}

/** As a file would be read. */
function read(secret: V1Secret): SourcedPeer[] {
  const { peers, layouts } = readPeerFile(secret, "f.json");
  return peers.map((peer) => ({ peer, source: "f.json", layout: layouts.get(peer.name) }));
}

const texts = (inspection: ReturnType<typeof inspect>) => showInspection(inspection, plain).join("\n");
const full = (name: string, id: number, facts: Peer["facts"] = {}): SourcedPeer => {
  const { peer, source } = peerOf(name, id);
  return { peer: { ...peer, facts: { ...peer.facts, ...facts } }, source };
};

test("a file of ours: where it leads to, as whom, until when", () => {
  const { cert, key } = freshClient(ca, { notAfter: new Date(NOW.getTime() + 100 * DAY + 1000) });
  const peer: Peer = {
    name: "c2",
    endpoints: ["https://c2.mesh.cilium.io:32379"],
    hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["172.18.2.2"] }],
    ca: { pem: ca.cert },
    client: { cert, key },
    facts: { name: "c2", id: 2, version: "1.18.5", serverNames: ["*.mesh.cilium.io"] },
  };
  const inspection = inspect(read(writePeerFile(peer)));
  const [report] = inspection.peers;
  assert.equal(report?.verdict, "connects");
  assert.equal(report?.layout, "clustermesh-secrets");
  assert.deepEqual(report?.endpoints, [
    { url: "https://c2.mesh.cilium.io:32379", addresses: ["172.18.2.2"], covered: true },
  ]);
  assert.deepEqual([report?.user, report?.keyMatches], ["remote", true]);
  assert.ok(typeof report?.client === "object" && report.client.daysLeft === 100, JSON.stringify(report?.client));
  assert.match(texts(inspection), /^c2 \(f\.json\): would connect$/m);
});

test("a file of the old scripts: not with the certificates that the chart makes, and why", () => {
  const { cert, key } = clientOf(ca);
  const files = ["c2-ca.crt", "c2.crt", "c2.key"] as const;
  const secret = secretOf({
    c2: configText("https://172.18.2.2:32379", files),
    "c2-ca.crt": ca.cert,
    "c2.crt": cert,
    "c2.key": key,
  });
  const inspection = inspect(read(secret));
  assert.equal(inspection.peers[0]?.layout, "old-scripts");
  assert.equal(inspection.peers[0]?.verdict, "default-certificates");
  const text = texts(inspection);
  assert.match(text, /would not connect if its server certificate is the chart's default/);
  assert.match(
    text,
    /the endpoint is the IP address 172\.18\.2\.2, which the chart's server certificates do not cover/,
  );
  assert.match(text, /^0 of 1 peer would connect$/m);
});

test("every layout in the field is recognized by the files that its config references", () => {
  const { cert, key } = clientOf(ca);
  const chart = { "c2.etcd-client.crt": cert, "c2.etcd-client.key": key };
  const cases: [string, V1Secret][] = [
    ["chart-shared-ca", secretOf({ c2: configText("https://c2.mesh.cilium.io:2379", COMMON) })],
    [
      "chart",
      secretOf({
        c2: configText("https://c2.mesh.cilium.io:2379", [
          "c2.etcd-client-ca.crt",
          "c2.etcd-client.crt",
          "c2.etcd-client.key",
        ]),
        "c2.etcd-client-ca.crt": ca.cert,
        ...chart,
      }),
    ],
    [
      "chart-mixed",
      secretOf({
        c2: configText("https://c2.mesh.cilium.io:2379", [COMMON[0], "c2.etcd-client.crt", "c2.etcd-client.key"]),
        ...chart,
      }),
    ],
  ];
  for (const [layout, secret] of cases) assert.equal(inspect(read(secret)).peers[0]?.layout, layout);
});

test("a peer without a key is inspected as such", () => {
  const [one] = [full("c2", 2)];
  assert.ok(one);
  const inspection = inspect([{ ...one, peer: { ...one.peer, ca: "importer", client: "importer" } }]);
  assert.equal(inspection.peers[0]?.client, "importer");
  assert.match(texts(inspection), /certificate of the importing cluster \(no key in this file\)/);
});

test("a node-local peer gets the verdict node-local, and the remedy to set its endpoint", () => {
  const url = "https://127.0.0.1:12379";
  const [peer] = read(secretOf({ submariner: configText(url, COMMON) }));
  assert.ok(peer);
  const inspection = inspect([peer, full("c2", 2)], checkNodeLocal(peer));
  assert.deepEqual(
    inspection.peers.map(({ verdict }) => verdict),
    ["node-local", "connects"],
  );
  const text = texts(inspection);
  assert.match(text, /^submariner \(f\.json\): node-local: reachable only from the same node$/m);
  assert.match(text, /\[endpoint-node-local\]\n.*--endpoint submariner=127\.0\.0\.1:12379$/m);
  assert.doesNotMatch(text, /migrate/);
  assert.match(text, /^1 of 2 peers would connect$/m);
});

test("addresses of a name that are loopback addresses are warned of", () => {
  const one = full("c2", 2);
  const hostAliases = [{ hostname: "c2.mesh.cilium.io", ips: ["127.18.2.2"] }];
  const inspection = inspect([{ ...one, peer: { ...one.peer, hostAliases } }]);
  assert.deepEqual(
    inspection.peers.map(({ verdict, findings }) => [verdict, findings.map(({ code }) => code)]),
    [["warnings", ["loopback-address"]]],
  );
});

test("several files: what does not fit together", () => {
  const codes = (...peers: SourcedPeer[]) => {
    const { peers: reports, findings } = inspect(peers);
    return [...new Set([...findings, ...reports.flatMap((report) => report.findings)].map(({ code }) => code))];
  };
  assert.deepEqual(codes(full("c2", 2), full("c3", 3)), []);
  assert.ok(codes(full("c2", 2), full("c3", 2)).includes("id-duplicate"));
  assert.ok(
    codes(full("c2", 2, { maxConnectedClusters: 255 }), full("c3", 3, { maxConnectedClusters: 511 })).includes(
      "maximum-differs",
    ),
  );
  assert.ok(
    codes(full("c2", 2, { podCidrs: ["10.0.0.0/8"] }), full("c3", 3, { podCidrs: ["10.3.0.0/16"] })).includes(
      "pod-cidrs-overlap",
    ),
  );
  const vxlan = { routingMode: "tunnel", tunnelProtocol: "vxlan" };
  assert.ok(codes(full("c2", 2, vxlan), full("c3", 3, { routingMode: "native" })).includes("tunnel-differs"));
  assert.ok(
    codes(full("c2", 2, { encryption: "ipsec" }), full("c3", 3, { encryption: "none" })).includes("encryption-differs"),
  );
  const cluster = (name: string, id: number, pem: string) => full(name, id, { authMode: "cluster", ca: pem });
  assert.ok(codes(cluster("c2", 2, ca.cert), cluster("c3", 3, caOf("b").cert)).includes("ca-differs"));
  assert.ok(!codes(cluster("c2", 2, ca.cert), cluster("c3", 3, ca.cert)).includes("ca-differs"));
});

test("what holds for two peers is a finding of one of them, and counts in the verdict of both", () => {
  const { peers, findings } = inspect([full("c2", 2), full("c3", 2), full("c4", 4)]);
  assert.deepEqual(
    peers.map(({ name, verdict, findings }) => [name, verdict, findings.map(({ clusters }) => clusters)]),
    [
      ["c2", "fails", []],
      ["c3", "fails", [["c3", "c2"]]],
      ["c4", "connects", []],
    ],
  );
  assert.deepEqual(findings, []);
});

test("equal node ports are warned of where kube-proxy replacement before 1.19 would take them for its own", () => {
  const at = (name: string, id: number, version: string): SourcedPeer => {
    const one = full(name, id, { version, kubeProxyReplacement: true, nodePort: 32_379 });
    return { ...one, peer: { ...one.peer, endpoints: [`https://${name}.mesh.cilium.io:32379`] } };
  };
  const codes = (...peers: SourcedPeer[]) =>
    inspect(peers).peers.flatMap(({ name, findings }) => findings.map(({ code }) => `${name} ${code}`));
  const both = [at("c2", 2, "1.18.0"), at("c3", 3, "1.18.0")];
  assert.deepEqual(codes(...both), ["c2 same-node-port"], "of the pair, once");
  assert.deepEqual(inspect(both).peers[0]?.findings[0]?.clusters, ["c3", "c2"]);
  const oneWay = [at("c2", 2, "1.20.0"), at("c3", 3, "1.18.0")];
  assert.deepEqual(codes(...oneWay), ["c2 same-node-port"]);
  assert.equal(inspect(oneWay).peers[0]?.findings[0]?.clusters, undefined);
  assert.deepEqual(codes(at("c2", 2, "1.20.0"), at("c3", 3, "1.20.0")), []);
});

test("certificates from the year 1 on, and to 9999, are read as they are", () => {
  const years = (from: number, to: number) => {
    const notBefore = new Date(0);
    notBefore.setUTCFullYear(from, 0, 2);
    return { notBefore, notAfter: new Date(Date.UTC(to, 11, 30)) };
  };
  for (const [from, to] of [
    [50, 9999],
    [1, 2049],
    [1949, 2050],
  ] as const) {
    const client = issue(ca, { cn: "remote", usage: "client", key: "ec", ...years(from, to) });
    const one = full("c2", 2);
    const [report] = inspect([{ ...one, peer: { ...one.peer, ca: { pem: ca.cert }, client } }]).peers;
    assert.ok(typeof report?.client === "object");
    assert.equal(report.client.validFrom.slice(0, 10), `${String(from).padStart(4, "0")}-01-02`);
    assert.equal(report.client.expires.slice(0, 10), `${to}-12-30`);
  }
});

test("a client certificate without a name is reported, with the reason why it would not connect", () => {
  const one = full("c2", 2);
  const client = freshClient(ca, { cn: "" });
  const inspection = inspect([{ ...one, peer: { ...one.peer, ca: { pem: ca.cert }, client } }]);
  const [report] = inspection.peers;
  assert.deepEqual([report?.verdict, report?.user], ["fails", undefined]);
  const text = texts(inspection);
  assert.match(text, /client {3}\(no name\), EC/);
  assert.match(text, /authenticates as user \(none\)/);
  assert.match(text, /\[no-common-name\]/);
});

test("10,000 names in a certificate of a megabyte, and names with terminal escapes", () => {
  const dns = Array.from({ length: 10_000 }, (_, i) => `${"long-".repeat(12)}${i}.example`);
  const client = issue(ca, { cn: "re\u001b[2Jmote", usage: "client", key: "ec", dns });
  assert.ok(client.cert.length > 1_000_000);
  const one = full("c2", 2);
  const inspection = inspect([{ ...one, peer: { ...one.peer, ca: { pem: ca.cert }, client } }]);
  const [report] = inspection.peers;
  assert.ok(typeof report?.client === "object" && report.client.names.length === 10_000);
  const text = texts(inspection);
  assert.ok(!text.includes("\u001b"), "no escape reaches the terminal");
  assert.ok(text.length < 5_000, "and no wall of names");
});

test("every peer is reported, without any part of its key", () => {
  fc.assert(
    fc.property(fc.array(anyPeer, { minLength: 1, maxLength: 4 }), (peers) => {
      const inspection = inspect(peers.map((peer, i) => ({ peer, source: `${i}.json` })));
      const printed = `${JSON.stringify(inspection)}${texts(inspection)}`;
      assert.equal(inspection.peers.length, peers.length);
      for (const { client } of peers) {
        const body = client === "importer" ? [] : client.key.split("\n").filter((line) => !/^(-----|$)/.test(line));
        for (const line of body) assert.ok(!printed.includes(line), "a line of the key");
      }
    }),
    { numRuns: 60 },
  );
});

test("a name with line breaks or without end keeps what is found of it, in its own lines", () => {
  for (const name of ["c2\nerror: all is lost", "k".repeat(100_000), clientOf(ca).key.split("\n")[1] ?? ""]) {
    const { peer } = peerOf("c2", 2);
    const inspection = inspect([{ peer: { ...peer, name }, source: "f\n.json" }]);
    const [report] = inspection.peers;
    assert.equal(report?.verdict, "fails", "its findings are its own");
    assert.deepEqual(
      report?.findings.map(({ code }) => code),
      ["name-invalid"],
    );
    const lines = texts(inspection).split("\n");
    assert.ok(
      lines.every((line) => line.length < 700 && !line.startsWith("error: all")),
      texts(inspection),
    );
    if (name.length !== 100_000) assert.ok(!texts(inspection).includes(name));
  }
});

test("many files have a line each, and all findings below", () => {
  const peers = Array.from({ length: 50 }, (_, i) => full(`c${i + 1}`, i === 30 ? 7 : i + 1));
  const lines = showInspection(inspect(peers), plain);
  assert.ok(lines.length < 65, String(lines.length));
  assert.match(lines.join("\n"), /\[id-duplicate\]/);
  assert.ok(showInspection(inspect(peers), plain, true).length > 200);
});
