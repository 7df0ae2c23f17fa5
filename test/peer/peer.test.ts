import assert from "node:assert/strict";
import { test } from "node:test";
import { isClusterName, meshName, versionAtLeast } from "../../lib/peer/peer.ts";

test("a cluster's name has at most 32 of a-z, 0-9 and -, and is not reserved by us or the chart", () => {
  for (const name of ["a", "0", "c-2", "default2", "x".repeat(32), "common", "local-etcd", "a--b"]) {
    assert.equal(isClusterName(name), true, name);
  }
  for (const name of [
    "",
    "-",
    "-a",
    "a-",
    "A",
    "a.b",
    "a_b",
    "default",
    "x".repeat(33),
    "a\n",
    "common-etcd-client",
    "local-etcd-client2",
  ]) {
    assert.equal(isClusterName(name), false, JSON.stringify(name));
  }
  assert.equal(meshName("c2"), "c2.mesh.cilium.io");
});

test("versions are compared by number", () => {
  const table: [string | undefined, string, boolean | undefined][] = [
    ["1.9.3", "1.10", false],
    ["1.10", "1.10", true],
    ["1.20.0-rc.1", "1.20", true],
    ["v1.19.6", "1.20", false],
    ["2.0.0", "1.20", true],
    ["latest", "1.20", undefined],
    ["", "1.20", undefined],
    [undefined, "1.20", undefined],
  ];
  for (const [version, minimum, expected] of table) assert.equal(versionAtLeast(version, minimum), expected, version);
});
