import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Installation, type InstallationOptions, readInstallation } from "../../lib/cilium/installation.ts";
import { versionAtLeast } from "../../lib/peer/peer.ts";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { encode } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { UserError } from "../../lib/util/errors.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { countRoundTrips, describeCluster, startCluster, type TestCluster } from "../support/cluster.ts";
import { VERSIONS } from "../support/targets.ts";

const REMOTE = "clustermesh-apiserver-remote-cert";
const SERVER = "clustermesh-apiserver-server-cert";

async function read(
  cluster: TestCluster,
  options: Partial<InstallationOptions> = {},
): Promise<{ installation: Installation; warnings: string[] }> {
  const installation = await readInstallation(cluster.api, { forExtract: true, ...options });
  return { installation, warnings: installation.warnings };
}

async function fails(cluster: TestCluster, exitCode: number, patterns: RegExp[], options = {}): Promise<void> {
  await assert.rejects(read(cluster, options), (error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.equal(error.exitCode, exitCode, error.message);
    for (const pattern of patterns) assert.match(error.message, pattern);
    assert.ok(error.message.split("\n").length <= 2, error.message);
    return true;
  });
}

for (const version of VERSIONS) {
  test(`${version}: reads facts, certificates and mounts in at most two rounds`, async (t) => {
    const since = (minimum: string) => versionAtLeast(version, minimum) === true;
    const cluster = await startCluster(
      t,
      describeCluster({ version: `${version}.3`, digest: `sha256:${"a".repeat(64)}` }),
    );
    const rounds = countRoundTrips(cluster.server);
    const { installation, warnings } = await read(cluster);
    const { facts, folders } = installation;

    assert.deepEqual(facts, {
      namespace: "kube-system",
      version: `${version}.3`,
      name: "cluster2",
      id: 2,
      maxConnectedClusters: 255,
      kvstoreMesh: since("1.16"),
      authMode: since("1.19") ? "migration" : "legacy",
      routingMode: "tunnel",
      tunnelProtocol: "vxlan",
      encryption: "none",
      kubeProxyReplacement: false,
      ipFamilies: ["IPv4"],
      podCidrs: ["10.2.0.0/16"],
      nodePort: 32379,
    });
    assert.equal(installation.remoteCertificate?.cert, cluster.pki.remote.cert);
    assert.equal(installation.remoteCertificate?.key, cluster.pki.remote.key);
    assert.equal(normalizeCa(installation.ca ?? ""), normalizeCa(cluster.pki.ca.cert));
    assert.ok(installation.serverNames.includes("*.mesh.cilium.io"));
    assert.equal(installation.serverNames.includes("clustermesh-apiserver.kube-system.svc"), since("1.14"));
    assert.equal(folders.agents?.files.has("common-etcd-client.crt"), since("1.14"));
    assert.equal(folders.agents?.files.has("local-etcd-client.crt"), since("1.16"));
    assert.equal(folders.kvstoremesh?.files.has("common-etcd-client.crt"), since("1.16") || undefined);
    assert.equal(installation.takesUsers, since("1.19"));
    assert.deepEqual(
      installation.nodes().map(({ name, podCidrs }) => [name, podCidrs]),
      [
        ["node1", ["10.2.1.0/24"]],
        ["node2", ["10.2.2.0/24"]],
      ],
    );
    assert.equal(installation.service()?.spec?.type, "NodePort");
    assert.deepEqual(warnings, []);
    assert.ok(rounds() <= 2, `${rounds()} rounds`);

    const paths = cluster.server.requests.map(({ path }) => path);
    assert.deepEqual(
      paths.filter((path) => /\/secrets(\?|$)/.test(path)),
      [],
      "Secrets are never listed",
    );
    assert.deepEqual(
      paths.filter((path) => /ca-cert|admin-cert|local-cert|cilium-ca|cilium-clustermesh/.test(path)),
      [],
      "requests no Secret with a private key that is not needed",
    );
  });
}

