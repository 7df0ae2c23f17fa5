/** One small real mesh, from the programs as built to Cilium's verdict; and the old scripts' form as the witness. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Mesh, oldScriptFiles, startMesh, THREE_CLUSTERS } from "../support/mesh.ts";
import { troubleshoot, withoutRealServers } from "../support/real.ts";

describe("a real mesh of three clusters of Cilium 1.20", { skip: withoutRealServers() }, () => {
  let mesh: Mesh;
  before(async () => {
    mesh = await startMesh({ ...THREE_CLUSTERS, key: "rsa" });
  });
  after(() => mesh?.stop());

  test("extract, import: every peer is ready, and its identity arrives", async () => {
    const files = await mesh.extract();
    const { code, stderr } = await mesh.import(files);
    assert.equal(code, 0, stderr);
    const { ready, agents } = await mesh.judge();
    assert.deepEqual(ready.get("cluster1"), ["cluster2", "cluster3"]);
    assert.equal([...ready.values()].flat().length, 6);
    assert.equal([...agents.values()].flat().length, 6);
  });

  test("a second import changes nothing", async () => {
    const { code, stderr } = await mesh.import(await mesh.extract(), "--debug");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^cluster1 .*unchanged cluster2 and cluster3$/m);
    assert.doesNotMatch(stderr, /POST|PATCH/);
  });

  test("what the old scripts would have written does not connect", async () => {
    const [, peer] = mesh.members;
    assert.ok(peer);
    const verdict = (await troubleshoot(oldScriptFiles(peer))).get(peer.name);
    assert.equal(verdict?.connects, false);
    assert.match(verdict?.faults.join("\n") ?? "", /x509: certificate is valid for 127\.0\.0\.1, ::1, not/);
  });
});
