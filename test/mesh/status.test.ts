import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1Node, V1Secret, V1Service } from "@kubernetes/client-node";
import { stateOf } from "../../lib/mesh/pairs.ts";
import type { MeshStatus } from "../../lib/mesh/status.ts";
import { findingsOf, reportOf } from "../../lib/mesh/status-report.ts";
import { showFindings } from "../../lib/render/findings.ts";
import { showStatus } from "../../lib/render/status.ts";
import { styleFor } from "../../lib/render/style.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { type JoinedMesh, type MemberOptions, startJoinedMesh } from "../support/joined-mesh.ts";
import { configText, LOCAL, secretOf } from "../support/targets.ts";

type Stored<T> = T & KubernetesObject;

/** Each finding as `context (peer): code`, sorted. */
function summarizeFindings({ clusters, pairs }: MeshStatus): string[] {
  const all = [...clusters, ...pairs].flatMap(({ findings }) => findings);
  return all.map(({ source, key, code }) => `${source}${key === undefined ? "" : ` (${key})`}: ${code}`).sort();
}

const THREE: MemberOptions[] = [{ version: "1.20.2" }, { version: "1.18.5" }, { version: "1.14.12" }];

test("three connected clusters of three versions have no findings", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), []);
  assert.deepEqual(status.pairs.map(stateOf), Array(6).fill("ok"));
  const [first] = status.clusters;
  assert.equal(first?.version, "1.20.2");
  assert.deepEqual(first?.addresses, ["172.18.1.1", "172.18.1.2"]);
  assert.deepEqual(
    first?.pods[0]?.containers.map(({ name, ready }) => [name, ready]),
    [
      ["etcd", true],
      ["apiserver", true],
      ["kvstoremesh", true],
    ],
  );
});

test("clusters that are not connected are reported once a pair, and a waiting pod with its reason", async (t) => {
  const mesh = await startJoinedMesh(t, THREE, { apart: true });
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), [
    "c1 (c2): not-connected",
    "c1 (c3): not-connected",
    "c1: pod-not-ready",
    "c2 (c3): not-connected",
  ]);
  assert.match(status.clusters[0]?.waitingFor ?? "", /clustermesh-remote-users/);
});

test("one direction only", async (t) => {
  const mesh = await startJoinedMesh(t, THREE, { apart: true });
  await mesh.exchange("c1", "c2");
  assert.deepEqual(
    summarizeFindings(await mesh.status()).filter((line) => line.startsWith("c1 (c2)")),
    ["c1 (c2): one-sided"],
  );
});

test("another node port: where the peer is looked for, and where it is", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  mesh.change<Stored<V1Service>>("c2", "Service", "clustermesh-apiserver", ({ spec }) => {
    for (const port of spec?.ports ?? []) port.nodePort = 31_000;
  });
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), ["c1 (c2): endpoint-stale", "c3 (c2): endpoint-stale"]);
  const [finding] = status.pairs.flatMap(({ findings }) => findings);
  assert.match(finding?.message ?? "", /endpoint of c2 is https:\/\/c2\.mesh\.cilium\.io:31000 at 172/);
  await mesh.exchange("c2", "c1");
  assert.deepEqual(summarizeFindings(await mesh.status()), ["c3 (c2): endpoint-stale"], "the remedy mends it");
});

test("a node replaced is a warning while another serves, all of them an error", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  const move = (node: string, address: string) =>
    mesh.change<Stored<V1Node>>("c2", "Node", node, ({ status }) => {
      for (const one of status?.addresses ?? []) if (one.type === "InternalIP") one.address = address;
    });
  move("c2-node1", "172.18.2.101");
  assert.deepEqual(summarizeFindings(await mesh.status()), ["c1 (c2): addresses-stale", "c3 (c2): addresses-stale"]);
  move("c2-node2", "172.18.2.102");
  assert.deepEqual(summarizeFindings(await mesh.status()), ["c1 (c2): endpoint-stale", "c3 (c2): endpoint-stale"]);
});

