import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { V1PodSpec, V1Volume } from "@kubernetes/client-node";
import fc from "fast-check";
import { chartServerNames } from "../../lib/cilium/server-names.ts";
import { type Extraction, type ExtractOptions, extract, extractWhenReachable } from "../../lib/extract/extract.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { encode } from "../../lib/sandbox/object.ts";
import { UserError } from "../../lib/util/errors.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { describeCluster, startCluster, type TestCluster } from "../support/cluster.ts";
import { textsOf, VERSIONS } from "../support/targets.ts";

const REMOTE = "clustermesh-apiserver-remote-cert";

async function run(
  { api }: TestCluster,
  { waitTimeout = 0, ...options }: Partial<ExtractOptions> & { waitTimeout?: number } = {},
): Promise<Extraction & { text: string; waits: string[] }> {
  const waits: string[] = [];
  const all: ExtractOptions = {
    endpoints: [],
    addresses: 3,
    addressTypes: ["InternalIP", "ExternalIP"],
    clusterIp: false,
    resolve: async () => [],
    ...options,
  };
  if (waitTimeout === 0) {
    const extraction = await extract(api, all);
    return { ...extraction, text: JSON.stringify(writePeerFile(extraction.peer)), waits };
  }
  const steps = extractWhenReachable(api, waitTimeout, all);
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return { ...value, text: JSON.stringify(writePeerFile(value.peer)), waits };
    waits.push(value);
  }
}

async function fails(cluster: TestCluster, patterns: RegExp[], options: Parameters<typeof run>[1] = {}) {
  await assert.rejects(run(cluster, options), (error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.equal(error.exitCode, 1);
    for (const pattern of patterns) assert.match(error.message, pattern);
    assert.ok(error.message.split("\n").length <= 2, error.message);
    return true;
  });
}

for (const version of VERSIONS) {
  test(`${version}: writes the drop-in form of the old scripts, which reads back as the same peer`, async (t) => {
    const cluster = await startCluster(t, describeCluster({ version }));
    const { peer } = await run(cluster);
    const secret = writePeerFile(peer);
    const texts = textsOf(secret);
    assert.equal(secret.metadata?.name, "cilium-clustermesh");
    assert.deepEqual(Object.keys(texts).sort(), ["cluster2", "cluster2-ca.crt", "cluster2.crt", "cluster2.key"]);
    assert.equal(texts["cluster2.crt"], cluster.pki.remote.cert);
    assert.equal(texts["cluster2.key"], cluster.pki.remote.key);
    assert.equal(texts["cluster2-ca.crt"], normalizeCa(cluster.pki.ca.cert));
    assert.match(texts.cluster2 ?? "", /^endpoints:\n- https:\/\/cluster2\.mesh\.cilium\.io:32379\n/);
    assert.match(texts.cluster2 ?? "", /172\.18\.2\.1/);
    const back = readPeerFile(secret, "cluster2-secret.json");
    assert.deepEqual(back.findings, []);
    assert.deepEqual(back.peers, [peer]);
    assert.equal(peer.facts.ca, undefined, "the file contains the CA itself");
  });
}

test("authMode cluster: extracts no certificate and key, and the CA as a fact", async (t) => {
  const cluster = await startCluster(t, describeCluster({ version: "1.20", authMode: "cluster" }));
  const { peer, text } = await run(cluster);
  assert.equal(peer.client, "importer");
  assert.equal(peer.ca, "importer");
  assert.equal(peer.facts.ca, normalizeCa(cluster.pki.ca.cert));
  assert.deepEqual(Object.keys(textsOf(writePeerFile(peer))), ["cluster2"]);
  assert.doesNotMatch(text, /PRIVATE KEY/);
  assert.ok(!text.includes(Buffer.from(cluster.pki.remote.key).toString("base64")));
});

test("fails for a cluster without a valid name and id", async (t) => {
  const cases = [
    [{ name: "default" }, /cluster-name is "default"/],
    [{ id: 0 }, /cluster-id is 0/],
    [{ name: "Cluster_2" }, /Cluster_2/],
  ] as const;
  for (const [overrides, pattern] of cases) {
    await fails(await startCluster(t, describeCluster(overrides)), [pattern]);
  }
  const cluster = await startCluster(t, describeCluster({ id: 0 }));
  await fails(cluster, [/cluster\.id/, /cluster\.name/]);
});

