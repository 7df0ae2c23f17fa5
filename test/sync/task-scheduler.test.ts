import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TaskScheduler } from "../../lib/sync/task-scheduler.ts";

/** Timers that keep the process running. */
const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

test("after the end no timer is left", async () => {
  const before = timers();
  const stop = new AbortController();
  const scheduler = new TaskScheduler(
    async (key) => {
      scheduler.schedule(key, 600_000);
      await sleep(1);
    },
    { limit: 2, signal: stop.signal },
  );
  scheduler.schedule("later", 300_000);
  for (const key of ["a", "b", "c", "d"]) scheduler.schedule(key, 0);
  await scheduler.idle();
  stop.abort();
  assert.equal(timers(), before);
});

test("a task runs once at a time, again if it became due meanwhile, and no more than the limit run", async () => {
  const stop = new AbortController();
  let running = 0;
  let most = 0;
  const runs: string[] = [];
  const scheduler = new TaskScheduler(
    async (key) => {
      running++;
      most = Math.max(most, running);
      runs.push(key);
      if (runs.filter((one) => one === key).length === 1) scheduler.schedule(key, 0);
      await sleep(2);
      running--;
    },
    { limit: 2, signal: stop.signal },
  );
  for (const key of ["a", "b", "c"]) scheduler.schedule(key, 0);
  await scheduler.idle();
  while (runs.length < 6) await sleep(1);
  stop.abort();
  await scheduler.idle();
  assert.equal(most, 2);
  assert.deepEqual(runs.sort(), ["a", "a", "b", "b", "c", "c"]);
});
