import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, test } from "node:test";
import { clusterObjects, clusterPki, type PkiOptions } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";

const VERSIONS = ["1.10", "1.11", "1.12", "1.13", "1.14", "1.15", "1.16", "1.17", "1.18", "1.19", "1.20"];
const CA = makeCa({ cn: "Cilium CA" });

function describeCluster(version: string, more: Partial<ClusterDescription> = {}): ClusterDescription {
  return { name: "cluster1", id: 1, version, nodes: [{ name: "node1", internalIPs: ["172.18.0.2"] }], ...more };
}

class Objects {
  readonly all: KubernetesObject[];
  constructor(version: string, more: Partial<ClusterDescription> = {}, options: PkiOptions = {}) {
    const description = describeCluster(version, more);
    this.all = clusterObjects(description, clusterPki(description, { key: "ec", ca: CA, ...options }));
  }
  find(kind: string, name: string): KubernetesObject | undefined {
    return this.all.find((object) => object.kind === kind && object.metadata.name === name);
  }
  get(kind: string, name: string): KubernetesObject {
    const object = this.find(kind, name);
    assert.ok(object, `${kind} ${name}`);
    return object;
  }
  text(secret: string, key: string): string {
    const data = this.get("Secret", secret).data[key];
    assert.ok(typeof data === "string", `${secret} ${key}`);
    return Buffer.from(data, "base64").toString();
  }
  /** Returns the source of each file of a volume, as `Kind/name:key`, by path. */
  volume(kind: string, workload: string, name: string): Record<string, string> {
    const { volumes } = this.get(kind, workload).spec.template.spec;
    const volume = volumes.find((candidate: { name: string }) => candidate.name === name);
    const files: Record<string, string> = {};
    for (const source of volume?.projected?.sources ?? []) {
      const object = source.secret ?? source.configMap;
      for (const { key, path } of object.items ?? [{ key: "*", path: "*" }]) {
        files[path] = `${source.secret ? "Secret" : "ConfigMap"}/${object.name}:${key}`;
      }
    }
    if (volume?.secret) files["*"] = `Secret/${volume.secret.secretName}:*`;
    return files;
  }
  containers(): string[] {
    const spec = this.get("Deployment", "clustermesh-apiserver").spec.template.spec;
    return spec.containers.map(({ name }: { name: string }) => name);
  }
  phase(): string {
    return this.all.find(({ kind }) => kind === "Pod")?.status.phase;
  }
}

