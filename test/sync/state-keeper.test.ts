import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { MemberView } from "../../lib/sync/member-view.ts";
import type { GoneAddress } from "../../lib/sync/state.ts";
import { StateKeeper, type StateKeeperOptions } from "../../lib/sync/state-keeper.ts";
import type { Occurrence } from "../../lib/sync/sync-event.ts";
import { UserError } from "../../lib/util/errors.ts";
import { findingWith } from "../support/findings.ts";
import { caOf } from "../support/material.ts";
import { MemoryStore } from "../support/running-sync.ts";

const SINCE = "2026-11-01T00:00:00.000Z";
const gone = (peer: string, last: number): GoneAddress => ({ peer, address: `172.18.0.${last}`, since: SINCE });

function loadKeeper(parts: Partial<StateKeeperOptions> = {}): Promise<StateKeeper> {
  const options = { interval: 60_000, store: new MemoryStore(), emit: () => {}, now: () => new Date(SINCE), ...parts };
  return StateKeeper.load("all", options, new AbortController().signal);
}

const CA = caOf("c1").cert;

/** What was read of a member. */
function viewOf(entry: string, cluster: string, uid: string, ca = CA): MemberView {
  const unknown = { id: undefined, peer: undefined, peerError: undefined, serving: undefined, version: undefined };
  const times = { readAt: 0, serverSecretWritten: undefined, etcdStarted: undefined };
  return { ...unknown, ...times, entry, cluster, uid, ca, serverCertificate: undefined, certificates: [] };
}

function note(keeper: StateKeeper, view: MemberView): void {
  keeper.noteAuthorities(view);
  keeper.noteContact(view);
}

describe("the CAs of clusters", () => {
  test("are not those of another cluster with the same name, whichever is read first", async () => {
    const keeper = await loadKeeper();
    keeper.setMembers([{ entry: "a" }, { entry: "b" }]);
    const [mine, other] = [viewOf("a", "c1", "uid a"), viewOf("b", "c1", "uid b", caOf("other").cert)];
    for (const view of [other, mine, other, mine]) note(keeper, view);
    const { authorities } = keeper.state;
    assert.deepEqual(authorities.map(({ uid, authorities }) => [uid, authorities.length]).sort(), [
      ["uid a", 1],
      ["uid b", 1],
    ]);
    await keeper.save();
  });

  test("are recorded of few names of a cluster, as often as it changes its name", async () => {
    const keeper = await loadKeeper();
    keeper.setMembers([{ entry: "a" }, { entry: "b" }]);
    note(keeper, viewOf("a", "c1", "uid a"));
    for (let i = 0; i < 50; i++) note(keeper, viewOf("b", `x${i}`, "uid b"));
    for (let i = 0; i < 50; i++) note(keeper, viewOf("b", "c2", `uid ${i}`));
    const names = keeper.state.authorities.map(({ cluster }) => cluster);
    assert.deepEqual([names.includes("c1"), names.includes("c2"), names.length <= 5], [true, true, true]);
    await keeper.save();
  });
});

test("commands in what is saved and reported are completed", async () => {
  const events: Occurrence[] = [];
  const keeper = await StateKeeper.load(
    "all",
    {
      ...{ interval: 60_000, store: new MemoryStore(), emit: (one: Occurrence) => events.push(one) },
      now: () => new Date(SINCE),
      completion: {
        inRemedy: (text) => `${text} --remedy`,
        inEvent: (text) => `${text} --event`,
        inError: (text) => `${text} --error`,
      },
    },
    new AbortController().signal,
  );
  keeper.setMembers([{ entry: "c1" }]);
  keeper.noteFailure("c1", "a; b");
  assert.equal(keeper.noteFailure("c1", "a; b"), false, "it is the same error");
  keeper.holds.set("c1", [{ target: "c1", reason: "check", message: "m", remedy: "command" }]);
  keeper.setFindings("c1", [findingWith("unreadable", { source: "c1" }, "m", "command")]);
  assert.deepEqual(
    [keeper.state.members[0]?.error, keeper.state.held[0]?.remedy],
    ["a; b --error", "command --remedy"],
  );
  assert.equal(keeper.holds.forUsersOf("c1")[0]?.remedy, "command --event");
  const remedies = events.map((one) =>
    one.kind === "held" ? one.record.remedy : one.kind === "finding" && one.finding.remedy,
  );
  assert.deepEqual(remedies, ["command --remedy", "command --remedy"]);
  await keeper.save();
});

