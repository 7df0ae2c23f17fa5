/** Contract of the embedded etcd with Cilium's users and roles, also run against a real etcd. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { dialAddress } from "../../lib/probe/dial.ts";
import { createEtcdClient } from "../../lib/probe/etcd-client.ts";
import { StepFailure, Steps } from "../../lib/probe/steps.ts";
import { clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { startEtcd } from "../../lib/sandbox/etcd.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { startClusterEtcd, withoutRealServers } from "../support/real.ts";

const description: ClusterDescription = { name: "c1", id: 1, version: "1.20.2", nodes: [] };
const pki = clusterPki(description, { key: "ec" });
const HEARTBEAT = "2026-11-24T10:00:00Z";

interface Running {
  port: number;
  stop(): Promise<unknown>;
}

const SERVERS: { what: string; skip: string | false; start(): Promise<Running> }[] = [
  {
    what: "the embedded etcd",
    skip: false,
    start: async () => {
      const etcd = await startEtcd(description, pki, () => "users:\n- name: remote-c2\n  role: remote\n");
      Object.assign(etcd.state, { heartbeat: HEARTBEAT, synced: ["cilium/state/nodes/v1"], clusterConfig: '{"id":1}' });
      return etcd;
    },
  },
  {
    what: "a real etcd",
    skip: withoutRealServers(),
    start: async () => {
      const etcd = await startClusterEtcd({ cluster: "c1", pki });
      await etcd.put("cilium/.heartbeat", HEARTBEAT);
      await etcd.put("cilium/cluster-config/c1", '{"id":1}');
      await etcd.put("cilium/synced/c1/cilium/state/nodes/v1", HEARTBEAT);
      await etcd.put("cilium/state/identities/v1/id/65537", "k8s:io.kubernetes.pod.namespace=default;");
      await etcd.etcdctl("user", "add", "remote-c2", "--no-password");
      await etcd.etcdctl("user", "grant-role", "remote-c2", "remote");
      return { port: Number(new URL(etcd.url).port), stop: etcd.stop };
    },
  },
];

for (const { what, skip, start } of SERVERS) {
  describe(`etcd: ${what}`, { skip }, () => {
    test("reads and permissions of each user", async () => {
      const server = await start();
      try {
        const as = async <T>(cn: string, work: (client: ReturnType<typeof createEtcdClient>) => Promise<T>) => {
          const { cert, key } = issue(pki.ca, { cn, usage: "client", key: "ec" });
          const attempt = { endpoint: "", host: "127.0.0.1", ip: "127.0.0.1", port: server.port };
          const client = createEtcdClient(attempt, { ca: pki.ca.cert, cert, key }, 5_000);
          try {
            return await work(client).catch((error) => {
              if (error instanceof StepFailure) return error.code;
              throw error;
            });
          } finally {
            client.close();
          }
        };
        for (const user of ["remote", "remote-c2"]) {
          assert.equal(await as(user, (etcd) => etcd.get("cilium/.heartbeat")), HEARTBEAT);
          assert.equal(await as(user, (etcd) => etcd.get("cilium/cluster-config/c1")), '{"id":1}');
          assert.equal(await as(user, (etcd) => etcd.get("cilium/cluster-config/c2")), "not-permitted");
          assert.equal(await as(user, (etcd) => etcd.list("cilium/cluster-config/")), "not-permitted");
          assert.equal(await as(user, (etcd) => etcd.list("cilium/cache/")), "not-permitted");
          assert.deepEqual(await as(user, (etcd) => etcd.list("cilium/synced/c1/", 10)), {
            keys: ["cilium/synced/c1/cilium/state/nodes/v1"],
            count: 1,
          });
          assert.deepEqual(await as(user, (etcd) => etcd.list("cilium/state/identities/v1/")), { keys: [], count: 1 });
          assert.equal(await as(user, (etcd) => etcd.get("cilium/state/nothing")), undefined);
          assert.deepEqual(await as(user, async (etcd) => (await etcd.user(user)).roles), ["remote"]);
          assert.equal(await as(user, (etcd) => etcd.user("admin-c1")), "not-permitted");
          assert.equal(await as(user, (etcd) => etcd.role("root")), "not-permitted");
          const ranges = await as(user, async (etcd) =>
            (await etcd.role("remote")).perm.map(({ key }) => key.toString()),
          );
          assert.deepEqual([...(ranges as string[])].sort(), [
            "cilium/.heartbeat",
            "cilium/cluster-config/c1",
            "cilium/state/",
            "cilium/synced/c1/",
          ]);
          assert.notEqual(await as(user, async (etcd) => (await etcd.status()).leader), 0);
        }
        const codes = [await as("nobody", (etcd) => etcd.get("x")), await as("nobody", (etcd) => etcd.user("nobody"))];
        for (const one of codes) assert.ok(["user-unknown", "not-permitted"].includes(String(one)), String(one));
      } finally {
        await server.stop();
      }
    });

    test("client certificates of another CA are refused", async () => {
      const server = await start();
      try {
        const { cert, key } = issue(makeCa({ cn: "x", key: "ec" }), { cn: "remote", usage: "client", key: "ec" });
        const attempt = { endpoint: "", host: "127.0.0.1", ip: "127.0.0.1", port: server.port };
        const dialled = dialAddress(attempt, { ca: pki.ca.cert, cert, key }, new Steps(3_000), () => {});
        await assert.rejects(dialled, (error) => error instanceof StepFailure && error.code === "client-refused");
      } finally {
        await server.stop();
      }
    });
  });
}