describe("by version", () => {
  for (const version of VERSIONS) {
    const minor = Number(version.split(".")[1]);
    const objects = new Objects(version);
    test(`${version}: the Secrets with the CA`, () => {
      assert.equal(objects.find("Secret", "clustermesh-apiserver-ca-cert") !== undefined, minor <= 14);
      assert.equal(objects.find("Secret", "cilium-ca") !== undefined, minor >= 12);
      assert.equal(objects.text("clustermesh-apiserver-remote-cert", "ca.crt"), CA.cert);
    });
    test(`${version}: the names and addresses of the server certificate`, () => {
      const server = new X509Certificate(objects.text("clustermesh-apiserver-server-cert", "tls.crt"));
      const covered = (name: string) => server.checkHost(name) !== undefined;
      assert.ok(server.verify(new X509Certificate(CA.cert).publicKey));
      assert.ok(covered("cluster1.mesh.cilium.io"));
      assert.equal(covered("clustermesh-apiserver.cilium.io"), minor <= 19);
      assert.equal(covered("clustermesh-apiserver.kube-system.svc"), minor >= 14);
      assert.equal(server.checkIP("127.0.0.1"), "127.0.0.1");
      assert.equal(server.checkIP("::1") !== undefined, minor >= 11);
      assert.equal(server.checkIP("172.18.0.2"), undefined);
    });
    test(`${version}: the volumes of the agents`, () => {
      const files = objects.volume("DaemonSet", "cilium", "clustermesh-secrets");
      const of = (certificate: string, prefix: string) => ({
        [`${prefix}-client-ca.crt`]: `Secret/clustermesh-apiserver-${certificate}-cert:ca.crt`,
        [`${prefix}-client.crt`]: `Secret/clustermesh-apiserver-${certificate}-cert:tls.crt`,
        [`${prefix}-client.key`]: `Secret/clustermesh-apiserver-${certificate}-cert:tls.key`,
      });
      assert.deepEqual(files, {
        "*": "Secret/cilium-clustermesh:*",
        ...(minor >= 14 && of("remote", "common-etcd")),
        ...(minor >= 16 && of("local", "local-etcd")),
      });
    });
    test(`${version}: KVStoreMesh, etcd users and the phase of the pod`, () => {
      assert.deepEqual(objects.containers(), ["etcd", "apiserver", ...(minor >= 16 ? ["kvstoremesh"] : [])]);
      assert.equal(objects.find("Secret", "clustermesh-apiserver-local-cert") !== undefined, minor >= 16);
      const spec = objects.get("Deployment", "clustermesh-apiserver").spec.template.spec;
      const users = spec.volumes.find(({ name }: { name: string }) => name === "etcd-users-config");
      assert.deepEqual(users?.configMap.name, minor >= 19 ? "clustermesh-remote-users" : undefined);
      assert.equal(users?.configMap.optional, undefined);
      assert.equal(objects.find("ConfigMap", "clustermesh-remote-users"), undefined);
      assert.equal(objects.phase(), minor >= 19 ? "Pending" : "Running");
      assert.match(spec.containers[1].image, new RegExp(`/clustermesh-apiserver:v${version}\\.0$`));
      const config = objects.get("ConfigMap", "cilium-config").data;
      assert.equal(config["max-connected-clusters"], minor >= 15 ? "255" : undefined);
      assert.equal(config["tunnel-protocol"] ?? config.tunnel, "vxlan");
      assert.equal(config["routing-mode"], minor >= 14 ? "tunnel" : undefined);
    });
  }
});

test("every mounted volume exists, and selectors match their pods", () => {
  for (const version of VERSIONS) {
    const options = [
      {},
      { kvstoremesh: true },
      { authMode: "cluster" },
      { kvstoreMode: "external", kvstoremesh: true },
    ] as const;
    for (const more of options) {
      const objects = new Objects(version, { operatorMountsSecret: true, ...more });
      for (const object of objects.all) {
        const spec = object.kind === "Pod" ? object.spec : object.spec?.template?.spec;
        if (!spec) continue;
        const names = spec.volumes.map(({ name }: { name: string }) => name);
        assert.ok(spec.containers.length > 0);
        for (const container of spec.containers) {
          for (const mount of container.volumeMounts) assert.ok(names.includes(mount.name), `${version} ${mount.name}`);
        }
        for (const [key, value] of Object.entries(object.spec.selector?.matchLabels ?? {})) {
          assert.equal(object.spec.template.metadata.labels[key], value);
        }
      }
    }
  }
});

test("authMode: the common name of the client certificate, and users.yaml", () => {
  const peers = [{ name: "cluster2", ips: ["192.0.2.2"], port: 32379 }];
  const subject = (objects: Objects) =>
    new X509Certificate(objects.text("clustermesh-apiserver-remote-cert", "tls.crt")).subject;
  assert.equal(subject(new Objects("1.18")), "CN=remote");
  assert.equal(subject(new Objects("1.20")), "CN=remote");
  assert.equal(subject(new Objects("1.20", { authMode: "cluster" })), "CN=remote-cluster1");
  assert.equal(subject(new Objects("1.13", { authMode: "cluster" })), "CN=remote");
  const users = (version: string, more: Partial<ClusterDescription>) =>
    new Objects(version, { peers, ...more }).find("ConfigMap", "clustermesh-remote-users")?.data["users.yaml"];
  const listed = "- name: remote-cluster2\n  role: remote\n";
  const own = "- name: remote-cluster1\n  role: remote\n";
  assert.equal(users("1.18", {}), undefined);
  assert.equal(users("1.16", { authMode: "migration" }), `users:\n${own}${listed}`);
  assert.equal(users("1.15", { authMode: "migration" }), `users:\n${listed}`);
  assert.equal(users("1.17", { authMode: "migration" }), `users:\n${listed}`);
  assert.equal(users("1.19", {}), undefined);
  assert.equal(users("1.19", { configEnabled: true }), `users:\n${listed}`);
  for (const version of ["1.18", "1.20"]) {
    const more = { authMode: "migration", identityAllocationMode: "kvstore", configEnabled: true } as const;
    assert.equal(users(version, more), undefined);
    assert.equal(new Objects(version, more).phase(), "Pending");
  }
  assert.equal(new Objects("1.20", { configEnabled: true }).phase(), "Running");
  assert.equal(new Objects("1.18", { podReady: false }).phase(), "Pending");
});