test("detects authMode by the client certificate and the mounts", async (t) => {
  const modes: [Partial<ClusterDescription>, Installation["facts"]["authMode"]][] = [
    [{ version: "1.14", authMode: "migration" }, "migration"],
    [{ version: "1.16", authMode: "cluster" }, "cluster"],
    [{ version: "1.20", authMode: "legacy" }, "legacy"],
    [{ version: "1.20", authMode: "cluster" }, "cluster"],
    [{ version: "1.18", authMode: "cluster", identityAllocationMode: "kvstore" }, "cluster"],
  ];
  for (const [overrides, expected] of modes) {
    const { installation } = await read(await startCluster(t, describeCluster(overrides)));
    assert.equal(installation.facts.authMode, expected, JSON.stringify(overrides));
  }
});

test("reads the CA from the object mounted by the workloads (tls.caBundle)", async (t) => {
  for (const [kind, version] of [
    ["ConfigMap", "1.14"],
    ["Secret", "1.17"],
    ["ConfigMap", "1.20"],
  ] as const) {
    const caBundle = { kind, name: "our-roots", key: "roots.pem" };
    const cluster = await startCluster(t, describeCluster({ version, caBundle, kvstoremesh: true }));
    const other = makeCa({ cn: "unrelated", key: "ec" });
    cluster.change("Secret", REMOTE, ({ data }) => Object.assign(data, encode({ "ca.crt": other.cert })));
    const rounds = countRoundTrips(cluster.server);
    const { installation, warnings } = await read(cluster);
    assert.equal(installation.ca, cluster.pki.ca.cert, `${kind} ${version}`);
    assert.deepEqual(warnings, []);
    assert.ok(rounds() <= 2);
    const content = (folder: "agents" | "kvstoremesh") => {
      const source = installation.folders[folder]?.files.get("common-etcd-client-ca.crt");
      return source && installation.contentOf(source);
    };
    assert.equal(content("agents"), cluster.pki.ca.cert);
    // kvstoremesh follows caBundle only since 1.18: before, one file name has two contents.
    assert.equal(content("kvstoremesh"), version === "1.20" ? cluster.pki.ca.cert : other.cert, `${kind} ${version}`);
  }
});

test("chooses the CA that signed the server certificate, and warns if none did", async (t) => {
  const other = makeCa({ cn: "unrelated", key: "ec" });
  const old = await startCluster(t, describeCluster({ version: "1.12" }));
  old.change("Secret", REMOTE, ({ data }) => Object.assign(data, encode({ "ca.crt": other.cert })));
  const found = await read(old);
  assert.equal(found.installation.ca, old.pki.ca.cert, "from clustermesh-apiserver-ca-cert");
  assert.deepEqual(found.warnings, []);

  const empty = await startCluster(t, describeCluster({ version: "1.10" }));
  empty.change("Secret", REMOTE, ({ data }) => delete data["ca.crt"]);
  assert.equal((await read(empty)).installation.ca, empty.pki.ca.cert);

  const none = await startCluster(t, describeCluster({ version: "1.18" }));
  none.change("Secret", REMOTE, ({ data }) => Object.assign(data, encode({ "ca.crt": other.cert })));
  const { installation, warnings } = await read(none);
  assert.equal(installation.ca, other.cert);
  assert.match(warnings.join(), /not signed by/);
});

test("reads Secrets with the names of older installs", async (t) => {
  const cluster = await startCluster(t, describeCluster({ version: "1.11" }));
  const secret = cluster.server.store.read("Secret", "kube-system", REMOTE);
  cluster.remove("Secret", REMOTE);
  assert.ok(secret);
  cluster.server.store.put({ ...secret, metadata: { name: `${REMOTE}s`, namespace: "kube-system" } });
  const { installation } = await read(cluster);
  assert.equal(installation.remoteCertificate?.key, cluster.pki.remote.key);
  cluster.remove("Secret", `${REMOTE}s`);
  assert.equal((await read(cluster)).installation.remoteCertificate, undefined);
});

