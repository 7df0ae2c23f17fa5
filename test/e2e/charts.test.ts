/** Clusters whose objects Cilium's real charts make, on real API servers, with Cilium's programs as the judge. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { V1Deployment, V1Secret } from "@kubernetes/client-node";
import { missingMounts } from "../../lib/sandbox/pods.ts";
import { type Member, type Mesh, readMountedFiles, SERVICE, startMesh, workloadHosts } from "../support/mesh.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { type ClusterEtcd, startClusterEtcd, troubleshoot, withoutRealServers } from "../support/real.ts";
import { textsOf } from "../support/targets.ts";
import { simulateUpgrade } from "../support/upgrade.ts";

const NAMESPACE = "/namespaces/kube-system";
const MOUNT = "/var/lib/cilium/clustermesh/";
const SPEC = {
  clusters: 2,
  kvstoremesh: true,
  ca: "own",
  authMode: "legacy",
  service: "NodePort",
  deadAddress: false,
  key: "rsa",
  realChart: true,
} as const;

/** The `data` of a Secret as it is on the API server; empty if there is none. */
async function dataOf({ api }: Member, name: string): Promise<Record<string, string>> {
  const { status, body } = await api.request("GET", `/api/v1${NAMESPACE}/secrets/${name}`);
  return status === 200 ? ((body as V1Secret).data ?? {}) : {};
}

/** The peer that Submariner merges into `cilium-clustermesh`: an etcd that it serves on each node, and its TLS files. */
function submariner({ url }: ClusterEtcd, { pki }: Pick<Member, "pki">): Record<string, string> {
  const file = (part: string) => `${MOUNT}submariner-${part}`;
  const texts = {
    submariner: `endpoints:\n- ${url}\ntrusted-ca-file: '${file("ca.crt")}'\ncert-file: '${file("tls.crt")}'\nkey-file: '${file("tls.key")}'\n`,
    "submariner-ca.crt": pki.ca.cert,
    "submariner-tls.crt": pki.remote.cert,
    "submariner-tls.key": pki.remote.key,
  };
  return Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]));
}

for (const [version, kvstoremesh] of [
  ["1.18", true],
  ["1.14", false],
] as const) {
  describe(`charts of ${version} ${kvstoremesh ? "with" : "without"} KVStoreMesh, and Submariner's peer`, {
    skip: withoutRealServers(),
  }, () => {
    let mesh: Mesh;
    let target: Member;
    let theirs: Record<string, string>;
    let served: ClusterEtcd;
    before(async () => {
      mesh = await startMesh({ ...SPEC, version, kvstoremesh });
      [target] = mesh.members as [Member];
      // The certificate of an etcd covers 127.0.0.1, where each node has Submariner's.
      served = await startClusterEtcd({ cluster: "submariner", pki: target.pki });
      theirs = submariner(served, target);
    });
    after(async () => {
      await served?.stop();
      await mesh?.stop();
    });

    const call = (...args: string[]): Promise<ProgramResult> =>
      run("clustermesh-secrets", args, { kubeconfig: mesh.kubeconfig });
    const isUntouched = async (when: string) => {
      const [agents, copy] = [await dataOf(target, "cilium-clustermesh"), await dataOf(target, "cilium-kvstoremesh")];
      const keys = Object.keys(theirs);
      assert.deepEqual(Object.fromEntries(keys.map((key) => [key, agents[key]])), theirs, when);
      const copied = keys.filter((key) => key in copy);
      assert.deepEqual(copied, [], when);
    };

    test("import and --migrate leave its bytes, and every peer connects", async () => {
      const files = await mesh.extract();
      // As an upgrade leaves it: the agents reach cluster2 by themselves.
      await simulateUpgrade(target, files, theirs);
      const left = await call("status", "cluster1", "cluster2", "-o", "json");
      const pairs: { importer: string; peer: string; findings: { code: string }[] }[] = JSON.parse(left.stdout).pairs;
      const codes = (peer: string): string[] =>
        pairs
          .filter((pair) => pair.importer === "cluster1" && pair.peer === peer)
          .flatMap(({ findings }) => findings.map(({ code }) => code));
      assert.equal(codes("cluster2").includes("layout-outdated"), kvstoremesh, left.stdout);
      assert.deepEqual(codes("submariner"), []);

      const migrated = await call("import", "--context", "cluster1", "--migrate");
      assert.equal(migrated.code, 0, migrated.stderr);
      if (kvstoremesh) assert.match(migrated.stderr, /moved to another Secret: cluster2/);
      await isUntouched("--migrate");

      const imported = await mesh.import(files, "--restart-agents");
      assert.equal(imported.code, 0, imported.stderr);
      await isUntouched("import");
      const again = await call("import", "--context", "cluster1", "--migrate");
      assert.equal(again.code, 0, again.stderr);
      assert.match(again.stderr, /nothing written/);

      const { ready, agents } = await mesh.judge();
      assert.deepEqual(
        [...ready],
        [
          ["cluster1", ["cluster2"]],
          ["cluster2", ["cluster1"]],
        ],
      );
      if (kvstoremesh) {
        assert.deepEqual(
          [...agents],
          [
            ["cluster1", ["cluster2", "submariner"]],
            ["cluster2", ["cluster1"]],
          ],
        );
      }
      const hosts = { ...(await workloadHosts(target, false)), [SERVICE]: [target.serviceAddress] };
      const results = await troubleshoot(await readMountedFiles(target, "agents"), { hosts, version: "1.19" });
      assert.deepEqual(
        [...results].map(([name, { connects, faults }]) => [name, connects, faults]),
        ["cluster2", "submariner"].map((name) => [name, true, []]),
      );
    });

    test("verify skips it, and status gives no advice about it", async () => {
      for (const { etcd } of mesh.members) await etcd.put("cilium/.heartbeat", new Date().toISOString());
      const verified = await call("verify", "--context", "cluster1", "--fail-on=warning");
      assert.equal(verified.code, 0, verified.stdout);
      assert.match(verified.stdout, /^submariner .*: skipped: node-local$/m);
      assert.match(verified.stdout, /^cluster2 .*: connects$/m);
      const status = await call("status", "cluster1", "cluster2", "--probe");
      assert.equal(status.code, 0, status.stdout);
      // The servers of a test have loopback addresses; no other findings are expected.
      const codes = [...status.stdout.matchAll(/\[([a-z-]+)\]$/gm)].map(([, code]) => code);
      assert.deepEqual(codes, ["loopback-address"], status.stdout);
      const probed = await call("status", "cluster1", "cluster2", "--probe", "-o", "json");
      const pairs: { importer: string; peer: string; state: string }[] = JSON.parse(probed.stdout).pairs;
      const states = pairs.filter(({ importer }) => importer === "cluster1").map(({ peer, state }) => [peer, state]);
      assert.deepEqual(states, [
        ["cluster2", "ok"],
        ["submariner", "node-local"],
      ]);
    });
  });
}

