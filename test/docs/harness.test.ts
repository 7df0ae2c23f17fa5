/** How pages are read and run. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { withoutTerminals } from "../support/terminal.ts";
import { normalize } from "./normalize.ts";
import { type Block, parsePage, renderPage } from "./page.ts";
import { PageRun } from "./run-page.ts";

const PAGE = `# Title
<!-- docs: sandbox three
hidden command
-->
\`\`\`console
$ printf 'a\\nb\\n' \\
  | head -n 1
old
$ true
\`\`\`
\`\`\`console not-run="needs Helm"
$ helm upgrade
\`\`\`
<!-- docs: event renewal -->
`;

const blocksOf = (text: string) => parsePage(text).filter((step): step is Block => step.kind === "block");

test("a page is parsed into instructions and blocks", () => {
  assert.deepEqual(
    parsePage(PAGE).map(({ kind, line, commands }) => [kind, line, commands.length]),
    [
      ["sandbox", 2, 1],
      ["block", 5, 2],
      ["block", 11, 1],
      ["event", 14, 0],
    ],
  );
  assert.deepEqual(
    blocksOf(PAGE).map(({ notRun }) => notRun),
    [undefined, "needs Helm"],
  );
  assert.throws(() => parsePage("```console\n$ true\n"), /line 1: no "```" follows/);
  assert.throws(() => parsePage("```console\ntrue\n```"), /line 1: output before the first command/);
  assert.throws(() => parsePage("```console slow\n$ true\n```"), /line 1: unknown info string: slow/);
});

test("the output of a command replaces the output in the page", async () => {
  const run = await PageRun.start();
  try {
    const [block] = blocksOf(PAGE);
    assert.ok(block);
    const commands = await run.run(block);
    assert.equal(commands[0]?.output, "a");
    assert.equal(renderPage(PAGE, [{ ...block, commands }]), PAGE.replace("old", "a"));
  } finally {
    await run.stop();
  }
});

test("a command on a terminal gets the answer to its prompt", { skip: withoutTerminals() }, async () => {
  const run = await PageRun.start();
  try {
    const text = '```console answer="n"\n$ read -p \'Go on? [y/N] \' -r it; echo "$it!"; exit 2\n```';
    const [block] = blocksOf(text);
    assert.ok(block);
    assert.equal((await run.run(block))[0]?.output, "Go on? [y/N] n\nn!");
  } finally {
    await run.stop();
  }
});

test("an exit code other than 0 has to be stated", async () => {
  const run = await PageRun.start();
  try {
    const [unstated, stated] = blocksOf("```console\n$ exit 3\n```\n```console\n$ exit 3\n$ echo $?\n3\n```");
    assert.ok(unstated && stated);
    await assert.rejects(run.run(unstated), /ends with exit code 3, which the page does not state/);
    assert.deepEqual(await run.run(stated), stated.commands);
  } finally {
    await run.stop();
  }
});

test("values that differ between runs are replaced by samples", () => {
  const values = {
    now: Date.UTC(2030, 0, 1, 23),
    folder: "/tmp/x",
    servers: ["https://127.0.0.1:41234"],
    fingerprints: [],
  };
  for (const [actual, expected] of [
    ["until 2030-01-21 (20 days)", "until 2026-12-16 (20 days)"],
    ["https://127.0.0.1:41234 /tmp/x/a.json", "https://127.0.0.1:6443 /home/me/mesh/a.json"],
    ["cluster2.mesh.cilium.io:32385", "cluster2.mesh.cilium.io:32380"],
    ["cluster2.mesh.cilium.io:2379", "cluster2.mesh.cilium.io:2379"],
    ['x_timestamp_seconds{a="}"} 1895270399', 'x_timestamp_seconds{a="}"} 1797422400'],
    ["heartbeat 31 s ago", "heartbeat 5 s ago"],
    ["c1   1    12s            reachable", "c1   1    5s             reachable"],
    ["state in file /tmp/x/sync-0123456789ab.json", "state in file /home/me/mesh/sync-3f1c0a9be752.json"],
    [
      "09:01:02 started\n09:01:03 c2: adding c1\n09:01:03 c1: adding c2\n09:01:04 c2: wrote x\n09:01:05 2 clusters: 2 written\n",
      "12:00:00 started\n12:00:00 c1: adding c2\n12:00:00 c2: adding c1\n12:00:00 c2: wrote x\n12:00:00 2 clusters: 2 written\n",
    ],
    [
      "  ADDRESS            TCP     TLS\n  127.18.2.2:32381   12 ms   106 ms\nend",
      "  ADDRESS            TCP    TLS\n  127.18.2.2:32380   3 ms   3 ms\nend",
    ],
  ]) {
    assert.equal(normalize(actual ?? "", values), expected);
  }
});