test("an added node is not reported", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  mesh.sandbox.clusters[1]?.api.store.put({
    ...structuredClone(mesh.sandbox.clusters[1].api.store.read("Node", undefined, "c2-node1")),
    metadata: { name: "c2-node3", creationTimestamp: "2026-05-01T00:00:00Z" },
  } as KubernetesObject);
  assert.deepEqual(summarizeFindings(await mesh.status()), []);
});

test("importers with the old CA of a cluster are reported", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  mesh.rotate("c2");
  const lines = summarizeFindings(await mesh.status());
  assert.ok(lines.includes("c1 (c2): ca-stale"), lines.join("; "));
  assert.ok(lines.includes("c3 (c2): ca-stale"), lines.join("; "));
});

test("a client certificate renewed under the same CA is a warning", async (t) => {
  const ca = makeCa({ cn: "Cilium CA", key: "ec" });
  const mesh = await startJoinedMesh(t, [THREE[0] ?? {}, { version: "1.18.5", pki: { ca } }]);
  mesh.rotate("c2", { ca });
  assert.deepEqual(summarizeFindings(await mesh.status()), ["c1 (c2): client-stale"]);
});

const inDays = (days: number) => new Date(Date.now() + days * 86_400_000 + 3_600_000);

test("certificates that expire soon, each reported once: a client's by its importers, a server's by its cluster", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, { pki: { notAfter: inDays(20) } }]);
  assert.deepEqual(summarizeFindings(await mesh.status()), [
    "c1 (c2): certificate-expires",
    "c2: server-certificate-expires",
  ]);
  assert.deepEqual(summarizeFindings(await mesh.status({ expiresWithin: 20 * 86_400_000 })), []);
  const apart = await startJoinedMesh(t, [{}, { pki: { notAfter: inDays(20) } }], { apart: true });
  assert.deepEqual(
    summarizeFindings(await apart.status()).filter((line) => line.startsWith("c2: ")),
    ["c2: certificate-expires", "c2: pod-not-ready", "c2: server-certificate-expires"],
  );
});

test("pairs list the certificates that an importer has for a peer, without files of the importer", async (t) => {
  const ca = makeCa({ cn: "Cilium CA", key: "ec" });
  const pki = { key: "ec", notAfter: new Date("2040-01-02T03:04:05Z") } as const;
  const mesh = await startJoinedMesh(t, [{ pki: { ca } }, { pki }, { pki: { ca } }], { apart: true });
  await mesh.exchange("c2", "c1");
  await mesh.exchange("c3", "c1", { keyless: true });
  const { pairs } = await mesh.status();
  const usesOf = (importer: string, peer: string) =>
    pairs.find((one) => one.importer === importer && one.peer === peer)?.certificates?.map(({ use }) => use);
  assert.deepEqual(usesOf("c1", "c2"), ["client", "ca"]);
  assert.deepEqual(usesOf("c1", "c3"), []);
  const [client] = pairs.find(({ peer }) => peer === "c2")?.certificates ?? [];
  assert.deepEqual([client?.expires, client?.expiresAt], ["2040-01-02", "2040-01-02T03:04:05Z"]);
  assert.equal(usesOf("c2", "c3"), undefined);
});

test("a CA that expires soon", async (t) => {
  const ca = makeCa({ cn: "Cilium CA", key: "ec", notAfter: inDays(20) });
  const mesh = await startJoinedMesh(t, [{}, { pki: { ca } }]);
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), ["c1 (c2): ca-expires"]);
  const [one] = findingsOf(status);
  assert.match(one?.message ?? "", /^the CA CN=Cilium CA expires in 20 days, on \d{4}-\d\d-\d\d$/);
  assert.match(one?.remedy ?? "", /^clustermesh-secrets rotate c2 --context c1 --trust NEW-CA\.crt; /);
});

test("certificates that have expired in their cluster", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, {}], { apart: true });
  const ca = makeCa({ cn: "Cilium CA", key: "ec", notAfter: inDays(-3) });
  mesh.rotate("c2", { ca, notBefore: inDays(-9), notAfter: inDays(-2) });
  assert.deepEqual(
    summarizeFindings(await mesh.status()).filter((line) => line.startsWith("c2: ")),
    ["c2: ca-expired", "c2: certificate-expired", "c2: pod-not-ready", "c2: server-certificate-expired"],
  );
});

