/** `status --probe` of a real mesh agrees with the status of Cilium's kvstoremesh. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Pair } from "../../lib/mesh/pairs.ts";
import type { PeerProbe } from "../../lib/probe/probe.ts";
import { type Member, type Mesh, readMountedFiles, startMesh, THREE_CLUSTERS } from "../support/mesh.ts";
import { run } from "../support/programs.ts";
import { runKvstoremesh, withoutRealServers } from "../support/real.ts";

const CONTEXTS = ["cluster1", "cluster2", "cluster3"];

interface Report {
  pairs: (Pair & { state: string })[];
  probes: PeerProbe[];
}

describe("status of a real mesh of three", { skip: withoutRealServers() }, () => {
  let mesh: Mesh;
  before(async () => {
    mesh = await startMesh({ ...THREE_CLUSTERS, key: "rsa" });
    const { code, stderr } = await mesh.import(await mesh.extract());
    assert.equal(code, 0, stderr);
    // Cilium writes its first heartbeat after a minute; verify.test.ts waits for it.
    for (const { etcd } of mesh.members) await etcd.put("cilium/.heartbeat", new Date().toISOString());
  });
  after(() => mesh?.stop());

  const status = async (...args: string[]) => {
    const { code, stdout, stderr } = await run("clustermesh-secrets", ["status", ...CONTEXTS, "-o", "json", ...args], {
      kubeconfig: mesh.kubeconfig,
    });
    return { code, stderr, report: JSON.parse(stdout) as Report };
  };
  /** The output of kvstoremesh once these peers are ready. */
  const kvstoremesh = async (member: Member, ready: string[]) => {
    const running = await runKvstoremesh({
      cluster: member,
      etcd: member.etcd,
      files: await readMountedFiles(member, "kvstoremesh"),
    });
    try {
      await running.ready(ready, 45_000);
      return await running.status();
    } finally {
      await running.stop();
    }
  };
  const others = (member: Member) => CONTEXTS.filter((name) => name !== member.name);

  test("all is well: every pair, with the counts that Cilium has", async () => {
    const { code, report, stderr } = await status("--probe");
    // The only finding: pods are not ready, because nothing runs them.
    const found = report.pairs.flatMap(({ findings }) => findings);
    assert.deepEqual(found, [], stderr);
    assert.ok(code === 0 || code === 3, stderr);
    for (const member of mesh.members) {
      const theirs = await kvstoremesh(member, others(member));
      for (const probe of report.probes.filter(({ source }) => source === member.name)) {
        const peer = theirs.get(probe.name);
        const [address] = probe.addresses;
        assert.equal(peer?.ready, address?.failed === undefined, `${member.name} to ${probe.name}`);
        const { nodes, identities, endpoints } = address?.counts ?? {};
        assert.deepEqual([nodes, identities, endpoints], [peer?.nodes, peer?.identities, peer?.endpoints]);
      }
    }
  });

  test("one etcd is gone: the same pairs fail for both", async () => {
    const [first, , third] = mesh.members as [Member, Member, Member];
    await third.etcd.stop();
    const { code, report } = await status("--probe", "--step-timeout", "2s");
    assert.equal(code, 3);
    const failing = report.pairs
      .filter(({ state }) => state === "error")
      .map(({ importer, peer }) => `${importer} ${peer}`);
    assert.deepEqual(failing.sort(), ["cluster1 cluster3", "cluster2 cluster3"]);
    const theirs = await kvstoremesh(first, ["cluster2"]);
    assert.deepEqual([theirs.get("cluster2")?.ready, theirs.get("cluster3")?.ready], [true, false]);
    const without = await status();
    assert.deepEqual(
      without.report.pairs.flatMap(({ findings }) => findings),
      [],
      "without --probe only the API servers are asked",
    );
  });

  test("a changed node port is reported, and the printed remedy fixes it", async () => {
    const [first] = mesh.members as [Member];
    const path = "/api/v1/namespaces/kube-system/services/clustermesh-apiserver";
    const service = await first.api.ask("GET", path);
    const [port] = service.spec.ports;
    const other = port.nodePort === 32_000 ? 32_001 : 32_000;
    await first.api.ask("PUT", path, { ...service, spec: { ...service.spec, ports: [{ ...port, nodePort: other }] } });
    // All pairs report pods that are not ready, because nothing runs them.
    const isBroken = ({ findings }: Pair) => findings.some(({ severity }) => severity === "error");
    const stale = (await status()).report.pairs.filter(isBroken);
    assert.deepEqual(stale.map(({ importer, findings }) => [importer, findings[0]?.code]).sort(), [
      ["cluster2", "endpoint-stale"],
      ["cluster3", "endpoint-stale"],
    ]);
    for (const { importer, findings } of stale) {
      const [, from] =
        /^extract-secret --context (\S+) \| import-secrets --context /.exec(findings[0]?.remedy ?? "") ?? [];
      const options = { kubeconfig: mesh.kubeconfig };
      const extracted = await run("extract-secret", ["--context", from ?? ""], options);
      const imported = await run("import-secrets", ["--context", importer, "-"], {
        ...options,
        stdin: extracted.stdout,
      });
      assert.equal(imported.code, 0, imported.stderr);
    }
    assert.deepEqual((await status()).report.pairs.filter(isBroken), []);
  });
});