describe("charts of 1.20 with certificates from a CSI driver", { skip: withoutRealServers() }, () => {
  let mesh: Mesh;
  before(async () => {
    const names = ["cluster1", "cluster2"];
    mesh = await startMesh({ ...SPEC, version: "1.20", ca: "shared", authMode: "migration", csi: names });
  });
  after(() => mesh?.stop());

  test("the pods need no Secret, only the users that an import creates", async () => {
    for (const { api } of mesh.members) {
      const { items }: { items: V1Secret[] } = await api.ask("GET", `/api/v1${NAMESPACE}/secrets`);
      assert.deepEqual(items, []);
      const path = `/apis/apps/v1${NAMESPACE}/deployments/clustermesh-apiserver`;
      const { spec }: V1Deployment = await api.ask("GET", path);
      const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "one" }, spec: spec?.template.spec };
      assert.deepEqual(
        missingMounts(pod, () => false),
        ["configmap/clustermesh-remote-users"],
      );
    }
  });

  test("extract writes the keyless form, and Cilium's programs connect by the mounted files", async () => {
    const files = await mesh.extract();
    for (const [i, file] of files.entries()) {
      const text = await readFile(file, "utf8");
      const texts = textsOf(JSON.parse(text));
      assert.deepEqual(Object.keys(texts), [`cluster${i + 1}`]);
      assert.match(Object.values(texts)[0] ?? "", /key-file: \S*\/common-etcd-client\.key/);
      assert.doesNotMatch(text, /PRIVATE KEY|CERTIFICATE/);
    }
    const imported = await mesh.import(files);
    assert.equal(imported.code, 0, imported.stderr);
    assert.match(imported.stderr, /\[common-unverified\]/);
    const { ready, agents } = await mesh.judge();
    assert.deepEqual([...ready.values()], [["cluster2"], ["cluster1"]]);
    assert.deepEqual([...agents.values()], [["cluster2"], ["cluster1"]]);
    for (const member of mesh.members) {
      for (const name of ["cilium-clustermesh", "cilium-kvstoremesh"]) {
        assert.deepEqual(Object.keys(await dataOf(member, name)).length, 1);
      }
    }
  });
});