test("the remedy renews certificates at their source, and rotates them", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, { pki: { notAfter: inDays(20) } }]);
  const mark = (metadata: KubernetesObject["metadata"] & { managedFields?: unknown }) => {
    for (const name of ["clustermesh-apiserver-remote-cert", "clustermesh-apiserver-server-cert"]) {
      mesh.change<KubernetesObject>("c2", "Secret", name, (object) => {
        object.metadata = { ...object.metadata, annotations: {}, ...metadata, name };
      });
    }
  };
  const date = inDays(20).toISOString().slice(0, 10);
  const remedies = async () => {
    const findings = findingsOf(await mesh.status());
    return findings.map(({ code, remedy }) => [code, remedy]).sort();
  };
  const [client, server] = [
    "clustermesh-secrets rotate c2 --context c1",
    "clustermesh-secrets rotate c2 --all-contexts",
  ];
  const job =
    `kubectl --context c2 --namespace kube-system create job renew-certificates-${date} --from=cronjob/clustermesh-apiserver-generate-certs && ` +
    `kubectl --context c2 --namespace kube-system wait --for=condition=complete --timeout=5m job/renew-certificates-${date}`;
  const renew =
    "helm upgrade cilium cilium/cilium --version 1.20.2 --reuse-values --namespace kube-system --kube-context c2";
  const certgen = { manager: "cilium-certgen", operation: "Update", fieldsV1: { "f:data": {} } };
  const unknown =
    "renew it in c2, as clustermesh.apiserver.tls.auto.method specifies (helm, cronJob or certmanager), then run: ";
  const cases: [metadata: object, command: string][] = [
    [
      { annotations: { "meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": "kube-system" } },
      `${renew} && `,
    ],
    [{ managedFields: [certgen] }, `${job} && `],
    [{ managedFields: [{ ...certgen, fieldsV1: { "f:metadata": {} } }] }, unknown],
    [
      { annotations: { "meta.helm.sh/release-name": "cilium" }, labels: { "helm.toolkit.fluxcd.io/name": "cilium" } },
      unknown,
    ],
    [{}, unknown],
  ];
  for (const [metadata, command] of cases) {
    mark(metadata as KubernetesObject["metadata"]);
    assert.deepEqual(await remedies(), [
      ["certificate-expires", command + client],
      ["server-certificate-expires", command + server],
    ]);
  }
  mark({ annotations: { "cert-manager.io/certificate-name": "mesh cert" } } as unknown as KubernetesObject["metadata"]);
  const [[, remedy] = []] = await remedies();
  assert.equal(
    remedy,
    "cmctl renew 'mesh cert' --context c2 --namespace kube-system && " +
      "while kubectl --context c2 --namespace kube-system get certificate 'mesh cert' " +
      `-o 'jsonpath={.status.conditions[*].type}' | grep -q Issuing; do sleep 2; done && ${client}`,
  );
});

test("a remedy for several importers names them all, and beyond five takes every context", async (t) => {
  for (const [size, flags] of [
    [3, "--context c1 --context c3"],
    [7, "--all-contexts"],
  ] as const) {
    const parts: MemberOptions[] = Array.from({ length: size }, (_, i) =>
      i === 1 ? { pki: { notAfter: inDays(20) } } : {},
    );
    const findings = findingsOf(await (await startJoinedMesh(t, parts)).status());
    const clients = findings.filter(({ code }) => code === "certificate-expires");
    assert.equal(clients.length, size - 1);
    const style = styleFor({ isTTY: false } as never, {});
    const [remedy] = showFindings(clients, style).slice(-1);
    assert.ok(remedy?.endsWith(`then run: clustermesh-secrets rotate c2 ${flags}`), remedy);
  }
});

test("for an old certificate of a peer that has a new one the remedy is rotate alone", async (t) => {
  const ca = makeCa({ cn: "Cilium CA", key: "ec" });
  const mesh = await startJoinedMesh(t, [{}, { pki: { ca, notAfter: inDays(20) } }]);
  mesh.rotate("c2", { ca });
  const findings = findingsOf(await mesh.status());
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["certificate-expires", "client-stale"],
  );
  assert.equal(findings[0]?.remedy, "clustermesh-secrets rotate c2 --context c1");
});

