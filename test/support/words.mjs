// Lists wording that the style rules replace, with the better words. Usage: words.mjs [PATH...]; exits with 1 if any is left.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The words to avoid, as regular expressions of whole words, and what to write instead. */
export const WORDS = [
  ["anew", "again, a new"],
  ["lets? in|letting in", "grant"],
  ["pass(es|ed|ing)? over", "skip"],
  ["wants?", "require, need"],
  ["stands?(?! for)|standing|stood", "existing, is"],
  ["(?<!there )is none", "invalid, missing"],
  ["(?<!there )is no [a-z]+", "is not a, invalid"],
  ["nobody|nobody's", "no one, unknown"],
  ["leads? nowhere", "invalid, unreachable"],
  ["tells?|told|telling", "log, print, report, warn, recognize"],
  ["says?|said|saying", "report, state, print"],
  ["as it should be|as they should be", "healthy"],
  ["gives? way|gave way", "is removed"],
  ["forgets?|forgot|forgotten", "prune, remove"],
  ["made out|makes? out", "resolve"],
  ["brings?|brought", "add, deliver, provide"],
  [", where (it|they|that|nothing)", "if"],
  ["of (its|their) own", "own, separate"],
  ["tak(es?|en|ing) back|took back", "revoke, undo"],
  ["comes?(?! from)|came", "arrive, is read, originate"],
  ["goes|went", "is removed, is written"],
  ["excludes? each other", "are mutually exclusive"],
  ["as unusable|way up|lay(s|ing)? out", "downgrade, chain, write"],
].map(([words, instead]) => ({ pattern: new RegExp(`(?<![\\w-])(?:${words})(?![\\w-])`, "gi"), instead }));

/** Lines that keep such a word, by path and a text of the line, with the reason. */
export const ALLOWED = [];

/** Where people read or write text of ours. Golden files are printed by the sources that are listed themselves. */
const PATHS = ["lib", "scripts", "test", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile"];
const SKIPPED = /^test\/golden\/|^test\/support\/words\.mjs$|^test\/words\.test\.ts$/;

/**
 * Finds words to avoid. Code spans of Markdown are quotations and not searched; code blocks are.
 *
 * @param {string} path decides whether the text is Markdown, and which exceptions apply
 * @param {string} text
 * @param {readonly {path: string, text: string, reason: string}[]} [allowed]
 * @returns {{ line: number, word: string, instead: string, text: string, reason?: string }[]} `line` counts from 1;
 *   `reason` is set if the line is an exception
 */
export function findWords(path, text, allowed = ALLOWED) {
  return text.split("\n").flatMap((full, i) => {
    const searched = path.endsWith(".md") ? full.replace(/`[^`]+`/g, (span) => " ".repeat(span.length)) : full;
    const reason = allowed.find((each) => each.path === path && full.includes(each.text))?.reason;
    return WORDS.flatMap(({ pattern, instead }) =>
      [...searched.matchAll(pattern)].map(([word]) => ({ line: i + 1, word, instead, text: full.trim(), reason })),
    );
  });
}

/** Returns lib/peer for lib/peer/checks/names.ts, and a file at the top as it is. */
function folderOf(path) {
  return path.includes("/") ? path.split("/").slice(0, -1).slice(0, 2).join("/") : path;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = process.argv.slice(2);
  const listed = execFileSync("git", ["ls-files", "--", ...(given.length > 0 ? given : PATHS)], {
    cwd: root,
    encoding: "utf8",
  });
  const counts = new Map();
  const exceptions = [];
  for (const path of listed.split("\n").filter((each) => each !== "" && !SKIPPED.test(each))) {
    for (const found of findWords(path, readFileSync(join(root, path), "utf8"))) {
      const place = `${path}:${found.line}: ${found.word}`;
      if (found.reason !== undefined) exceptions.push(`${place}: ${found.reason}`);
      else {
        console.log(`${place} (${found.instead}): ${found.text}`);
        counts.set(folderOf(path), (counts.get(folderOf(path)) ?? 0) + 1);
      }
    }
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (exceptions.length > 0) console.log(`\nexceptions:\n${exceptions.join("\n")}`);
  console.log(`\n${total} words to replace`);
  for (const [folder, count] of [...counts].sort((a, b) => b[1] - a[1]))
    console.log(`${String(count).padStart(6)} ${folder}`);
  process.exitCode = total > 0 ? 1 : 0;
}