test("clustermesh.config: etcd configs, host aliases and Secrets of peers", () => {
  const tls = { cert: "CERT", key: "KEY", ca: "PEERCA" };
  const peers = [
    { name: "cluster2", ips: ["192.0.2.2", "192.0.2.3"], port: 32380 },
    { name: "cluster3", address: "c3.example", port: 2379, tls },
  ];
  const path = "/var/lib/cilium/clustermesh/";
  const config = (url: string, ca: string, own: string) =>
    `endpoints:\n- ${url}\ntrusted-ca-file: ${path}${ca}etcd-client-ca.crt\nkey-file: ${path}${own}etcd-client.key\ncert-file: ${path}${own}etcd-client.crt\n`;
  const named = "https://cluster2.mesh.cilium.io:32380";
  const aliases = peers[0]?.ips?.map((ip) => ({ ip, hostnames: ["cluster2.mesh.cilium.io"] }));
  const spec = (objects: Objects, kind: string, name: string) => objects.get(kind, name).spec.template.spec;

  const agentsOnly = new Objects("1.15", { configEnabled: true, peers });
  assert.equal(agentsOnly.text("cilium-clustermesh", "cluster2"), config(named, "common-", "common-"));
  assert.equal(
    agentsOnly.text("cilium-clustermesh", "cluster3"),
    config("https://c3.example:2379", "cluster3.", "cluster3."),
  );
  assert.equal(agentsOnly.text("cilium-clustermesh", "cluster3.etcd-client-ca.crt"), "PEERCA");
  assert.equal(agentsOnly.text("cilium-clustermesh", "cluster3.etcd-client.key"), "KEY");
  assert.deepEqual(spec(agentsOnly, "DaemonSet", "cilium").hostAliases, aliases);
  assert.equal(spec(agentsOnly, "Deployment", "clustermesh-apiserver").hostAliases, undefined);

  for (const [version, prefix] of [
    ["1.16", "common-"],
    ["1.17", "local-"],
    ["1.20", "local-"],
  ] as const) {
    const mesh = new Objects(version, { configEnabled: true, peers, operatorMountsSecret: true });
    const cache = config("https://clustermesh-apiserver.kube-system.svc:2379", prefix, prefix);
    assert.deepEqual(Object.keys(mesh.get("Secret", "cilium-clustermesh").data), ["cluster2", "cluster3"]);
    assert.equal(mesh.text("cilium-clustermesh", "cluster3"), cache);
    const inConfig =
      version === "1.20"
        ? "cilium-host-aliases:\n- hostname: cluster2.mesh.cilium.io\n  ips:\n    - 192.0.2.2\n    - 192.0.2.3\n"
        : "";
    assert.equal(mesh.text("cilium-kvstoremesh", "cluster2"), config(named, "common-", "common-") + inConfig);
    assert.equal(spec(mesh, "DaemonSet", "cilium").hostAliases, undefined);
    assert.equal(spec(mesh, "Deployment", "cilium-operator").hostAliases, undefined);
    assert.deepEqual(spec(mesh, "Deployment", "clustermesh-apiserver").hostAliases, aliases);
  }
  const operator = new Objects("1.18", { configEnabled: true, peers, operatorMountsSecret: true, kvstoremesh: false });
  assert.deepEqual(spec(operator, "Deployment", "cilium-operator").hostAliases, aliases);
  assert.equal(spec(operator, "Deployment", "cilium-operator").volumes[0].name, "clustermesh-secrets");
  const off = new Objects("1.20", { configEnabled: true, peers, disableHostAliases: true });
  assert.equal(spec(off, "Deployment", "clustermesh-apiserver").hostAliases, undefined);
  const disabled = new Objects("1.18", { peers });
  assert.equal(disabled.find("Secret", "cilium-clustermesh"), undefined);
  assert.equal(spec(disabled, "Deployment", "clustermesh-apiserver").hostAliases, undefined);
  const old = new Objects("1.13", { configEnabled: true, peers });
  assert.equal(old.text("cilium-clustermesh", "cluster2"), config(named, "cluster2.", "cluster2."));
  assert.equal(old.text("cilium-clustermesh", "cluster2.etcd-client-ca.crt"), "");
});