test("reads the client certificate from the Secret mounted by the agents", async (t) => {
  const cluster = await startCluster(t, describeCluster({ version: "1.19" }));
  const secret = cluster.server.store.read("Secret", "kube-system", REMOTE);
  assert.ok(secret);
  cluster.server.store.put({ ...secret, metadata: { name: "our-cert", namespace: "kube-system" } });
  cluster.change("Secret", REMOTE, ({ data }) => Object.assign(data, encode({ "tls.key": "stale" })));
  cluster.change("DaemonSet", "cilium", ({ spec }) => {
    const text = JSON.stringify(spec.template.spec.volumes).replaceAll(REMOTE, "our-cert");
    spec.template.spec.volumes = JSON.parse(text);
  });
  const { installation } = await read(cluster);
  assert.equal(installation.remoteCertificate?.key, cluster.pki.remote.key);
  assert.equal(installation.ca, cluster.pki.ca.cert);
});

test("locates Cilium in another namespace, without warnings from the probable one", async (t) => {
  const cluster = await startCluster(t, describeCluster({ namespace: "cilium" }), {
    forbid: [{ namespace: "kube-system" }],
  });
  const rounds = countRoundTrips(cluster.server);
  const { installation, warnings } = await read(cluster);
  assert.equal(installation.namespace, "cilium");
  assert.equal(installation.ca, cluster.pki.ca.cert);
  assert.ok(installation.serverNames.includes("clustermesh-apiserver.cilium.svc"));
  assert.deepEqual(warnings, []);
  assert.equal(rounds(), 2);
});

test("rejects multiple installations with their namespaces, unless one is selected", async (t) => {
  const cluster = await startCluster(t, describeCluster({ namespace: "b-side" }));
  const second = describeCluster({ name: "other", id: 9, namespace: "a-side", nodes: [] });
  for (const object of clusterObjects(second, clusterPki(second, { key: "ec" }))) cluster.server.store.put(object);
  await fails(cluster, 2, [/a-side and b-side/, /--namespace/]);
  const { installation } = await read(cluster, { namespace: "a-side" });
  assert.equal(installation.facts.name, "other");
  assert.equal(installation.namespace, "a-side");
});

test("assumes kube-system with a warning if it cannot list across namespaces", async (t) => {
  const allow = [{ namespace: "kube-system" }, { verb: "list", resource: "nodes" }];
  const cluster = await startCluster(t, describeCluster(), { allow });
  const rounds = countRoundTrips(cluster.server);
  const { installation, warnings } = await read(cluster);
  assert.equal(installation.namespace, "kube-system");
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /kube-system.*--namespace/);
  assert.ok(rounds() <= 2);
  assert.deepEqual((await read(cluster, { namespace: "kube-system" })).warnings, []);
});

test("locates the namespace by pods if Deployments cannot be listed", async (t) => {
  const cluster = await startCluster(t, describeCluster({ namespace: "cilium" }), {
    forbid: [{ verb: "list", resource: "deployments" }],
  });
  const { installation, warnings } = await read(cluster);
  assert.equal(installation.namespace, "cilium");
  assert.deepEqual(warnings, []);
});

test("reports a missing ConfigMap, Deployment or installation in at most two lines", async (t) => {
  const cluster = await startCluster(t, describeCluster());
  cluster.remove("ConfigMap", "cilium-config");
  await fails(cluster, 1, [/configmap\/cilium-config not found/, /kube-system/]);
  cluster.remove("Deployment", "clustermesh-apiserver");
  await fails(cluster, 1, [/no Cilium/, /--namespace/]);
  await fails(cluster, 1, [/no Cilium/, /elsewhere/], { namespace: "elsewhere" });

  const lonely = await startCluster(t, describeCluster());
  lonely.remove("Deployment", "clustermesh-apiserver");
  await fails(lonely, 1, [/deployment\/clustermesh-apiserver not found/, /clustermesh\.useAPIServer/]);

  const external = describeCluster({ kvstoreMode: "external", identityAllocationMode: "kvstore", version: "1.19" });
  await fails(await startCluster(t, external), 1, [/external kvstore/]);
  const ancient = await startCluster(t, describeCluster({ version: "1.15", identityAllocationMode: "kvstore" }));
  ancient.remove("Deployment", "clustermesh-apiserver");
  await fails(ancient, 1, [/external kvstore/]);
});