test("a cluster's own certificates with their dates, for people and for programs", async (t) => {
  const mesh = await startJoinedMesh(t, [
    {},
    { pki: { notAfter: inDays(20), ca: makeCa({ cn: "CA", notAfter: inDays(40) }) } },
  ]);
  const status = await mesh.status();
  const [, second] = status.clusters;
  const date = (days: number) => inDays(days).toISOString().slice(0, 10);
  assert.deepEqual(
    second?.certificates?.map(({ use, expires, daysLeft }) => [use, expires, daysLeft]),
    [
      ["client", date(20), 20],
      ["server", date(20), 20],
      ["ca", date(40), 40],
    ],
  );
  const style = styleFor({ isTTY: false } as never, {});
  const wide = `certificates: client until ${date(20)} (20 days), server until ${date(20)} (20 days), CA until ${date(40)} (40 days)`;
  assert.ok(
    showStatus(status, style, { wide: true }).some((line) => line.includes(wide)),
    showStatus(status, style, { wide: true }).join("\n"),
  );
  assert.ok(!showStatus(status, style).some((line) => line.includes("certificates:")));
});

test("an unreadable server certificate is not reported", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, { pki: { notAfter: inDays(20) } }]);
  mesh.remove("c2", "Secret", "clustermesh-apiserver-server-cert");
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), ["c1 (c2): certificate-expires"]);
  assert.deepEqual(
    status.clusters[1]?.certificates?.map(({ use }) => use),
    ["client", "ca"],
  );
});

test("ids, names and maxima that clash", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, {}, {}]);
  const config = (cluster: string, data: Record<string, string>) =>
    mesh.change<Stored<V1ConfigMap>>(cluster, "ConfigMap", "cilium-config", (object) => {
      Object.assign(object.data ?? {}, data);
    });
  config("c2", { "cluster-id": "1" });
  config("c3", { "max-connected-clusters": "511" });
  const lines = summarizeFindings(await mesh.status());
  assert.ok(lines.includes("c2: id-duplicate"), lines.join("; "));
  assert.ok(lines.includes("c3: maximum-differs"), lines.join("; "));
});

test("what holds for a pair is reported once, and counts in the state of both directions", async (t) => {
  const mesh = await startJoinedMesh(
    t,
    [{}, {}, { tunnelProtocol: "geneve" as const }].map((part) => ({ clusterPoolCidrs: ["10.0.0.0/8"], ...part })),
  );
  const status = await mesh.status();
  const found = (findings: { code: string; clusters?: [string, string] }[]) =>
    findings.map(({ code, clusters }) => `${code} ${[...(clusters ?? [])].sort().join(" ")}`).sort();
  const expected = [
    "pod-cidrs-overlap c1 c2",
    "pod-cidrs-overlap c1 c3",
    "pod-cidrs-overlap c2 c3",
    "tunnel-differs c1 c3",
    "tunnel-differs c2 c3",
  ];
  assert.deepEqual(found(findingsOf(status)), expected);
  const report = reportOf(status);
  assert.deepEqual(found([...report.clusters, ...report.pairs].flatMap(({ findings }) => findings)), expected);
  assert.deepEqual(
    report.pairs.map(({ importer, peer, state }) => `${importer} ${peer} ${state}`),
    ["c1 c2", "c1 c3", "c2 c1", "c2 c3", "c3 c1", "c3 c2"].map((pair) => `${pair} warning`),
  );
});

test("two clusters of one id are reported once, and each pair of an importer with both as peers is an error", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, {}, {}]);
  mesh.change<Stored<V1ConfigMap>>("c2", "ConfigMap", "cilium-config", (object) => {
    Object.assign(object.data ?? {}, { "cluster-id": "3" });
  });
  const status = await mesh.status();
  const twice = findingsOf(status).filter(({ code }) => code === "id-duplicate" || code === "id-of-target");
  assert.deepEqual(
    twice.map(({ code, source, clusters }) => [code, source, clusters]),
    [["id-duplicate", "c3", ["c2", "c3"]]],
  );
  const states = reportOf(status).pairs.map(({ importer, peer, state }) => `${importer} ${peer} ${state}`);
  for (const pair of ["c2 c3 error", "c3 c2 error", "c1 c3 error"]) assert.ok(states.includes(pair), states.join("; "));
});

