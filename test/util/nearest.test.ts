import assert from "node:assert/strict";
import { test } from "node:test";
import { findNearestName } from "../../lib/util/nearest.ts";

test("one edit is allowed in a short name, two from five letters on, a third of the letters of a long one", () => {
  for (const [name, candidate, isFound] of [
    ["dif", "diff", true],
    ["dfif", "diff", false],
    ["porbe", "probe", true],
    ["proxies", "probe", false],
    ["conenct", "connect", true],
    ["sikp-unraechable", "skip-unreachable", true],
    ["", "yes", false],
  ] as const) {
    assert.equal(findNearestName(name, [candidate]), isFound ? candidate : undefined, name);
  }
});

test("the nearest name is found; of equally near ones, the one with the same letters", () => {
  assert.equal(findNearestName("clutser2", ["cluster1", "cluster2", "cluster3"]), "cluster2");
  assert.equal(findNearestName("wacth", ["wait", "watch"]), "watch");
  assert.equal(findNearestName("context", ["contexts", "context"]), "context");
});

test("no name is suggested if several are equally near", () => {
  assert.equal(findNearestName("cluster", ["cluster1", "cluster2"]), undefined);
  assert.equal(findNearestName("cluster", ["cluster1", "cluster1"]), "cluster1");
  assert.equal(findNearestName("ab12", ["ab1", "ab2"]), undefined);
});
