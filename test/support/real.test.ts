/** Tests of the harness: the real servers are configured as documented, and Cilium's verdict depends on the files. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { after, before, describe, test } from "node:test";
import { type ClusterPki, clusterPki } from "../../lib/sandbox/chart.ts";
import { encode } from "../../lib/sandbox/object.ts";
import { issue } from "../../lib/sandbox/pki.ts";
import {
  type ApiServers,
  type ClusterEtcd,
  type ClusterSync,
  createCiliumNode,
  createIdentity,
  freeAddress,
  runClusterSync,
  runKvstoremesh,
  startApiServers,
  startClusterEtcd,
  troubleshoot,
  waitFor,
  withoutRealServers,
} from "./real.ts";

const skip = withoutRealServers();
const names = ["cluster1", "cluster2", "cluster3"];
const SERVICE = "clustermesh-apiserver.kube-system.svc";

interface Cluster {
  name: string;
  id: number;
  pki: ClusterPki;
  node: string;
  service: string;
  etcd: ClusterEtcd;
  sync: ClusterSync;
}

describe("the real servers", { skip }, () => {
  let apis: ApiServers;
  const clusters: Cluster[] = [];
  const cluster = (n: 1 | 2 | 3) => clusters[n - 1] as Cluster;
  const stops: (() => Promise<void>)[] = [];

  before(async () => {
    apis = await startApiServers(names, { users: [{ name: "reader" }] });
    stops.push(apis.stop);
    const started = await Promise.all(
      names.map(async (name, index) => {
        const id = index + 1;
        const pki = clusterPki({ name, id, version: "1.20", nodes: [] }, { key: "ec" });
        const [node, service] = [await freeAddress(), await freeAddress(2379)];
        const etcd = await startClusterEtcd({
          cluster: name,
          pki,
          listen: [{ address: node }, { address: service, port: 2379 }],
        });
        stops.unshift(etcd.stop);
        const users = `users:\n- {name: remote-visitor${id}, role: remote}\n`;
        const sync = await runClusterSync({ cluster: { name, id }, api: apis.get(name), etcd, users });
        stops.unshift(sync.stop);
        return { name, id, pki, node, service, etcd, sync };
      }),
    );
    clusters.push(...started);
  });

  after(async () => {
    for (const stop of stops) await stop();
  });

  /** Returns the data of a Secret for a peer, with its endpoint as a covered hostname, with or without alias, or as the node's IP. */
  const peerFiles = (peer: Cluster, form: "alias" | "name" | "ip") => {
    const port = peer.etcd.listeners[0]?.port;
    const hostname = `${peer.name}.mesh.cilium.io`;
    const mount = "/var/lib/cilium/clustermesh";
    const config = [
      "endpoints:",
      `- https://${form === "ip" ? peer.node : hostname}:${port}`,
      `trusted-ca-file: ${mount}/${peer.name}-ca.crt`,
      `cert-file: ${mount}/${peer.name}.crt`,
      `key-file: ${mount}/${peer.name}.key`,
      ...(form === "alias" ? ["cilium-host-aliases:", `- hostname: ${hostname}`, `  ips: [${peer.node}]`] : []),
    ];
    return encode({
      [peer.name]: `${config.join("\n")}\n`,
      [`${peer.name}-ca.crt`]: peer.pki.ca.cert,
      [`${peer.name}.crt`]: peer.pki.remote.cert,
      [`${peer.name}.key`]: peer.pki.remote.key,
    });
  };

  test("an API server authenticates users and applies RBAC", async () => {
    const api = apis.get("cluster2");
    const secrets = "/api/v1/namespaces/kube-system/secrets";
    const status = async (user: string) => (await api.request("GET", secrets, undefined, { user })).status;
    assert.equal(await status("admin"), 200);
    assert.equal(await status("nobody"), 403);
    assert.equal(await status("reader"), 403);
    assert.equal(await status("stranger"), 401);
    await api.allow("reader", [{ apiGroups: [""], resources: ["secrets"], verbs: ["list"] }], "kube-system");
    await waitFor("the role binding", async () => (await status("reader")) === 200);
    assert.equal((await api.request("GET", "/api/v1/secrets", undefined, { user: "reader" })).status, 403);
    assert.equal((await apis.get("cluster1").request("GET", secrets, undefined, { user: "reader" })).status, 403);
  });

  test("an API server accepts client certificates", async () => {
    const api = apis.get("cluster1");
    const agent = new Agent({ ca: api.ca.cert, ...issue(api.ca, { cn: "somebody", usage: "client" }) });
    const answer = await new Promise<string>((resolve, reject) => {
      const call = request(`${api.url}/api/v1/secrets`, { agent }, (response) => {
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => resolve(text));
      });
      call.on("error", reject);
      call.end();
    });
    agent.destroy();
    assert.match(answer, /User \\"somebody\\" cannot list resource \\"secrets\\"/);
  });

  test("the kubeconfig has a context per cluster, and objects are created with their status", async () => {
    const config = JSON.parse(readFileSync(apis.kubeconfig, "utf8"));
    assert.deepEqual(
      config.contexts.map((context: { name: string }) => context.name),
      names,
    );
    const api = apis.get("cluster3");
    const addresses = [{ type: "InternalIP", address: "10.0.0.3" }];
    await api.create([{ apiVersion: "v1", kind: "Node", metadata: { name: "n1" }, status: { addresses } }]);
    const node = await api.ask("GET", "/api/v1/nodes/n1");
    assert.deepEqual(node.status.addresses, addresses);
    assert.equal(node.spec.taints, undefined);
  });

  test("etcd has Cilium's users and those of users.yaml", async () => {
    const expected = ["admin-cluster1", "local-cluster1", "remote", "remote-visitor1", "root"];
    await waitFor("the user of users.yaml", async () => (await cluster(1).etcd.users()).includes("remote-visitor1"));
    assert.deepEqual((await cluster(1).etcd.users()).sort(), expected);
    cluster(1).sync.users("users: []\n");
    await waitFor("the removal of the user", async () => !(await cluster(1).etcd.users()).includes("remote-visitor1"));
  });

  test("kvstoremesh becomes ready with covered hostnames and caches the data of peers", async () => {
    const mesh = await runKvstoremesh({
      cluster: cluster(1),
      etcd: cluster(1).etcd,
      files: { data: peerFiles(cluster(2), "alias") },
    });
    try {
      await createIdentity(apis.get("cluster2"), 131_073, { app: "seen" });
      await createCiliumNode(apis.get("cluster2"), "node2", cluster(2).node);
      await mesh.ready(["cluster2"]);
      await waitFor("the identity in the etcd of cluster1", async () => {
        const keys = await cluster(1).etcd.keys("cilium/cache/identities/v1/cluster2/");
        return keys.includes("cilium/cache/identities/v1/cluster2/id/131073");
      });
      const seen = await waitFor("the counts in its status", async () => {
        const status = (await mesh.status()).get("cluster2");
        return status?.identities === 1 && status.nodes === 1 && status;
      });
      assert.deepEqual([...(await mesh.status()).keys()], ["cluster2"]);
      assert.equal(seen.connected, true);

      mesh.update({ data: { ...peerFiles(cluster(2), "alias"), ...peerFiles(cluster(3), "alias") } });
      const both = await mesh.ready(["cluster2", "cluster3"]);
      assert.equal(both.length, 2);
      mesh.update({ data: peerFiles(cluster(3), "alias") });
      await waitFor("the removal of cluster2", async () => !(await mesh.status()).has("cluster2"));
    } finally {
      await mesh.stop();
    }
  });

  test("files of the old scripts do not connect", async () => {
    const files = { data: { ...peerFiles(cluster(2), "ip"), ...peerFiles(cluster(3), "alias") } };
    const verdicts = await troubleshoot(files);
    assert.deepEqual([...verdicts.keys()].sort(), ["cluster2", "cluster3"]);
    assert.equal(verdicts.get("cluster2")?.connects, false);
    assert.match(
      verdicts.get("cluster2")?.faults.join("\n") ?? "",
      /x509: certificate is valid for 127\.0\.0\.1, ::1, not/,
    );
    assert.deepEqual([verdicts.get("cluster3")?.connects, verdicts.get("cluster3")?.faults], [true, []]);

    const mesh = await runKvstoremesh({ cluster: cluster(1), etcd: cluster(1).etcd, files });
    try {
      await mesh.ready(["cluster3"]);
      await assert.rejects(mesh.ready(["cluster2"], 3_000), /cluster2/);
      assert.equal((await mesh.status()).get("cluster2")?.ready, false);
    } finally {
      await mesh.stop();
    }
  });

  test("Cilium 1.19 resolves hostnames by host aliases of the pod, not of the config", async () => {
    const hosts = { "cluster3.mesh.cilium.io": [cluster(3).node] };
    const files = { data: { ...peerFiles(cluster(2), "alias"), ...peerFiles(cluster(3), "name") } };
    const mesh = await runKvstoremesh({
      cluster: cluster(1),
      etcd: cluster(1).etcd,
      files,
      version: "1.19",
      hosts,
    });
    try {
      await mesh.ready(["cluster3"]);
      await assert.rejects(mesh.ready(["cluster2"], 3_000), /cluster2/);
    } finally {
      await mesh.stop();
    }
  });

  test("agent configs are verified with the local certificates besides the Secret", async () => {
    const own = cluster(1);
    const data = encode({
      cluster2: [
        `endpoints: ["https://${SERVICE}:2379"]`,
        "trusted-ca-file: /var/lib/cilium/clustermesh/local-etcd-client-ca.crt",
        "cert-file: /var/lib/cilium/clustermesh/local-etcd-client.crt",
        "key-file: /var/lib/cilium/clustermesh/local-etcd-client.key\n",
      ].join("\n"),
    });
    const local = {
      "local-etcd-client-ca.crt": own.pki.ca.cert,
      "local-etcd-client.crt": own.pki.local.cert,
      "local-etcd-client.key": own.pki.local.key,
    };
    const verdict = async (hosts: Record<string, string[]>, files: Record<string, string>) =>
      (await troubleshoot({ data, extraFiles: files }, { hosts })).get("cluster2");
    assert.deepEqual((await verdict({ [SERVICE]: [own.service] }, local))?.faults, []);
    assert.equal((await verdict({ [SERVICE]: [own.service] }, local))?.connects, true);
    assert.equal((await verdict({ [SERVICE]: [own.service] }, {}))?.connects, false);
    assert.equal((await verdict({ [SERVICE]: [cluster(2).service] }, local))?.connects, false);
  });
});
