import assert from "node:assert/strict";
import { test } from "node:test";
import { History } from "../../lib/sandbox/history.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";

function object(size = 0): KubernetesObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" }, data: { a: "x".repeat(size) } };
}

/** Returns the versions of the changes that follow a version. */
function versionsAfter(history: History, version: number): number[] {
  const change = history.next(version);
  return change ? [change.version, ...versionsAfter(history, change.version)] : [];
}

test("changes have consecutive versions, and are found after each of them", () => {
  const history = new History();
  const first = history.latest;
  for (let i = 0; i < 3; i++) history.append(undefined, object());
  assert.deepEqual(versionsAfter(history, first), [first + 1, first + 2, first + 3]);
  assert.deepEqual(versionsAfter(history, first + 2), [first + 3]);
  for (const version of [first + 3, first + 100]) assert.equal(history.next(version), undefined);
});

test("a compacted version is one before the oldest change", () => {
  const history = new History();
  for (let i = 0; i < 5; i++) history.append(undefined, object());
  const { latest } = history;
  history.compact(latest - 2);
  assert.deepEqual(versionsAfter(history, latest - 2), [latest - 1, latest]);
  assert.deepEqual(
    [latest - 3, latest - 2, latest].map((version) => history.isCompacted(version)),
    [true, false, false],
  );
  history.compact(latest - 3);
  assert.equal(history.isCompacted(latest - 2), false);
  history.compact();
  assert.deepEqual(
    [latest - 1, latest].map((version) => history.isCompacted(version)),
    [true, false],
  );
  history.append(undefined, object());
  assert.deepEqual(versionsAfter(history, latest), [latest + 1]);
});

test("the number of changes and their bytes are bounded; the last change is kept whatever its size", () => {
  const few = new History({ changes: 3 });
  for (let i = 0; i < 10; i++) few.append(undefined, object());
  assert.deepEqual(versionsAfter(few, few.latest - 3).length, 3);
  assert.equal(few.isCompacted(few.latest - 4), true);
  const small = new History({ bytes: 10_000 });
  for (let i = 0; i < 10; i++) small.append(undefined, object(4_000));
  assert.deepEqual(
    [2, 3].map((count) => small.isCompacted(small.latest - count)),
    [false, true],
  );
  small.append(object(4_000), object(50_000));
  assert.deepEqual(
    [1, 2].map((count) => small.isCompacted(small.latest - count)),
    [false, true],
  );
  small.append(object(50_000), undefined);
  assert.deepEqual(versionsAfter(small, small.latest - 1), [small.latest]);
});

test("listeners are called after each change, until they are removed", () => {
  const history = new History();
  const seen: number[] = [];
  const unsubscribe = history.subscribe(() => seen.push(history.latest));
  history.append(undefined, object());
  assert.equal(history.listeners, 1);
  unsubscribe();
  history.append(undefined, object());
  assert.deepEqual([seen, history.listeners], [[history.latest - 1], 0]);
});