test("caBundle: the volumes that use it, and its object", () => {
  for (const kind of ["ConfigMap", "Secret"] as const) {
    const caBundle = { kind, name: "cilium-root-ca.crt", key: "bundle.pem" };
    const source = `${kind}/cilium-root-ca.crt:bundle.pem`;
    const own = "Secret/clustermesh-apiserver-remote-cert:ca.crt";
    for (const [version, follows] of [
      ["1.17", false],
      ["1.18", true],
    ] as const) {
      const objects = new Objects(version, { caBundle });
      const ca = "common-etcd-client-ca.crt";
      assert.equal(objects.volume("DaemonSet", "cilium", "clustermesh-secrets")[ca], source);
      const mesh = objects.volume("Deployment", "clustermesh-apiserver", "kvstoremesh-secrets");
      assert.equal(mesh[ca], follows ? source : own);
      assert.equal(objects.volume("Deployment", "clustermesh-apiserver", "etcd-server-secrets")["ca.crt"], source);
      const { data } = objects.get(kind, "cilium-root-ca.crt");
      assert.equal(
        kind === "Secret" ? Buffer.from(data["bundle.pem"], "base64").toString() : data["bundle.pem"],
        CA.cert,
      );
    }
    assert.equal(new Objects("1.13", { caBundle }).find(kind, "cilium-root-ca.crt"), undefined);
  }
});

test("kvstoreMode external: kvstoremesh container only, without Service and certificates", () => {
  const more = { kvstoreMode: "external", identityAllocationMode: "kvstore", configEnabled: true } as const;
  const objects = new Objects("1.18", {
    ...more,
    peers: [{ name: "cluster2", address: "c2.example", port: 2379 }],
    etcdEndpoints: ["https://etcd.example:2379"],
  });
  assert.deepEqual(objects.containers(), ["kvstoremesh"]);
  assert.equal(objects.find("Service", "clustermesh-apiserver"), undefined);
  assert.equal(objects.find("Secret", "clustermesh-apiserver-remote-cert"), undefined);
  assert.equal(objects.find("ConfigMap", "clustermesh-remote-users"), undefined);
  assert.match(
    objects.text("cilium-clustermesh", "cluster2"),
    /^endpoints:\n- https:\/\/etcd\.example:2379\ntrusted-ca-file: '\/var\/lib\/etcd-secrets\//,
  );
});