test("a list that fails is recorded since its first failure, until it succeeds", async () => {
  const keeper = await loadKeeper();
  keeper.noteList(["c1"]);
  keeper.noteListFailure("forbidden");
  assert.deepEqual(keeper.state.listFailure, { since: SINCE, error: "forbidden" });
  const before = keeper.state.listFailure;
  keeper.noteListFailure("timed out");
  assert.deepEqual(keeper.state.listFailure, { since: before?.since, error: "timed out" });
  assert.equal(keeper.state.members.length, 1, "the last list is kept");
  keeper.noteList(["c1", "c2"]);
  assert.equal(keeper.state.listFailure, undefined);
  assert.equal(keeper.state.members.length, 2);
  assert.equal(keeper.state.interval, 60_000);
  await keeper.save();
});

describe("the addresses that are gone", () => {
  test("change only by what a plan changed", async () => {
    const keeper = await loadKeeper();
    const [one, other, third] = [gone("c1", 1), gone("c2", 2), gone("c3", 3)];
    keeper.setGone([], [one, other]);
    const before = keeper.state.addresses;
    // Two targets are planned at a time.
    keeper.setGone(before, [one, other, third]);
    keeper.setGone(before, [other]);
    assert.deepEqual(keeper.state.addresses, [other, third]);
    await keeper.save();
  });

  test("are recorded once, since they were first missed", async () => {
    const keeper = await loadKeeper();
    const one = gone("c1", 1);
    for (let plan = 0; plan < 5; plan++) keeper.setGone([], [{ ...one, since: `2026-11-01T00:00:0${plan}.000Z` }]);
    assert.deepEqual(keeper.state.addresses, [one]);
    await keeper.save();
  });
});

test("a state that cannot be saved is reported once for each cause, and again after it was saved", async () => {
  const store = new MemoryStore();
  const reported: unknown[] = [];
  const keeper = await loadKeeper({
    store,
    emit: (event) => reported.push("error" in event ? event.error : event.kind),
  });
  let cause: string | undefined;
  store.save = async () => {
    if (cause !== undefined) throw new UserError(cause, 1);
  };
  for (cause of ["full", "full", "denied", undefined, "denied"]) await keeper.save();
  assert.deepEqual(reported, ["full", "denied", "denied"]);
});

test("a member that has left is recorded with the command that removes it from the others, unless it is pruned", async () => {
  const completion = { inRemedy: (text: string) => `${text} --kubeconfig k`, inEvent: String, inError: String };
  const remedies = async (pruneAfter?: number) => {
    let minutes = 0;
    const now = () => new Date(Date.parse(SINCE) + minutes++ * 60_000);
    const keeper = await loadKeeper({ pruneAfter, completion, now });
    keeper.noteList(["c1", "c2", "c3", "c4"]);
    for (const name of ["c1", "c2", "c3", "c4"]) keeper.noteContact(viewOf(name, name, `uid ${name}`));
    keeper.noteList(["c1", "c2", "c3"]);
    const left = keeper.state.members.map(({ remedy }) => remedy);
    keeper.noteList(["c1", "c2", "c3", "c4"]);
    assert.ok(keeper.state.members.every(({ remedy }) => remedy === undefined));
    await keeper.save();
    return left;
  };
  const command = "clustermesh-secrets disconnect c4 --from c1 --from c2 --from c3 --kubeconfig k";
  assert.deepEqual(await remedies(), [
    ...[undefined, undefined, undefined],
    `to remove it from the others, set --prune-after, or run: ${command}`,
  ]);
  assert.deepEqual(await remedies(86_400_000), [undefined, undefined, undefined, undefined]);
});

test("a command that does not fit into the state is not recorded", async () => {
  const keeper = await loadKeeper();
  const names = Array.from({ length: 6 }, (_, i) => `${i}`.padEnd(250, "x"));
  keeper.noteList([...names, "c9"]);
  keeper.noteContact(viewOf("c9", "c9", "uid"));
  keeper.noteList(names);
  assert.deepEqual(
    keeper.state.members.map(({ remedy }) => remedy).filter((remedy) => remedy !== undefined),
    [],
  );
  await keeper.save();
});

test("the time of a stop is recorded until it runs again", async () => {
  const store = new MemoryStore();
  const keeper = await loadKeeper({ store });
  keeper.noteRunning(true);
  keeper.noteRunning(false);
  await keeper.save();
  const next = await loadKeeper({ store });
  assert.equal(next.state.stoppedAt, SINCE);
  next.noteRunning(true);
  assert.equal(next.state.stoppedAt, undefined);
  await next.save();
});
