/** An endpoint that was given when a cluster was extracted: status, connect and rotate leave it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Node, V1Secret } from "@kubernetes/client-node";
import type { ExtractOptions } from "../../lib/extract/extract.ts";
import { planConnect } from "../../lib/mesh/connect.ts";
import { type ReadOptions, readMembers } from "../../lib/mesh/member.ts";
import { planRotation, planTrust } from "../../lib/mesh/rotate.ts";
import { findingsOf } from "../../lib/mesh/status-report.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { type JoinedMesh, startJoinedMesh } from "../support/joined-mesh.ts";
import { caOf } from "../support/material.ts";
import { runChange } from "../support/run-import.ts";
import { textsOf } from "../support/targets.ts";

const HOW = { skipUnreachable: false, now: new Date() };
const PROXY = { endpoints: ["10.1.2.3:2379"] };

/** Two clusters, of which c1 has c2 as it was extracted with these options. */
async function meshWith(t: Parameters<typeof startJoinedMesh>[0], options: Partial<ExtractOptions>) {
  const mesh = await startJoinedMesh(t, [{}, { pki: { ca: makeCa({ cn: "Cilium CA", key: "ec" }) } }]);
  await mesh.exchange("c2", "c1", options);
  const read = async ({ forExtract }: Pick<ReadOptions, "forExtract">, ...names: string[]) =>
    readMembers(await Promise.all(names.map((name) => mesh.connectTo(name))), { forExtract, resolve: async () => [] });
  /** Rotates the certificates of c2 in c1. */
  const rotate = async () => {
    const [c2] = (await read({ forExtract: true }, "c2")).members;
    assert.ok(c2);
    return runChange(planRotation(c2, await read({ forExtract: false }, "c1"), HOW));
  };
  return { mesh, read, rotate };
}

const configOf = (mesh: JoinedMesh): string => {
  const secret = mesh.sandbox.clusters[0]?.api.store.read("Secret", "kube-system", "cilium-kvstoremesh");
  return textsOf(secret as V1Secret | undefined).c2 ?? "";
};

const codes = async (mesh: JoinedMesh) => findingsOf(await mesh.status()).map(({ code }) => code);

const CHOICES: [what: string, options: Partial<ExtractOptions>, address: string][] = [
  ["--endpoint", PROXY, "10.1.2.3"],
  ["--address-type", { addressTypes: ["ExternalIP"] }, "203.0.113.1"],
  ["--cluster-ip", { clusterIp: true }, "10.96.2.2"],
];
for (const [what, choice, address] of CHOICES) {
  test(`${what}: status, connect and rotate leave what it chose`, async (t) => {
    const { mesh, read, rotate } = await meshWith(t, {});
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
    const connected = await runChange(planConnect(await read({ forExtract: true }, "c1", "c2"), HOW));
    const [report] = connected.reports ?? [];
    assert.ok(report?.state === "done", JSON.stringify(connected.refused));
    assert.deepEqual([report.writes, [...report.plan.keptEndpoints.keys()]], [0, ["c2"]]);
    await rotate();
    assert.equal(configOf(mesh), before);
  });
}

test("renewed certificates reach an importer with a given endpoint, and nothing else changes there", async (t) => {
  const { mesh, read, rotate } = await meshWith(t, PROXY);
  mesh.rotate("c2");
  const found = await codes(mesh);
  assert.ok(found.includes("ca-stale") && !found.includes("endpoint-stale"), found.join());
  const importers = await read({ forExtract: false }, "c1");
  const trust = planTrust("c2", caOf("new").cert, importers, { skipUnreachable: false, existing: [] });
  assert.equal((await runChange(trust)).reports?.length, 1);
  assert.match(configOf(mesh), /10\.1\.2\.3/);
  assert.ok((await rotate()).reports);
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

test("given addresses of nodes are stale once such a node is gone, and the remedy is to extract again", async (t) => {
  const { mesh } = await meshWith(t, { endpoints: ["172.18.2.1:32379", "172.18.2.2:32379"] });
  assert.deepEqual(await codes(mesh), []);
  mesh.change<V1Node & KubernetesObject>("c2", "Node", "c2-node1", ({ status }) => {
    for (const one of status?.addresses ?? []) if (one.type === "InternalIP") one.address = "172.18.2.101";
  });
  const [stale, ...others] = findingsOf(await mesh.status());
  assert.deepEqual(
    [stale?.code, stale?.message, others],
    ["addresses-stale", "outdated addresses of c2: 172.18.2.1", []],
  );
  assert.match(
    stale?.remedy ?? "",
    /^extract-secret --context c2 --endpoint HOST:PORT \| import-secrets --context c1 -$/,
  );
});
