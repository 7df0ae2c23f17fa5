/** The pods of deploy/sync as processes, with the printed permissions and in-cluster configuration, on real API servers. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import { kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";
import { podOf } from "../support/job-manifests.ts";
import { startContainer } from "../support/pod.ts";
import { type ApiServer, type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";
import { freePort, type Running, removeFolder, temporaryFolder, waitFor } from "../support/real-process.ts";
import { requestToken, waitForRoles } from "../support/service-accounts.ts";
import { buildSyncOverlay } from "../support/sync-manifests.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const NAMESPACE = "clustermesh-secrets";
const CORE = "/api/v1/namespaces/kube-system";

/** A replica, and where it listens. */
interface Replica {
  running: Running;
  url: string;
}

describe("the pods of deploy/sync", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let hub: ApiServer;
  let folder: string;
  let args: string[];
  let probes: string[];
  const replicas: Replica[] = [];

  before(async () => {
    folder = temporaryFolder("sync-pods");
    servers = await startApiServers(NAMES);
    hub = servers.get("cluster1");
    const [base, member] = [await buildSyncOverlay(folder, ""), await buildSyncOverlay(folder, "member")];
    for (const [i, server] of servers.all.entries()) {
      const nodes = [{ name: "node1", internalIPs: [`172.18.${i + 1}.2`] }];
      const description = { name: server.name, id: i + 1, version: "1.20.2", nodes, service: { nodePort: 32_001 + i } };
      await server.create(clusterObjects(description, clusterPki(description, { key: "ec" })));
      await server.apply(member);
    }
    await hub.apply(base);
    await waitForRoles(servers.all);
    for (const name of ["cluster1", "cluster2"]) await describeMember(name);
    const [pod] = base.flatMap((object) => podOf(object) ?? []);
    const [container] = pod?.containers ?? [];
    args = container?.args ?? [];
    probes = [container?.livenessProbe, container?.readinessProbe].flatMap((probe) => probe?.httpGet?.path ?? []);
    assert.deepEqual([args.length, probes.length], [6, 2]);
    replicas.push(await startReplica("first"), await startReplica("second"));
  });
  after(async () => {
    await Promise.all(replicas.map(({ running }) => running.stop()));
    await servers?.stop();
    if (folder) removeFolder(folder);
  });

  /** Creates the Secret that describes a cluster, as docs/sync.md does. */
  async function describeMember(name: string): Promise<void> {
    const { url, ca } = servers.get(name);
    const token = await requestToken(servers.get(name), "clustermesh-sync-member");
    const access = { server: url, ca: Buffer.from(ca.cert).toString("base64"), token };
    const { metadata, ...secret } = kubeconfigSecret(name, kubeconfigOf(access));
    await hub.create([{ ...secret, metadata: { ...metadata, namespace: NAMESPACE } }]);
  }

  async function startReplica(name: string): Promise<Replica> {
    const port = await freePort();
    const own = args.map((arg) => arg.replace("--listen=:8080", `--listen=127.0.0.1:${port}`));
    assert.ok(own.includes(`--listen=127.0.0.1:${port}`));
    const pod = { server: hub, namespace: NAMESPACE, serviceAccount: "clustermesh-sync", folder };
    return { running: await startContainer(name, own, pod), url: `http://127.0.0.1:${port}` };
  }

  const ask = async ({ url }: Replica, path: string) => {
    const response = await fetch(`${url}${path}`).catch(() => undefined);
    return { status: response?.status, text: (await response?.text()) ?? "" };
  };
  const isLeading = async (one: Replica) =>
    /^clustermesh_sync_leader(?:\{.*\})? 1$/m.test((await ask(one, "/metrics")).text);
  const until = (what: string, check: () => Promise<boolean>) =>
    waitFor(what, check, {
      timeoutMs: 60_000,
      running: replicas.flatMap(({ running }) => (running.ended() ? [] : running)),
    });
  const peersOf = async (name: string) => {
    const { body } = await servers.get(name).request("GET", `${CORE}/secrets/cilium-kvstoremesh`);
    return NAMES.filter((other) => body.data?.[other] !== undefined);
  };
  const arePeers = async (...names: string[]) => {
    const found = await Promise.all(names.map(peersOf));
    return found.every((peers, i) => peers.join() === names.filter((_, other) => other !== i).join());
  };

  test("the probes of all replicas succeed, and one of them works", async () => {
    for (const one of replicas) {
      for (const path of probes) await until(path, async () => (await ask(one, path)).status === 200);
    }
    await until("a leader", async () => (await Promise.all(replicas.map(isLeading))).filter(Boolean).length === 1);
  });

  test("the clusters of the Secrets are connected, also the one that sync runs in, and then one that is added", async () => {
    await until("two clusters", () => arePeers("cluster1", "cluster2"));
    await describeMember("cluster3");
    await until("three clusters", () => arePeers(...NAMES));
  });

  test("nothing is denied: the state, the Lease and Events are written, and watches are open", async () => {
    const name = "clustermesh-secrets-sync";
    await until("the state", async () => {
      const { body } = await hub.request("GET", `/api/v1/namespaces/${NAMESPACE}/configmaps/${name}`);
      return /"cluster3"/.test(body.data?.["state.json"] ?? "");
    });
    await hub.ask("GET", `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/${name}`);
    await until("Events", async () => (await hub.ask("GET", `${CORE}/events`)).items.length > 0);
    for (const { running } of replicas) assert.doesNotMatch(running.output(), /not allowed|forbidden|unexpected/i);
  });

  test("after SIGTERM the leader ends with success, and the other one works", async () => {
    const leading = await Promise.all(replicas.map(isLeading));
    const [leader, standby] = leading[0] ? replicas : [...replicas].reverse();
    assert.ok(leader && standby);
    await leader.running.stop("gentle");
    assert.equal(leader.running.code(), 0, leader.running.output());
    await until("another leader", () => isLeading(standby));
    await hub.request("DELETE", `${CORE}/secrets/cilium-kvstoremesh`);
    await until("the peers that somebody else removed", () => arePeers(...NAMES));
    assert.equal((await ask(standby, "/readyz")).status, 200);
  });
});
