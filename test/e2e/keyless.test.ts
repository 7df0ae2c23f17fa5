/** Clusters whose certificates are in no Secret: our files between them, and Cilium's programs as the judge. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { type Mesh, type MeshOptions, readMountedFiles, startMesh } from "../support/mesh.ts";
import { run } from "../support/programs.ts";
import { troubleshoot, withoutRealServers } from "../support/real.ts";
import { textsOf } from "../support/targets.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const SPEC: MeshOptions = {
  clusters: 3,
  version: "1.20",
  kvstoremesh: true,
  ca: "shared",
  authMode: "migration",
  service: "NodePort",
  deadAddress: false,
  key: "ec",
};

/** The Secret that leads to the peers, as it is on the API server. */
async function remoteSecret({ members }: Mesh, name: string, kvstoremesh: boolean): Promise<Record<string, string>> {
  const path = `/api/v1/namespaces/kube-system/secrets/cilium-${kvstoremesh ? "kvstoremesh" : "clustermesh"}`;
  const secret: V1Secret = await members.find((one) => one.name === name)?.api.ask("GET", path);
  return textsOf(secret);
}

const meshes: [string, MeshOptions][] = [
  // The last one has Secrets, and is extracted without its key all the same.
  ["1.20 with KVStoreMesh, two by CSI and one with Secrets", { ...SPEC, csi: ["cluster1", "cluster2"] }],
  [
    "1.18 without KVStoreMesh in authMode cluster, all by CSI",
    { ...SPEC, version: "1.18", kvstoremesh: false, authMode: "cluster", csi: NAMES },
  ],
];
for (const [what, spec] of meshes) {
  describe(`a real mesh: ${what}`, { skip: withoutRealServers() }, () => {
    let mesh: Mesh;
    before(async () => {
      mesh = await startMesh(spec);
    });
    after(() => mesh?.stop());

    test("extract, import: no certificate and no key in files and Secrets, and every peer is ready", async () => {
      const files = await mesh.extract("--keyless");
      const first = await Promise.all(files.map((file) => readFile(file, "utf8")));
      for (const [i, text] of first.entries()) {
        assert.deepEqual(Object.keys(textsOf(JSON.parse(text))), [NAMES[i]]);
        assert.doesNotMatch(text, /PRIVATE KEY/);
      }
      const { code, stderr } = await mesh.import(files, "--restart-agents");
      assert.equal(code, 0, stderr);
      assert.match(stderr, /\[common-unverified\]/);
      for (const name of NAMES) {
        const texts = await remoteSecret(mesh, name, spec.kvstoremesh);
        assert.deepEqual(
          Object.keys(texts).sort(),
          NAMES.filter((other) => other !== name),
        );
      }
      const { ready, agents } = await mesh.judge();
      assert.equal([...ready.values()].flat().length, 6);
      assert.equal([...agents.values()].flat().length, spec.kvstoremesh ? 6 : 0);

      // Where nothing has a Secret it is the same form without being asked for, to the byte.
      const again = await mesh.extract(...(spec.csi?.length === 3 ? [] : ["--keyless"]));
      assert.deepEqual(await Promise.all(again.map((file) => readFile(file, "utf8"))), first);
    });

    test("status has no finding, and connect changes nothing", async () => {
      const call = (...args: string[]) => run("clustermesh-secrets", args, { kubeconfig: mesh.kubeconfig });
      const status = await call("status", ...NAMES, "--fail-on=warning");
      // Without a kubelet no pod is ready, and the nodes are those of this machine: pairs have no findings.
      const pairs = status.stdout
        .split("\n")
        .filter((line) => /\[[a-z-]+\]$/.test(line) && !/pod-not-ready|loopback-address/.test(line));
      assert.deepEqual(pairs, [], status.stdout);
      const connect = await call("connect", ...NAMES);
      assert.equal(connect.code, 0, connect.stderr);
      const unchanged = connect.stderr.match(/unchanged|UNCHANGED/g) ?? [];
      assert.ok(unchanged.length > 0, connect.stderr);
    });
  });
}

describe("a real mesh whose clusters do not trust one CA", { skip: withoutRealServers() }, () => {
  let mesh: Mesh;
  before(async () => {
    mesh = await startMesh({ ...SPEC, clusters: 2, ca: "own", csi: NAMES });
  });
  after(() => mesh?.stop());

  test("the same files cause warnings, and Cilium reports why they do not connect", async () => {
    const { code, stderr } = await mesh.import(await mesh.extract());
    assert.equal(code, 0, stderr);
    assert.match(stderr, /certificates of 2 clusters cannot be read.*: cluster1, cluster2 \[common-unverified\]/);
    const [member] = mesh.members;
    assert.ok(member);
    const verdict = (await troubleshoot(await readMountedFiles(member, "kvstoremesh"))).get("cluster2");
    assert.equal(verdict?.connects, false);
    assert.match(verdict?.faults.join("\n") ?? "", /x509: certificate signed by unknown authority/);
  });
});