test("fails if certificates are missing, incomplete, invalid or forbidden", async (t) => {
  const cluster = await startCluster(t, describeCluster());
  cluster.change("Secret", REMOTE, ({ data }) => delete data["tls.key"]);
  await fails(cluster, [/no client certificate for peers/, new RegExp(REMOTE)]);
  cluster.change("Secret", REMOTE, (secret) => {
    secret.data = encode({ "tls.crt": cluster.pki.remote.cert, "tls.key": cluster.pki.remote.key });
  });
  await fails(cluster, [/CA certificate not found/]);
  cluster.change("Secret", REMOTE, ({ data }) =>
    Object.assign(data, encode({ "ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" })),
  );
  await fails(cluster, [/the cluster's CA certificate/]);
  cluster.remove("Secret", REMOTE);
  await fails(cluster, [/no client certificate for peers/, /extract-secret --keyless$/]);
  const forbidden = await startCluster(t, describeCluster(), { forbid: [{ name: REMOTE }] });
  await fails(forbidden, [/not allowed to get secret\//, /auth can-i get secrets/]);
});

test("forbidden objects are an error only if the endpoint depends on them", async (t) => {
  const without = (resource: string) => startCluster(t, describeCluster(), { forbid: [{ resource }] });
  for (const [resource, pattern] of [
    ["nodes", /not allowed to list nodes/],
    ["services", /not allowed to get service\//],
  ] as const) {
    const cluster = await without(resource);
    await fails(cluster, [pattern]);
    const { peer } = await run(cluster, { endpoints: ["10.9.9.9:2379"] });
    assert.deepEqual(peer.hostAliases[0]?.ips, ["10.9.9.9"]);
  }
  const local = describeCluster({ service: { externalTrafficPolicy: "Local" } });
  const cluster = await startCluster(t, local, { forbid: [{ resource: "pods" }] });
  await fails(cluster, [/not allowed to list pods/]);
});

test("extracts a default install that is waiting for the first import, with a note", async (t) => {
  const { peer, warnings, notes } = await run(await startCluster(t, describeCluster({ version: "1.20" })));
  assert.equal(peer.name, "cluster2");
  assert.deepEqual(notes, [
    "cluster2: clustermesh-apiserver is not running yet: waiting for configmap/clustermesh-remote-users (created by the first import into this cluster)",
  ]);
  assert.deepEqual(warnings, []);
});

test("warns about a pod that is waiting for another reason", async (t) => {
  const cluster = await startCluster(t, describeCluster({ version: "1.18", podReady: false }));
  const { warnings, notes } = await run(cluster);
  assert.deepEqual(notes, []);
  assert.deepEqual(warnings, [
    "cluster2: clustermesh-apiserver is not running yet: waiting for container etcd: ContainerCreating",
  ]);
});

test("marks the endpoint as given if an option chose it, except for the number of addresses", async (t) => {
  const cluster = await startCluster(t, describeCluster({ service: { clusterIP: "10.96.0.9" } }));
  const choices: [options: Partial<ExtractOptions>, given: true | undefined][] = [
    [{}, undefined],
    [{ addresses: 1 }, undefined],
    [{ keyless: true }, undefined],
    [{ endpoints: ["10.9.9.9:2379"] }, true],
    [{ clusterIp: true }, true],
    [{ addressTypes: ["InternalIP"] }, true],
    [{ service: "clustermesh-apiserver" }, true],
    [{ serverNames: ["etcd.example"] }, true],
  ];
  for (const [options, given] of choices) {
    const { peer, text } = await run(cluster, options);
    assert.equal(peer.facts.endpointGiven, given, JSON.stringify(options));
    assert.equal(text.includes('"clustermesh-secrets/endpoint":"given"'), given === true, text.slice(0, 900));
  }
});

test("waits for the address of a load balancer, until a timeout", async (t) => {
  const service = { type: "LoadBalancer" } as const;
  const cluster = await startCluster(t, describeCluster({ service }));
  await fails(cluster, [/no address yet/, /--wait/]);
  await fails(
    cluster,
    [/timed out after 0\.1s waiting for service\/clustermesh-apiserver to get a load balancer address/],
    { waitTimeout: 100 },
  );
  let requests = 0;
  cluster.server.onRequest = ({ path }) => {
    if (path.endsWith("/services/clustermesh-apiserver") && ++requests === 2) {
      cluster.change("Service", "clustermesh-apiserver", (object) => {
        object.status = { loadBalancer: { ingress: [{ ip: "203.0.113.7" }] } };
      });
    }
    return undefined;
  };
  const { peer, waits } = await run(cluster, { waitTimeout: 30_000 });
  assert.deepEqual(peer.hostAliases, [{ hostname: "cluster2.mesh.cilium.io", ips: ["203.0.113.7"] }]);
  assert.deepEqual(peer.endpoints, ["https://cluster2.mesh.cilium.io:2379"]);
  assert.deepEqual(waits, ["waiting for service/clustermesh-apiserver to get a load balancer address"]);
});

test("output does not change if a pod moves, a node is added, or a status changes", async (t) => {
  const cluster = await startCluster(t, describeCluster({ ipam: "kubernetes", nodes: nodes(5) }));
  const first = await run(cluster);
  const [pod] = cluster.server.store.all("Pod");
  cluster.change("Pod", pod?.metadata.name ?? "", ({ spec }) => Object.assign(spec, { nodeName: "node5" }));
  cluster.server.store.put({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "node6", creationTimestamp: "2026-02-01T00:00:00Z" },
    spec: { podCIDRs: ["10.2.9.0/24"] },
    status: {
      addresses: [{ type: "InternalIP", address: "172.18.2.9" }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  });
  cluster.change("Node", "node5", ({ status }) => Object.assign(status, { conditions: [] }));
  assert.equal((await run(cluster)).text, first.text);
  // Removing the oldest node changes the addresses.
  cluster.remove("Node", "node1");
  assert.notEqual((await run(cluster)).text, first.text);
});

const nodes = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    name: `node${i + 1}`,
    internalIPs: [`172.18.2.${i + 1}`],
    podCIDRs: [`10.2.${i + 1}.0/24`],
    created: new Date(Date.UTC(2026, 0, i + 1)),
  }));

test("property: output does not depend on the order of lists", async (t: TestContext) => {
  const cluster = await startCluster(t, describeCluster({ ipam: "kubernetes", nodes: nodes(7), replicas: 3 }));
  const first = await run(cluster);
  const all = cluster.server.store.all("Node");
  const ask = (order: typeof all) => {
    cluster.server.onRequest = ({ path }) =>
      path.startsWith("/api/v1/nodes")
        ? { status: 200, body: { kind: "NodeList", apiVersion: "v1", metadata: {}, items: order } }
        : undefined;
    return run(cluster);
  };
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(all, { minLength: all.length }), async (order) => {
      assert.equal((await ask(order)).text, first.text);
    }),
    { numRuns: 25 },
  );
});

test("names the permission that an extraction for external workloads lacks", async (t) => {
  for (const name of ["clustermesh-apiserver-client-cert", REMOTE]) {
    const cluster = await startCluster(t, describeCluster({ version: "1.16" }), { forbid: [{ name }] });
    cluster.server.store.put({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "clustermesh-apiserver-client-cert", namespace: "kube-system" },
      data: encode({ "tls.crt": "cert", "tls.key": "key" }),
    });
    await fails(cluster, [new RegExp(`not allowed to get secret/${name} `)], { externalWorkload: true });
  }
});

