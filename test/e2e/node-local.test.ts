/** A node-local peer, as Submariner writes it, on real API servers: Cilium's programs judge what is left. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { type Member, readMountedFiles, SERVICE, startMesh, THREE_CLUSTERS } from "../support/mesh.ts";
import { run } from "../support/programs.ts";
import { runKvstoremesh, troubleshoot, withoutRealServers } from "../support/real.ts";

const PATH = "/api/v1/namespaces/kube-system/secrets";
const AGENTS = `${PATH}/cilium-clustermesh`;
const COPY = `${PATH}/cilium-kvstoremesh`;
const MOUNT = "/var/lib/cilium/clustermesh/";
const KEYS = ["submariner", "submariner-ca.pem", "submariner-cert.pem", "submariner-key.pem"];

/** What Submariner merges: something that listens on each node, here the etcd of one of the clusters. */
function submariner({ etcd, pki }: Member): Record<string, string> {
  const [, ca, cert, key] = KEYS;
  const config = `endpoints:\n- ${etcd.url}\ntrusted-ca-file: ${MOUNT}${ca}\nkey-file: ${MOUNT}${key}\ncert-file: ${MOUNT}${cert}\n`;
  const texts = [config, pki.ca.cert, pki.remote.cert, pki.remote.key];
  return Object.fromEntries(KEYS.map((name, i) => [name, Buffer.from(texts[i] ?? "").toString("base64")]));
}

describe("a node-local peer, beside those of a mesh with KVStoreMesh", {
  skip: withoutRealServers(),
}, () => {
  test("import, --migrate, rotate and --prune leave its bytes, and every peer connects", async () => {
    const mesh = await startMesh({ ...THREE_CLUSTERS, key: "ec" });
    try {
      const [target, ...peers] = mesh.members as [Member, Member, Member];
      const { name: own, api } = target;
      const names = peers.map(({ name }) => name);
      const [, cluster2 = "", cluster3 = ""] = await mesh.extract();
      const go = async (program: string, ...args: string[]) => {
        const { code, stderr } = await run(program, args, { kubeconfig: mesh.kubeconfig });
        assert.equal(code, 0, stderr);
        return stderr;
      };
      const data = async (path: string): Promise<Record<string, string>> =>
        ((await api.ask("GET", path)) as V1Secret).data ?? {};
      const theirs = submariner(peers[1]);
      const isUntouched = async (what: string) => {
        const [agents, copy] = [await data(AGENTS), await data(COPY)];
        assert.deepEqual(Object.fromEntries(KEYS.map((key) => [key, agents[key]])), theirs, what);
        assert.deepEqual(
          KEYS.filter((key) => key in copy),
          [],
          what,
        );
      };

      // As an upgrade leaves it that turned KVStoreMesh on: agents reach all peers by themselves.
      await go("import-secrets", "--context", own, cluster2, cluster3);
      const configs = await data(COPY);
      await api.ask("DELETE", COPY);
      await api.ask("PATCH", AGENTS, { data: { ...configs, ...theirs } });

      await go("import-secrets", "--context", own, cluster2);
      await isUntouched("import");
      assert.match(await go("import-secrets", "--context", own, "--migrate"), /moved to another Secret: cluster3/);
      await isUntouched("--migrate");
      await go("clustermesh-secrets", "rotate", "cluster2", "--context", own, "--yes");
      await isUntouched("rotate");
      const pruned = await go("import-secrets", "--context", own, "--prune", "--yes", cluster2);
      assert.match(pruned, /removed cluster3/);
      assert.match(pruned, /kept submariner: node-local/);
      await isUntouched("--prune");
      await go("import-secrets", "--context", own, cluster2, cluster3);
      await isUntouched("import of both");

      const copying = await runKvstoremesh({
        cluster: target,
        etcd: target.etcd,
        files: await readMountedFiles(target, "kvstoremesh"),
      });
      try {
        await copying.ready(names, 30_000);
        assert.deepEqual([...(await copying.status()).keys()].sort(), names);
      } finally {
        await copying.stop();
      }
      const hosts = { [SERVICE]: [target.serviceAddress] };
      const agents = await troubleshoot(await readMountedFiles(target, "agents"), { hosts });
      assert.deepEqual(
        [...agents].map(([name, { connects, faults }]) => [name, connects, faults]),
        [...names, "submariner"].map((name) => [name, true, []]),
      );

      const status = await run("clustermesh-secrets", ["status", own, ...names, "-o", "json"], {
        kubeconfig: mesh.kubeconfig,
      });
      const found = JSON.parse(status.stdout).pairs.find(({ peer }: { peer: string }) => peer === "submariner");
      assert.deepEqual([found.state, found.findings], ["node-local", []]);
    } finally {
      await mesh.stop();
    }
  });
});
