/** `sync --contexts-file` as built, while the file changes. */
import assert from "node:assert/strict";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { startPair } from "../support/sync-pair.ts";
import { isAbout } from "../support/sync-process.ts";

/** A sync of the contexts `c1` and `c2`, of three clusters, that reads its file every second. */
async function startListed(t: TestContext) {
  const pair = await startPair(t, 3);
  const file = join(pair.folder, "mesh.txt");
  writeFileSync(file, "c1\nc2\n");
  /** Replaces the file as editors do. */
  const replace = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };
  const peersOf = (name: string) => {
    const cluster = pair.mesh.clusters.find((one) => one.name === name);
    const secret = cluster?.api.store.read("Secret", "kube-system", "cilium-clustermesh") as V1Secret | undefined;
    return pair.mesh.clusters.map((one) => one.name).filter((one) => secret?.data?.[one] !== undefined);
  };
  const sync = await pair.start(`--contexts-file=${file}`, "--interval=1s", "--prune-after=0.02m");
  await sync.eventually("a connection", () => peersOf("c1").length + peersOf("c2").length === 2);
  return { ...pair, file, replace, peersOf, sync };
}

describe("sync --contexts-file", { concurrency: true }, () => {
  test("an added context joins, and one that is removed leaves and stays a peer", async (t) => {
    const pair = await startPair(t, 3);
    const file = join(pair.folder, "mesh.txt");
    writeFileSync(file, "c1\nc2\n");
    const sync = await pair.start(`--contexts-file=${file}`);
    await sync.until("a write", ({ event, target }) => event === "written" && target === "c2");
    writeFileSync(file, "# all\nc1\n\nc2\n c3 \n");
    await sync.until("c3", isAbout("member-joined", "c3"));
    const { findDifferences } = pair.mesh;
    await sync.eventually("three connected clusters", async () => (await findDifferences()) === undefined);
    writeFileSync(file, "c1\nc2\n");
    const { remedy } = await sync.until("c3", isAbout("member-left", "c3"));
    assert.match(String(remedy), /or run: clustermesh-secrets disconnect .*c3 --from c1 --from c2$/);
    assert.equal(await sync.stop(), 0);
    assert.equal(await findDifferences(), undefined);
  });

  for (const [what, break_, error] of [
    ["empty", ({ replace }) => replace("# nothing yet\n\n"), /^\S+mesh\.txt: no contexts$/],
    ["missing", ({ file }) => rmSync(file), /^\S+mesh\.txt: no such file or directory$/],
    ["wrong", ({ replace }) => replace("c1 c2\nc3\n"), /^\S+mesh\.txt: context "c1 c2" does not exist/],
    ["reduced to one context", ({ replace }) => replace("c1\n"), /^\S+mesh\.txt: at least two clusters are required/],
  ] as [string, (listed: Awaited<ReturnType<typeof startListed>>) => void, RegExp][]) {
    test(`a file that is ${what} is reported once, and nothing is removed`, async (t) => {
      const listed = await startListed(t);
      const { sync, peersOf, replace } = listed;
      const failures = () => sync.events.filter(({ event }) => event === "list-failed");
      break_(listed);
      const found = await sync.until("the failure", ({ event }) => event === "list-failed");
      assert.match(found.error, error);
      // Each second the file is read, and each member.
      await sync.reconciliations(8);
      assert.deepEqual(
        failures().map((one) => one.error),
        [found.error],
      );
      assert.ok(!sync.events.some(({ event }) => event === "member-left"));
      assert.deepEqual([peersOf("c1"), peersOf("c2")], [["c2"], ["c1"]]);
      replace("c1\nc2\nc3\n");
      await sync.until("the list", ({ event }) => event === "list-recovered");
      await sync.until("c3", isAbout("member-joined", "c3"));
      assert.equal(failures().length, 1);
      assert.equal(await sync.stop(), 0);
    });
  }
});
