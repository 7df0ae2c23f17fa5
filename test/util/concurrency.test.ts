import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { limitConcurrency, mergeGenerators } from "../../lib/util/concurrency.ts";

/** Yields `name1`, `name2`, …, and logs when it resumes and ends. */
async function* counting(name: string, count: number, log: string[]): AsyncGenerator<string, void> {
  try {
    for (let i = 1; i <= count; i++) {
      yield `${name}${i}`;
      log.push(`after ${name}${i}`);
      await sleep(1);
    }
  } finally {
    log.push(`end ${name}`);
  }
}

async function all<T>(generator: AsyncGenerator<T, void>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of generator) values.push(value);
  return values;
}

test("generators run concurrently up to the limit, and each value is yielded once", async () => {
  const log: string[] = [];
  const sources = ["a", "b", "c"].map((name) => () => counting(name, 2, log));
  const values = await all(mergeGenerators(sources, 2));
  assert.deepEqual([...values].sort(), ["a1", "a2", "b1", "b2", "c1", "c2"]);
  assert.ok(values.indexOf("c1") > Math.min(values.indexOf("a2"), values.indexOf("b2")), values.join());
  assert.deepEqual(await all(mergeGenerators([], 2)), []);
});

test("a generator resumes when its value was consumed", async () => {
  const log: string[] = [];
  const merged = mergeGenerators([() => counting("a", 2, log)], 8);
  await merged.next();
  await sleep(5);
  assert.deepEqual(log, []);
  await merged.next();
  assert.deepEqual(log, ["after a1"]);
});

test("an early end or an error ends the other generators", async () => {
  for (const how of ["ends", "throws"]) {
    const log: string[] = [];
    const failing = async function* (): AsyncGenerator<string, void> {
      await sleep(2);
      if (how === "throws") throw new Error("broken");
      yield "last";
    };
    const work = async () => {
      for await (const value of mergeGenerators([() => counting("a", 100, log), failing], 2)) {
        if (value === "last") break;
      }
    };
    if (how === "throws") await assert.rejects(work, /broken/);
    else await work();
    assert.equal(log.at(-1), "end a", how);
  }
});

test("no more tasks run than the limit, and a failed task frees its slot", async () => {
  const enter = limitConcurrency(2);
  let [running, most] = [0, 0];
  const work = async (i: number) => {
    running++;
    most = Math.max(most, running);
    await sleep(1);
    running--;
    if (i === 1) throw new Error("failed");
    return i;
  };
  const results = await Promise.allSettled([0, 1, 2, 3, 4].map((i) => enter(() => work(i))));
  assert.equal(most, 2);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled", "fulfilled", "fulfilled"],
  );
});