test("Services, nodes, Helm metadata and images follow the description", () => {
  const ingress = [{ hostname: "lb.example" }];
  const objects = new Objects("1.20.2", {
    service: { type: "LoadBalancer", ingress, externalTrafficPolicy: "Local", clusterIPs: ["10.96.0.9", "fd00::9"] },
    helm: true,
    registry: "mirror.example:5000/cilium",
    digest: "sha256:abc",
    replicas: 2,
    certManager: true,
    encryption: "wireguard",
    kubeProxyReplacement: true,
    tunnelProtocol: "disabled",
    clusterPoolCidrs: ["10.1.0.0/16", "fd00:1::/104"],
    nodes: [
      {
        name: "a",
        internalIPs: ["172.18.0.2", "fd00::2"],
        externalIPs: ["192.0.2.1"],
        podCIDRs: ["10.1.0.0/24"],
        created: new Date("2026-02-03T04:05:06.789Z"),
      },
      { name: "b", internalIPs: ["172.18.0.3"], ready: false, unschedulable: true },
    ],
  });
  const service = objects.get("Service", "clustermesh-apiserver");
  assert.deepEqual(service.status.loadBalancer.ingress, ingress);
  assert.equal(service.spec.externalTrafficPolicy, "Local");
  assert.equal(service.spec.clusterIP, "10.96.0.9");
  assert.equal(service.spec.ports[0].nodePort, undefined);
  assert.equal(service.metadata.labels?.["helm.sh/chart"], "cilium-1.20.2");
  assert.equal(service.metadata.labels?.["app.kubernetes.io/managed-by"], "Helm");
  assert.equal(service.metadata.annotations?.["meta.helm.sh/release-name"], "cilium");
  const pods = objects.all.filter(({ kind }) => kind === "Pod");
  assert.deepEqual(
    pods.map(({ spec }) => spec.nodeName),
    ["a", "b"],
  );
  assert.equal(new Set(pods.map(({ metadata }) => metadata.name)).size, 2);
  assert.equal(
    pods[0]?.spec.containers[1].image,
    "mirror.example:5000/cilium/clustermesh-apiserver:v1.20.2@sha256:abc",
  );
  assert.equal(objects.text("cilium-ca", "tls.crt"), CA.cert);
  const config = objects.get("ConfigMap", "cilium-config").data;
  assert.deepEqual(
    [
      "routing-mode",
      "enable-wireguard",
      "kube-proxy-replacement",
      "cluster-pool-ipv4-cidr",
      "cluster-pool-ipv6-cidr",
    ].map((key) => config[key]),
    ["native", "true", "true", "10.1.0.0/16", "fd00:1::/104"],
  );
  assert.equal(objects.get("Node", "a").metadata.creationTimestamp, "2026-02-03T04:05:06Z");
  assert.equal(objects.get("Node", "b").spec.unschedulable, true);
  assert.equal(new Objects("1.19", { service: false }).find("Service", "clustermesh-apiserver"), undefined);
});

test("CSI volumes replace Secrets and are mounted over the projected folder", () => {
  for (const version of ["1.14", "1.18", "1.20"]) {
    const objects = new Objects(version, { csiDriver: "csi.cert-manager.io", kvstoremesh: true });
    const names = objects.all.filter(({ kind }) => kind === "Secret").map(({ metadata }) => metadata.name);
    assert.deepEqual(names, [], version);
    assert.equal(
      objects.phase(),
      version === "1.20" ? "Pending" : "Running",
      "only configmap/clustermesh-remote-users is missing",
    );
    const mounts = (kind: string, name: string, container: string) => {
      const { containers, volumes } = objects.get(kind, name).spec.template.spec;
      const { volumeMounts } = containers.find((one: { name: string }) => one.name === container);
      const driver = (volume: string) => volumes.find((one: { name: string }) => one.name === volume)?.csi?.driver;
      return Object.fromEntries(
        volumeMounts.flatMap((one: { name: string; mountPath: string; subPath?: string }) =>
          driver(one.name) ? [[one.mountPath.replace("/var/lib/cilium/clustermesh/", ""), one.subPath]] : [],
        ),
      );
    };
    const files = (prefix: string) => ({
      [`${prefix}-etcd-client.crt`]: "tls.crt",
      [`${prefix}-etcd-client.key`]: "tls.key",
      [`${prefix}-etcd-client-ca.crt`]: "ca.crt",
    });
    assert.deepEqual(mounts("DaemonSet", "cilium", "cilium-agent"), {
      ...files("common"),
      ...(version !== "1.14" && files("local")),
    });
    const mesh = mounts("Deployment", "clustermesh-apiserver", "kvstoremesh");
    assert.deepEqual(mesh, { ...files("common"), "/var/lib/cilium/etcd-secrets": undefined });
    const etcd = mounts("Deployment", "clustermesh-apiserver", "etcd");
    assert.deepEqual(etcd, { "/var/lib/etcd-secrets": undefined });
  }
  const caBundle = { kind: "ConfigMap", name: "roots", key: "ca.pem" } as const;
  const bundled = new Objects("1.20", { csiDriver: "csi.cert-manager.io", caBundle });
  assert.equal(bundled.get("ConfigMap", "roots").data["ca.pem"], CA.cert);
  assert.doesNotMatch(JSON.stringify(bundled.get("DaemonSet", "cilium")), /clustermesh\/common-etcd-client-ca\.crt/);
});