test("existing peers of unknown id that no context leads to are reported", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, {}, {}]);
  const ways = [await mesh.connectTo("c1"), await mesh.connectTo("c2")];
  assert.deepEqual(summarizeFindings(await mesh.status({}, ways)), [
    "c1 (c3): peer-not-compared",
    "c2 (c3): peer-not-compared",
  ]);
  for (const name of ["cilium-clustermesh", "cilium-kvstoremesh"]) {
    mesh.change<KubernetesObject>("c1", "Secret", name, ({ metadata }) => {
      delete metadata.annotations;
    });
  }
  const again = [await mesh.connectTo("c1"), await mesh.connectTo("c2")];
  assert.deepEqual(summarizeFindings(await mesh.status({}, again)), [
    "c1 (c3): id-unknown",
    "c1 (c3): peer-not-compared",
    "c2 (c3): peer-not-compared",
  ]);
});

test("a cluster that does not answer has a row with the error", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  await mesh.sandbox.clusters[2]?.api.stop();
  const status = await mesh.status();
  assert.match(status.clusters[2]?.error ?? "", /refused/);
  assert.deepEqual(summarizeFindings(status), [
    "c1 (c3): peer-not-compared",
    "c2 (c3): peer-not-compared",
    "c3: cluster-unreadable",
  ]);
  const text = showStatus(status, styleFor({}, {})).join("\n");
  assert.match(text, /^c3 .* unreadable /m);
  assert.match(text, /^3 clusters \(1 unreadable\), unhealthy/m);
});

test("two contexts for one cluster: both are rows, and it is judged once", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  const ways = await Promise.all([
    mesh.connectTo("c1"),
    mesh.connectTo("c2"),
    mesh.connectTo("c2", "again"),
    mesh.connectTo("c3"),
  ]);
  const status = await mesh.status({}, ways);
  assert.deepEqual(summarizeFindings(status), ["again: same-cluster"]);
  assert.deepEqual(
    status.clusters.map(({ source, name, error }) => [source, name, error]),
    [
      ["c1", "c1", undefined],
      ["c2", "c2", undefined],
      ["again", "c2", undefined],
      ["c3", "c3", undefined],
    ],
  );
  assert.equal(status.clusters[2]?.findings[0]?.message, "skipped: same cluster as context c2");
  assert.deepEqual(
    status.pairs.map(({ importer, peer }) => `${importer} ${peer}`),
    ["c1 c2", "c1 c3", "c2 c1", "c2 c3", "c3 c1", "c3 c2"],
  );
  const lines = showStatus(status, styleFor({}, {}));
  assert.match(lines[0] ?? "", /^CLUSTER +NAME .* c1 +c2 +c3$/, "one column");
  assert.match(lines[2] ?? "", /^c2 +c2 +2 +1\.18\.5 .* ✓ +– +✓$/);
  assert.match(lines[3] ?? "", /^again +c2 +2 +1\.18\.5 .* 1 warning +\? +\? +\?$/);
});

test("two clusters of one etcd's copy, renamed, are two", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  const { uid } = mesh.sandbox.clusters[0]?.api.store.read("ConfigMap", "kube-system", "cilium-config")?.metadata ?? {};
  mesh.change<KubernetesObject>("c2", "ConfigMap", "cilium-config", ({ metadata }) => {
    metadata.uid = String(uid);
  });
  assert.deepEqual(summarizeFindings(await mesh.status()), []);
});

test("KVStoreMesh turned on by an upgrade, without its peers", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, { version: "1.15.0", kvstoremesh: false }]);
  const upgraded = await startJoinedMesh(t, [{}, { version: "1.18.5", kvstoremesh: true }], { apart: true });
  const { store } = (mesh.sandbox.clusters[1] as (typeof mesh.sandbox.clusters)[0]).api;
  for (const [kind, name] of [
    ["Deployment", "clustermesh-apiserver"],
    ["DaemonSet", "cilium"],
  ] as const) {
    const object = upgraded.sandbox.clusters[1]?.api.store.read(kind, "kube-system", name);
    if (object) store.put(object);
  }
  const lines = summarizeFindings(await mesh.status());
  assert.ok(lines.includes("c2 (c1): layout-outdated"), lines.join("; "));
  assert.ok(!lines.some((line) => line.includes("host-alias-missing")), "kvstoremesh does not reach it yet");
});