test("extracts the certificate of external workloads, up to Cilium 1.17", async (t) => {
  const cluster = await startCluster(t, describeCluster({ version: "1.16" }));
  await fails(cluster, [/no certificate for external workloads/], { externalWorkload: true });
  const { cert, key } = cluster.server.clientCertificate("externalworkload");
  const put = (name: string) =>
    cluster.server.store.put({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name, namespace: "kube-system" },
      data: encode({ "tls.crt": cert, "tls.key": key }),
    });
  // The name in older installs through the CLI.
  put("clustermesh-apiserver-client-certs");
  const { peer } = await run(cluster, { externalWorkload: true });
  assert.deepEqual(peer.client, { cert, key });
  assert.deepEqual(peer.endpoints, (await run(cluster)).peer.endpoints);
  assert.equal(typeof peer.ca, "object");

  // Only the CA is in an object, a ConfigMap.
  const caBundle = { kind: "ConfigMap", name: "roots", key: "ca.pem" } as const;
  const csi = await startCluster(t, describeCluster({ version: "1.16", csiDriver: "csi.example", caBundle }));
  csi.server.store.put({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "clustermesh-apiserver-client-cert", namespace: "kube-system" },
    data: encode({ "tls.crt": cert, "tls.key": key }),
  });
  // kvstoremesh, which would be the reader, mounts the bundle only in later versions.
  csi.change("Deployment", "clustermesh-apiserver", ({ spec }) => {
    const { template } = spec;
    template.spec.containers = template.spec.containers.filter(({ name }: { name: string }) => name !== "kvstoremesh");
  });
  const workload = await run(csi, { externalWorkload: true });
  assert.deepEqual([workload.peer.client, workload.peer.ca], [{ cert, key }, { pem: normalizeCa(csi.pki.ca.cert) }]);
  assert.doesNotMatch(workload.warnings.join("\n"), /without CA and key/);

  const newer = await startCluster(t, describeCluster({ version: "1.18" }));
  await fails(newer, [/external workloads were removed in Cilium 1\.18/], { externalWorkload: true });
});

