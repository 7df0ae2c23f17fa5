/** A list of members that cannot be read or watched. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberSource } from "../../lib/sync/members.ts";
import { emptyState } from "../../lib/sync/state.ts";
import { Sync } from "../../lib/sync/sync.ts";
import type { Occurrence } from "../../lib/sync/sync-event.ts";
import { UserError } from "../../lib/util/errors.ts";
import { MemoryStore, SYNC_OPTIONS } from "../support/running-sync.ts";

const FORBIDDEN = new UserError("forbidden", 1);

function prepare(list: MemberSource["list"], watch?: MemberSource["watch"]) {
  const [store, events, stop] = [new MemoryStore(), [] as Occurrence[], new AbortController()];
  const emit = (one: Occurrence) => {
    events.push(one);
    if (one.kind.startsWith("list")) stop.abort();
  };
  const ports = { source: { selection: "test", list, watch }, store, emit, now: () => new Date() };
  return { store, events, start: () => Sync.start(SYNC_OPTIONS, ports, stop.signal) };
}

test("a list that fails at the start is saved before sync ends, since its first failure", async () => {
  const { store, start } = prepare(async () => {
    throw FORBIDDEN;
  });
  await assert.rejects(start(), FORBIDDEN);
  const first = store.state?.listFailure;
  assert.equal(first?.error, "forbidden");
  await assert.rejects(start(), FORBIDDEN);
  assert.deepEqual(store.state?.listFailure, first);
});

test("a list that fails at the start does not replace the state of other members, or one that cannot be read", async () => {
  const { store, start } = prepare(async () => {
    throw FORBIDDEN;
  });
  store.state = emptyState("other");
  await assert.rejects(start(), FORBIDDEN);
  assert.deepEqual(store.state, emptyState("other"));
  store.failures = Array.from({ length: 5 }, () => new UserError("no answer", 1));
  await assert.rejects(start(), FORBIDDEN);
  assert.equal(store.saves, 0);
});

test("a watch of the list that fails is not a list that fails", async () => {
  const { events, start } = prepare(
    async () => [],
    async () => {
      throw FORBIDDEN;
    },
  );
  const sync = await start();
  await sync.run();
  await sync.close();
  const failures = events.filter(({ kind }) => kind.startsWith("list"));
  assert.deepEqual(failures, [{ kind: "list-watch-failed", error: "forbidden" }]);
});
