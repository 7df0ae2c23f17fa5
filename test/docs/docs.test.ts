/**
 * The commands of README.md and docs/ print what the pages show. `UPDATE_DOCS=1` writes their output into the pages
 * instead.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { withoutTerminals } from "../support/terminal.ts";
import { type Block, parsePage, renderPage } from "./page.ts";
import { PageRun } from "./run-page.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const isUpdate = process.env.UPDATE_DOCS === "1";
const hasKubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;
const noTerminals = withoutTerminals();
const pages = ["README.md", ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`)].filter((path) =>
  path.endsWith(".md"),
);

/** Why a block is not run; undefined if it is. */
function reasonToSkip({ notRun, answer, commands }: Block): string | undefined {
  if (notRun) return notRun;
  if (answer !== undefined && noTerminals) return noTerminals;
  return !hasKubectl && commands.some(({ text }) => /\bkubectl\b/.test(text)) ? "kubectl is not installed" : undefined;
}

describe("documented commands", { concurrency: 2 }, () => {
  for (const page of pages) {
    const path = join(root, page);
    const text = readFileSync(path, "utf8");
    const steps = parsePage(text);
    if (!steps.some(({ kind }) => kind === "block")) continue;
    test(page, async (t) => {
      const run = await PageRun.start();
      const done: Block[] = [];
      try {
        for (const step of steps) {
          if (step.kind !== "block") {
            await run.instruct(step);
            continue;
          }
          const skip = reasonToSkip(step);
          await t.test(`${page}:${step.line} $ ${step.commands[0]?.text}`, skip ? { skip } : {}, async () => {
            const commands = await run.run(step);
            done.push({ ...step, commands });
            if (!isUpdate) assert.deepEqual(commands, step.commands, "make docs writes the output into the page");
          });
        }
      } finally {
        await run.stop();
      }
      if (isUpdate) writeFileSync(path, renderPage(text, done));
    });
  }
});
