// Lists wording that the style rules replace, with the better words. Usage: words.mjs [PATH...]; exits with 1 if a word is
// found that word-exceptions.json does not list, or if an exception is stale.
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

/**
 * Phrases in which such a word is allowed, with the reason: foreign text, and names that others define. `path` is a file or a folder.
 *
 * @type {import("./words.mjs").WordException[]}
 */
export const EXCEPTIONS = JSON.parse(readFileSync(new URL("word-exceptions.json", import.meta.url), "utf8"));

/** Files and folders of our text. Golden files are printed by the sources, which are searched themselves. */
const PATHS = [
  ...["lib", "scripts", "test", "docs", "deploy", "Makefile"],
  ...["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
];
const SKIPPED =
  /^test\/golden\/|^test\/support\/words\.mjs$|^test\/support\/word-exceptions\.json$|^test\/words\.test\.ts$/;

/** Returns whether the phrase occurs in the line at a place that includes the characters from `start` to `end`. */
function covers(phrase, line, start, end) {
  for (let at = line.indexOf(phrase); at !== -1; at = line.indexOf(phrase, at + 1))
    if (at <= start && end <= at + phrase.length) return true;
  return false;
}

/**
 * Finds words to avoid. Code spans of Markdown are quotations and not searched; code blocks are.
 *
 * @param {readonly { path: string, text: string }[]} files the path decides whether the text is Markdown, and which exceptions
 *   apply
 * @param {readonly import("./words.mjs").WordException[]} [exceptions]
 * @returns {{ found: import("./words.mjs").FoundWord[], stale: import("./words.mjs").WordException[] }} `found` has the words
 *   outside of exceptions, with lines from 1; `stale` has the exceptions that cover no word
 */
export function findWords(files, exceptions = EXCEPTIONS) {
  const used = new Set();
  const found = [];
  for (const { path, text } of files) {
    const here = exceptions.filter((each) => each.path === path || path.startsWith(`${each.path}/`));
    for (const [i, line] of text.split("\n").entries()) {
      const searched = path.endsWith(".md") ? line.replace(/`[^`]+`/g, (span) => " ".repeat(span.length)) : line;
      for (const { pattern, instead } of WORDS) {
        for (const { 0: word, index } of searched.matchAll(pattern)) {
          const exception = here.find(({ phrase }) => covers(phrase, line, index, index + word.length));
          if (exception) used.add(exception);
          else found.push({ path, line: i + 1, word, instead, text: line.trim() });
        }
      }
    }
  }
  return { found, stale: exceptions.filter((each) => !used.has(each)) };
}

/** Returns lib/peer for lib/peer/checks/names.ts, and a top-level file unchanged. */
function folderOf(path) {
  return path.includes("/") ? path.split("/").slice(0, -1).slice(0, 2).join("/") : path;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = process.argv.slice(2);
  const paths = execFileSync("git", ["ls-files", "--", ...(given.length > 0 ? given : PATHS)], {
    cwd: root,
    encoding: "utf8",
  })
    .split("\n")
    .filter((path) => path !== "" && !SKIPPED.test(path));
  const { found, stale } = findWords(paths.map((path) => ({ path, text: readFileSync(join(root, path), "utf8") })));
  const counts = new Map();
  for (const { path, line, word, instead, text } of found) {
    console.log(`${path}:${line}: ${word} (${instead}): ${text}`);
    counts.set(folderOf(path), (counts.get(folderOf(path)) ?? 0) + 1);
  }
  console.log(`${found.length} words to replace`);
  for (const [folder, count] of [...counts].sort((a, b) => b[1] - a[1]))
    console.log(`${String(count).padStart(6)} ${folder}`);
  // Only a search of all files shows that an exception is stale.
  const reported = given.length > 0 ? [] : stale;
  for (const { path, phrase } of reported)
    console.log(`stale exception, remove it from word-exceptions.json: ${path}: ${phrase}`);
  process.exitCode = found.length + reported.length > 0 ? 1 : 0;
}