test("an extraction does not require objects that it can do without", async (t) => {
  const forbid = [
    { resource: "daemonsets" },
    { resource: "pods" },
    { resource: "nodes" },
    { resource: "services" },
    { name: "cilium-operator" },
    { name: "clustermesh-remote-users" },
    { name: SERVER },
  ];
  const cluster = await startCluster(t, describeCluster({ version: "1.20.1" }), { forbid });
  const { installation, warnings } = await read(cluster);
  assert.equal(installation.facts.version, "1.20.1");
  assert.deepEqual(installation.serverNames, [
    "*.mesh.cilium.io",
    "clustermesh-apiserver.kube-system.svc",
    "127.0.0.1",
    "::1",
  ]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", new RegExp(`cannot read secret/${SERVER}: forbidden.*\\*\\.mesh\\.cilium\\.io`));
  assert.equal(installation.ca, cluster.pki.ca.cert);
  assert.throws(() => installation.nodes(), /not allowed to list nodes/);
  assert.throws(() => installation.pods(), /not allowed to list pods/);
  assert.throws(() => installation.service(), /not allowed to get service\//);
  assert.equal(installation.waiting, undefined);
});

test("derives the server names from the version if the Secret is forbidden", async (t) => {
  const names = async (version: string) => {
    const cluster = await startCluster(t, describeCluster({ version }), { forbid: [{ name: SERVER }] });
    return (await read(cluster)).installation.serverNames;
  };
  for (const version of ["1.10", "1.13", "1.14", "1.19", "1.20"]) {
    const cluster = await startCluster(t, describeCluster({ version }));
    const real = (await read(cluster)).installation.serverNames;
    assert.deepEqual(new Set(await names(version)), new Set(real), version);
  }
});

test("warns about a server certificate that is missing or invalid", async (t) => {
  const cluster = await startCluster(t, describeCluster());
  cluster.change("Secret", SERVER, ({ data }) => Object.assign(data, encode({ "tls.crt": "nonsense" })));
  const broken = await read(cluster);
  assert.match(broken.warnings.join(), /tls\.crt of secret\/clustermesh-apiserver-server-cert/);
  assert.ok(broken.installation.serverNames.includes("*.mesh.cilium.io"));
  cluster.remove("Secret", SERVER);
  assert.match((await read(cluster)).warnings.join(), /server-cert not found/);
});

test("reports which required object is forbidden", async (t) => {
  for (const name of ["cilium-config", "clustermesh-apiserver"]) {
    const cluster = await startCluster(t, describeCluster(), { forbid: [{ verb: "get", name }] });
    await fails(cluster, 1, [/not allowed to get/, new RegExp(name), /kube-system/]);
  }
  const cluster = await startCluster(t, describeCluster(), { forbid: [{ name: REMOTE }] });
  const { installation } = await read(cluster);
  assert.match(
    installation.remoteCertificateError?.message ?? "",
    /not allowed to get secret\/clustermesh-apiserver-re/,
  );
});

test("an import does not treat a forbidden object as missing", async (t) => {
  const options = { forExtract: false, secrets: ["cilium-clustermesh", "cilium-kvstoremesh"] };
  const description = describeCluster({ version: "1.19", kvstoremesh: false });
  for (const name of [
    "cilium",
    "cilium-operator",
    "clustermesh-remote-users",
    "cilium-clustermesh",
    "cilium-kvstoremesh",
  ]) {
    const cluster = await startCluster(t, description, { forbid: [{ verb: "get", name }] });
    await fails(cluster, 1, [/not allowed to get/, new RegExp(name)], options);
  }
});

test("an import requests no server certificate and no pods, and nodes only for their pod CIDRs", async (t) => {
  const options = { forExtract: false, secrets: ["cilium-clustermesh"] };
  const cluster = await startCluster(t, describeCluster({ version: "1.19" }));
  cluster.server.store.put({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "cilium-clustermesh", namespace: "kube-system" },
    data: {},
  });
  const { installation, warnings } = await read(cluster, options);
  assert.equal(installation.secrets.get("cilium-clustermesh")?.metadata?.name, "cilium-clustermesh");
  assert.equal(installation.users, undefined);
  assert.equal(installation.takesUsers, true);
  assert.deepEqual(warnings, []);
  const paths = cluster.server.requests.map(({ path }) => path).join("\n");
  assert.doesNotMatch(paths, /server-cert|\/nodes|namespaces\/kube-system\/pods/);

  const nodeCidrs = await startCluster(t, describeCluster({ ipam: "kubernetes" }));
  assert.deepEqual((await read(nodeCidrs, options)).installation.facts.podCidrs, ["10.2.0.0/20"]);
});

test("summarizes pod CIDRs of nodes to covering prefixes, and ignores them in other IPAM modes", async (t) => {
  const nodes = Array.from({ length: 1203 }, (_, i) => ({
    name: `node${i}`,
    internalIPs: [`172.18.${i >> 8}.${i & 255}`],
    podCIDRs: [`10.${64 + (i >> 8)}.${i & 255}.0/24`, `fd00:64:0:${i.toString(16)}::/64`],
  }));
  const cluster = await startCluster(t, describeCluster({ ipam: "kubernetes", nodes, ipv6: true }));
  const { installation } = await read(cluster);
  assert.equal(installation.nodes().length, 1203);
  assert.deepEqual(installation.facts.podCidrs, [
    "10.64.0.0/16",
    "10.65.0.0/16",
    "10.66.0.0/16",
    "10.67.0.0/16",
    "10.68.0.0/16",
    "fd00:64::/52",
  ]);
  assert.deepEqual(installation.facts.ipFamilies, ["IPv4", "IPv6"]);
  assert.equal(cluster.server.requests.filter(({ path }) => path.startsWith("/api/v1/nodes")).length, 3);
  const eni = await startCluster(t, describeCluster({ ipam: "eni" }));
  assert.equal((await read(eni)).installation.facts.podCidrs, undefined);
});

test("reads a default install of 1.19 and 1.20 whose pod is waiting for the users ConfigMap", async (t) => {
  for (const version of ["1.19", "1.20"]) {
    const cluster = await startCluster(t, describeCluster({ version }));
    const { installation } = await read(cluster);
    assert.match(installation.waiting ?? "", /^for configmap\/clustermesh-remote-users \(created by the first import/);
    assert.equal(installation.pods()[0]?.spec?.nodeName, "node1");
  }
  const crashing = await startCluster(t, describeCluster({ podReady: false }));
  crashing.change("Pod", crashing.server.store.all("Pod")[0]?.metadata.name ?? "", ({ status }) => {
    status.containerStatuses[0].state = { waiting: { reason: "CrashLoopBackOff" } };
  });
  assert.equal((await read(crashing)).installation.waiting, "for container etcd: CrashLoopBackOff");
});

test("reads an externally created Service by its name", async (t) => {
  const cluster = await startCluster(t, describeCluster({ version: "1.19", service: false }));
  assert.equal((await read(cluster)).installation.service(), undefined);
  cluster.server.store.put({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "mesh", namespace: "kube-system" },
    spec: { type: "NodePort", ports: [{ port: 2379, nodePort: 30123 }] },
  });
  const { installation } = await read(cluster, { service: "mesh" });
  assert.equal(installation.service()?.metadata?.name, "mesh");
  assert.equal(installation.facts.nodePort, 30123);
});

test("fails if the API server stops", async (t: TestContext) => {
  const cluster = await startCluster(t, describeCluster());
  await read(cluster);
  await cluster.server.stop();
  await assert.rejects(read(cluster), (error) => error instanceof UserError && error.exitCode === 1);
});