test("authMode cluster: a peer that no longer lets the importer in", async (t) => {
  const ca = makeCa({ cn: "Cilium CA", key: "ec" });
  const mesh = await startJoinedMesh(
    t,
    [1, 2].map(() => ({ authMode: "cluster" as const, pki: { ca } })),
  );
  assert.deepEqual(summarizeFindings(await mesh.status()), []);
  mesh.change<Stored<V1ConfigMap>>("c2", "ConfigMap", "clustermesh-remote-users", (object) => {
    object.data = { "users.yaml": "users: []\n" };
  });
  assert.deepEqual(summarizeFindings(await mesh.status()), ["c1 (c2): user-missing"]);
});

test("before 1.20: host aliases of a workload that are other addresses than the config's", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, { version: "1.18.5", kvstoremesh: false }]);
  assert.deepEqual(summarizeFindings(await mesh.status()), []);
  mesh.change<Stored<V1DaemonSet>>("c2", "DaemonSet", "cilium", ({ spec }) => {
    for (const alias of spec?.template.spec?.hostAliases ?? []) alias.ip = alias.ip?.replace("172.18.1.", "172.18.9.");
  });
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), ["c2 (c1): host-alias-missing"]);
  const [one] = status.pairs.flatMap(({ findings }) => findings);
  assert.equal(one?.message, "daemonset/cilium has outdated host aliases for c1.mesh.cilium.io");
  assert.equal(one?.remedy, "clustermesh-secrets connect c2 c1 --restart-agents");
});

test("before 1.20: host aliases that a workload lost", async (t) => {
  const mesh = await startJoinedMesh(t, [{}, { version: "1.18.5", kvstoremesh: false }, { version: "1.18.5" }]);
  mesh.change<Stored<V1DaemonSet>>("c2", "DaemonSet", "cilium", ({ spec }) => {
    delete spec?.template.spec?.hostAliases;
  });
  mesh.change<Stored<V1Deployment>>("c3", "Deployment", "clustermesh-apiserver", ({ spec }) => {
    delete spec?.template.spec?.hostAliases;
  });
  const lines = summarizeFindings(await mesh.status());
  for (const pair of ["c2 (c1)", "c2 (c3)", "c3 (c1)", "c3 (c2)"]) {
    assert.ok(lines.includes(`${pair}: host-alias-missing`), lines.join("; "));
  }
});

test("external workloads' certificate is looked at up to 1.17", async (t) => {
  const mesh = await startJoinedMesh(t, [{ version: "1.16.0" }, { version: "1.18.5" }]);
  for (const cluster of mesh.sandbox.clusters) {
    const { cert, key } = cluster.pki.remote;
    const secret: V1Secret = { data: { "tls.crt": cert, "tls.key": key } };
    const data = Object.fromEntries(
      Object.entries(secret.data ?? {}).map(([k, v]) => [k, Buffer.from(v).toString("base64")]),
    );
    cluster.api.store.put({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "clustermesh-apiserver-client-cert", namespace: "kube-system" },
      data,
    } as KubernetesObject);
  }
  const later = new Date(Date.now() + 2 * 365 * 86_400_000 + 360 * 86_400_000);
  const lines = summarizeFindings(await mesh.status({ now: later }));
  const own = lines.filter((line) => line.includes("clustermesh-apiserver-client-cert"));
  assert.deepEqual(own, ["c1 (clustermesh-apiserver-client-cert): certificate-expires"]);
});

test("each cluster's API is read once, in a number of requests that does not grow with the peers", async (t) => {
  const counts: number[] = [];
  for (const size of [2, 5]) {
    const mesh = await startJoinedMesh(
      t,
      Array.from({ length: size }, () => ({ version: "1.20.2" })),
    );
    const before = mesh.sandbox.clusters[0]?.api.requests.length ?? 0;
    await mesh.status();
    counts.push((mesh.sandbox.clusters[0]?.api.requests.length ?? 0) - before);
  }
  assert.equal(counts[0], counts[1]);
  assert.ok((counts[0] ?? 99) <= 16, String(counts[0]));
});

