/** An endpoint that was given when a cluster was extracted: status, connect and rotate leave it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Node, V1Secret } from "@kubernetes/client-node";
import type { ExtractOptions } from "../../lib/extract/extract.ts";
import { connectMesh } from "../../lib/mesh/connect.ts";
import type { ReadOptions, WriteOptions } from "../../lib/mesh/member.ts";
import { rotate } from "../../lib/mesh/rotate.ts";
import { findingsOf } from "../../lib/mesh/status-report.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { type Joined, joined } from "../support/joined.ts";
import { caOf } from "../support/material.ts";
import { OPTIONS, textsOf } from "../support/targets.ts";

const PROXY = { endpoints: ["10.1.2.3:2379"] };

/** Two clusters, of which c1 has c2 as it was extracted with these options. */
async function meshWith(t: Parameters<typeof joined>[0], options: Partial<ExtractOptions>) {
  const mesh = await joined(t, [{}, { pki: { ca: makeCa({ cn: "Cilium CA", key: "ec" }) } }]);
  await mesh.exchange("c2", "c1", options);
  const read: Omit<ReadOptions, "forExtract"> = { resolve: async () => [], warn: () => {} };
  const write: WriteOptions = {
    ...{ plan: OPTIONS, endpoints: new Map(), resolve: async () => [], dryRun: "none" },
    ...{ warn: () => {}, announce: () => {} },
  };
  const ways = (...names: string[]) => Promise.all(names.map((name) => mesh.way(name)));
  return { mesh, ways, options: { read, write, skipUnreachable: false } };
}

const configOf = (mesh: Joined): string => {
  const secret = mesh.sandbox.clusters[0]?.api.store.read("Secret", "kube-system", "cilium-kvstoremesh");
  return textsOf(secret as V1Secret | undefined).c2 ?? "";
};

const codes = async (mesh: Joined) => findingsOf(await mesh.status()).map(({ code }) => code);

const CHOICES: [what: string, options: Partial<ExtractOptions>, address: string][] = [
  ["--endpoint", PROXY, "10.1.2.3"],
  ["--address-type", { addressTypes: ["ExternalIP"] }, "203.0.113.1"],
  ["--cluster-ip", { clusterIp: true }, "10.96.2.2"],
];
for (const [what, choice, address] of CHOICES) {
  test(`${what}: status, connect and rotate leave what it chose`, async (t) => {
    const { mesh, ways, options } = await meshWith(t, {});
    mesh.change<V1Node & KubernetesObject>("c2", "Node", "c2-node1", ({ status }) => {
      status?.addresses?.push({ type: "ExternalIP", address: "203.0.113.1" });
    });
    mesh.change<KubernetesObject & { spec: object }>("c2", "Service", "clustermesh-apiserver", ({ spec }) => {
      Object.assign(spec, { clusterIP: "10.96.2.2", clusterIPs: ["10.96.2.2"] });
    });
    await mesh.exchange("c2", "c1", choice);
    const before = configOf(mesh);
    assert.ok(before.includes(address), before);
    const status = await mesh.status();
    assert.deepEqual(findingsOf(status), []);
    assert.deepEqual(
      status.pairs.map(({ importer, endpointGiven }) => [importer, endpointGiven]),
      [
        ["c1", true],
        ["c2", undefined],
      ],
    );
    const connected = await connectMesh(await ways("c1", "c2"), options);
    assert.ok("reports" in connected, JSON.stringify(connected));
    const [report] = connected.reports;
    assert.ok(report?.state === "done");
    assert.deepEqual([report.writes, [...report.plan.keptEndpoints.keys()]], [0, ["c2"]]);
    const [source] = await ways("c2");
    await rotate("c2", source, await ways("c1"), { ...options, tell: () => {} });
    assert.equal(configOf(mesh), before);
  });
}

test("renewed certificates reach an importer with a given endpoint, and nothing else changes there", async (t) => {
  const { mesh, ways, options } = await meshWith(t, PROXY);
  mesh.rotate("c2");
  const found = await codes(mesh);
  assert.ok(found.includes("ca-stale") && !found.includes("endpoint-stale"), found.join());
  const ways2 = await ways("c2", "c1");
  const trusted = await rotate("c2", undefined, await ways("c1"), {
    ...options,
    trust: caOf("new").cert,
    tell: () => {},
  });
  assert.ok("reports" in trusted && trusted.reports.length === 1, JSON.stringify(trusted));
  assert.match(configOf(mesh), /10\.1\.2\.3/);
  const rotated = await rotate("c2", ways2[0], ways2.slice(1), { ...options, tell: () => {} });
  assert.ok("reports" in rotated, JSON.stringify(rotated));
  assert.deepEqual(await codes(mesh), []);
  assert.match(configOf(mesh), /10\.1\.2\.3/);
});

test("an endpoint that --endpoint gave at the import is not stale either, whatever else is", async (t) => {
  const { mesh } = await meshWith(t, {});
  mesh.change<V1Secret & KubernetesObject>("c1", "Secret", "cilium-kvstoremesh", ({ data, metadata }) => {
    assert.ok(data && metadata.annotations);
    const config = Buffer.from(data.c2 ?? "", "base64").toString();
    data.c2 = Buffer.from(config.replace(/:32379/, ":2379")).toString("base64");
    metadata.annotations["clustermesh-secrets/peers"] = '{"c2":{"id":2,"max":255,"endpoint":"10.1.2.3:2379"}}';
  });
  mesh.rotate("c2");
  const found = await codes(mesh);
  assert.ok(found.includes("ca-stale") && !found.includes("endpoint-stale"), found.join());
});

test("addresses of nodes that were chosen are stale when such a node goes, and extracting again is the remedy", async (t) => {
  const { mesh } = await meshWith(t, { endpoints: ["172.18.2.1:32379", "172.18.2.2:32379"] });
  assert.deepEqual(await codes(mesh), []);
  mesh.change<V1Node & KubernetesObject>("c2", "Node", "c2-node1", ({ status }) => {
    for (const one of status?.addresses ?? []) if (one.type === "InternalIP") one.address = "172.18.2.101";
  });
  const [stale, ...others] = findingsOf(await mesh.status());
  assert.deepEqual(
    [stale?.code, stale?.message, others],
    ["addresses-stale", "172.18.2.1 is no address of c2 any more", []],
  );
  assert.match(
    stale?.remedy ?? "",
    /^extract-secret --context c2 --endpoint HOST:PORT \| import-secrets --context c1 -$/,
  );
});
