import assert from "node:assert/strict";
import { test } from "node:test";
import { type SyncArguments, toSyncOptions } from "../../scripts/cli/sync-flags.ts";

test("targets that wait are read at most once a minute, whatever --settle is", () => {
  const recheckOf = (settle: string) => {
    const args = { settle, interval: "10m", "address-grace": "5m" } as SyncArguments;
    return toSyncOptions(args, {}).recheck;
  };
  assert.deepEqual(["10s", "5m"].map(recheckOf), [60_000, 300_000]);
});