/** Merges a peer into a Secret, as Submariner does. */
function merge(mesh: JoinedMesh, cluster: string, secret: string, files: Record<string, string>): void {
  mesh.change<Stored<V1Secret>>(cluster, "Secret", secret, (object) => {
    for (const [key, text] of Object.entries(files)) {
      object.data = { ...object.data, [key]: Buffer.from(text).toString("base64") };
    }
  });
}

const SUBMARINER = {
  submariner: configText("https://127.0.0.1:12379", ["submariner-ca.pem", "submariner.pem", "submariner.key"]),
  "submariner-ca.pem": "expired, or whatever",
};

test("a node-local peer has a state and no findings, with KVStoreMesh and without", async (t) => {
  const mesh = await startJoinedMesh(t, THREE);
  for (const cluster of ["c1", "c3"]) merge(mesh, cluster, "cilium-clustermesh", SUBMARINER);
  const status = await mesh.status({ probe: { stepTimeout: 100 } });
  assert.deepEqual(
    summarizeFindings(status).filter((line) => /submariner/.test(line)),
    [],
  );
  const pairs = reportOf(status).pairs.filter(({ peer }) => peer === "submariner");
  assert.deepEqual(
    pairs.map(({ importer, state, configured, nodeLocal, context }) => [
      importer,
      state,
      configured,
      nodeLocal,
      context,
    ]),
    [
      ["c1", "node-local", true, true, undefined],
      ["c3", "node-local", true, true, undefined],
    ],
  );
  assert.deepEqual(
    status.probes?.filter(({ name }) => name === "submariner").map(({ source, skipped }) => [source, skipped]),
    [
      ["c1", "node-local"],
      ["c3", "node-local"],
    ],
  );
});

test("one of the mesh's own clusters that others reach by a tunnel is not one-sided, nor is it compared", async (t) => {
  const mesh = await startJoinedMesh(
    t,
    [{ version: "1.20.2" }, { version: "1.20.2", service: { type: "ClusterIP" } }],
    {
      apart: true,
    },
  );
  mesh.sandbox.clusters[0]?.api.store.put(secretOf({ c2: SUBMARINER.submariner }) as Stored<V1Secret>);
  const status = await mesh.status();
  assert.deepEqual(
    status.pairs.map((pair) => [pair.importer, pair.peer, stateOf(pair)]),
    [
      ["c1", "c2", "node-local"],
      ["c2", "c1", "missing"],
    ],
  );
});

test("one that an earlier version moved to KVStoreMesh: an error, with the command that moves it back", async (t) => {
  const mesh = await startJoinedMesh(t, [{ version: "1.18.5" }, { version: "1.20.2" }]);
  merge(mesh, "c1", "cilium-kvstoremesh", SUBMARINER);
  merge(mesh, "c1", "cilium-clustermesh", {
    submariner: configText("https://clustermesh-apiserver.kube-system.svc:2379", LOCAL),
  });
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), ["c1 (submariner): node-local-misplaced"]);
  const [one] = findingsOf(status);
  assert.deepEqual([one?.severity, one?.remedy], ["error", "import-secrets --context c1 --migrate"]);
});

test("clusters at loopback addresses are warned of once each", async (t) => {
  const nodes = (ip: string) => [{ name: "n", internalIPs: [ip] }];
  const mesh = await startJoinedMesh(t, [{ nodes: nodes("127.18.1.2") }, { nodes: nodes("127.18.2.2") }]);
  const status = await mesh.status();
  assert.deepEqual(summarizeFindings(status), ["c1: loopback-address", "c2: loopback-address"]);
  assert.deepEqual(status.pairs.map(stateOf), ["ok", "ok"]);
  const alone = await mesh.status({}, [await mesh.connectTo("c1")]);
  assert.ok(summarizeFindings(alone).includes("c1 (c2): loopback-address"), "and of a peer that no context leads to");
});