test("extracts without keys and with the names of the chart if CSI volumes provide the certificates, and warns", async (t) => {
  for (const version of ["1.14", "1.18", "1.20"]) {
    for (const kvstoremesh of [false, true]) {
      const cluster = await startCluster(
        t,
        describeCluster({ version, kvstoremesh, csiDriver: "csi.cert-manager.io" }),
      );
      const { peer, text, warnings } = await run(cluster);
      assert.equal(peer.client, "importer");
      assert.equal(peer.ca, "importer");
      assert.equal(peer.facts.ca, undefined, "unreadable");
      assert.equal(peer.facts.authMode, version === "1.20" ? undefined : "legacy", "according to the Deployment");
      assert.deepEqual(peer.endpoints, ["https://cluster2.mesh.cilium.io:32379"]);
      assert.deepEqual(peer.hostAliases, [{ hostname: "cluster2.mesh.cilium.io", ips: ["172.18.2.1", "172.18.2.2"] }]);
      assert.deepEqual(peer.facts.serverNames, chartServerNames({ version, namespace: "kube-system" }));
      const texts = textsOf(writePeerFile(peer));
      assert.deepEqual(Object.keys(texts), ["cluster2"]);
      assert.match(texts.cluster2 ?? "", /trusted-ca-file: \S*\/common-etcd-client-ca\.crt/);
      assert.match(texts.cluster2 ?? "", /cert-file: \S*\/common-etcd-client\.crt/);
      const back = readPeerFile(writePeerFile(peer), "f");
      assert.deepEqual([back.findings, back.peers], [[], [peer]]);
      assert.equal((await run(cluster)).text, text, "the same bytes");
      const lines = warnings.filter((line) => !/is not running yet/.test(line));
      assert.equal(lines.length, 2, lines.join("\n"));
      assert.match(
        lines[1] ?? "",
        /server certificate .*"etcd-server-secrets" \(CSI driver csi\.cert-manager\.io\).*\*\.mesh/,
      );
      assert.match(lines[1] ?? "", /--server-name/);
      assert.match(lines[0] ?? "", /"common-etcd-client" \(CSI driver csi\.cert-manager\.io\), not from Secrets/);
    }
  }
});

