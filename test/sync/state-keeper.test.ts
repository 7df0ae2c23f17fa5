import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { GoneAddress } from "../../lib/sync/state.ts";
import { StateKeeper } from "../../lib/sync/state-keeper.ts";
import { MemoryStore } from "../support/running-sync.ts";

const SINCE = "2026-11-01T00:00:00.000Z";
const gone = (peer: string, last: number): GoneAddress => ({ peer, address: `172.18.0.${last}`, since: SINCE });

function loadKeeper(): Promise<StateKeeper> {
  const options = { interval: 60_000, store: new MemoryStore(), emit: () => {}, now: () => new Date(SINCE) };
  return StateKeeper.load("all", options, new AbortController().signal);
}

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