test("external certificates: extracts a CA in a ConfigMap, and ignores Secrets that are not mounted", async (t) => {
  const caBundle = { kind: "ConfigMap", name: "roots", key: "ca.pem" } as const;
  const bundled = await startCluster(t, describeCluster({ version: "1.20", csiDriver: "csi.example", caBundle }));
  assert.equal((await run(bundled)).peer.facts.ca, normalizeCa(bundled.pki.ca.cert), "for importers to compare");
  bundled.change("ConfigMap", "roots", (object) => {
    object.data = { "ca.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" };
  });
  const unreadable = await run(bundled);
  assert.equal(unreadable.peer.facts.ca, undefined);
  assert.match(unreadable.warnings.join("\n"), /the cluster's CA certificate .*; extracted without it/);

  // Placeholder Secrets, whose files are hidden by other mounts.
  const left = await startCluster(t, describeCluster({ version: "1.18", csiDriver: "csi.example" }));
  const stale = await startCluster(t, describeCluster({ version: "1.18" }));
  for (const name of [REMOTE, "clustermesh-apiserver-server-cert"]) {
    const secret = stale.server.store.read("Secret", "kube-system", name);
    assert.ok(secret);
    left.server.store.put(secret);
  }
  const { peer } = await run(left);
  assert.equal(peer.client, "importer");
  assert.equal(peer.facts.ca, undefined, "the CA of the placeholder is not used either");
});

test("detects external certificates also by the volume of the server certificate, but no other", async (t) => {
  const without = async (by: (spec: V1PodSpec) => void, annotations = {}) => {
    const cluster = await startCluster(t, describeCluster({ version: "1.20" }));
    cluster.remove("Secret", REMOTE);
    cluster.change("Deployment", "clustermesh-apiserver", ({ spec }) => {
      by(spec.template.spec);
      spec.template.metadata.annotations = annotations;
    });
    return cluster;
  };
  const replace = (name: string, source: Partial<V1Volume>) => (spec: V1PodSpec) => {
    spec.volumes = (spec.volumes ?? []).map((volume) => (volume.name === name ? { name, ...source } : volume));
  };
  const csi = { csi: { driver: "secrets-store.csi.k8s.io" } };
  const external: [string, (spec: V1PodSpec) => void, Record<string, string>?][] = [
    ["CSI driver secrets-store.csi.k8s.io", replace("etcd-server-secrets", csi)],
    ["emptyDir", replace("etcd-server-secrets", { emptyDir: { medium: "Memory" } })],
    [
      "Vault agent",
      (spec) => {
        const etcd = spec.containers.find(({ name }) => name === "etcd");
        if (etcd) etcd.args = ["--cert-file", "/vault/secrets/tls.crt"];
      },
      { "vault.hashicorp.com/agent-inject": "true" },
    ],
  ];
  for (const [type, by, annotations] of external) {
    const { peer, warnings } = await run(await without(by, annotations));
    assert.equal(peer.client, "importer", type);
    assert.ok(
      warnings.some((line) => line.includes(`(${type}), not from Secrets`)),
      warnings.join("\n"),
    );
  }
  for (const by of [() => {}, replace("etcd-admin-client", csi), replace("etcd-data-dir", csi)]) {
    await fails(await without(by), [/no client certificate for peers/, /--keyless/]);
  }
});

test("--keyless: requires no Secret, and extracts the CA as a fact if it can be read", async (t) => {
  const cluster = await startCluster(t, describeCluster({ version: "1.18" }));
  const { peer, text, warnings } = await run(cluster, { keyless: true });
  assert.equal(peer.client, "importer");
  assert.equal(peer.ca, "importer");
  assert.equal(peer.facts.ca, normalizeCa(cluster.pki.ca.cert));
  assert.equal(peer.facts.authMode, "legacy");
  assert.doesNotMatch(text, /PRIVATE KEY/);
  assert.deepEqual(warnings, []);
  assert.deepEqual(peer.endpoints, (await run(cluster)).peer.endpoints);

  const forbidden = await startCluster(t, describeCluster(), { forbid: [{ resource: "secrets" }] });
  const unread = await run(forbidden, { keyless: true });
  assert.deepEqual(unread.peer.hostAliases, peer.hostAliases);
  assert.equal(unread.peer.facts.ca, undefined);
  assert.match(unread.warnings.join("\n"), /forbidden.*\*\.mesh\.cilium\.io/);
});

test("uses given server names in the URL if they exclude the mesh name, and compares them with the certificate", async (t) => {
  const description = describeCluster({ version: "1.20", csiDriver: "csi.example", podReady: true });
  const cluster = await startCluster(t, description);
  const named = async (...serverNames: string[]) => {
    const { peer, warnings } = await run(cluster, { serverNames });
    assert.deepEqual(peer.facts.serverNames, serverNames);
    assert.ok(!warnings.some((line) => /assuming/.test(line)), warnings.join("\n"));
    return [peer.endpoints[0], peer.hostAliases.map(({ hostname }) => hostname)];
  };
  assert.deepEqual(await named("mesh2.example.com"), ["https://mesh2.example.com:32379", ["mesh2.example.com"]]);
  assert.deepEqual(await named("*.example.com"), ["https://cluster2.example.com:32379", ["cluster2.example.com"]]);
  const mesh = ["https://cluster2.mesh.cilium.io:32379", ["cluster2.mesh.cilium.io"]];
  assert.deepEqual(await named("a.example", "*.mesh.cilium.io"), mesh);
  assert.deepEqual(await named("172.18.2.2"), ["https://172.18.2.2:32379", []]);
  // In every importer this name resolves to its own Service.
  await fails(cluster, [/covers neither .*only clustermesh-apiserver\.kube-system\.svc/], {
    serverNames: ["clustermesh-apiserver.kube-system.svc"],
  });

  const readable = await startCluster(t, describeCluster({ version: "1.18" }));
  const { peer, warnings } = await run(readable, { serverNames: ["a.example", "c2.mesh.cilium.io", "127.0.0.1"] });
  assert.deepEqual(peer.endpoints, ["https://a.example:32379"]);
  assert.deepEqual(warnings, [
    "the server certificate in secret/clustermesh-apiserver-server-cert does not cover a.example",
  ]);
});
