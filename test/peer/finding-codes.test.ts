import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Trait } from "../../lib/peer/codes/code.ts";
import { definitionOf, FINDING_CODES, type FindingCode } from "../../lib/peer/finding-codes.ts";

const codes = Object.keys(FINDING_CODES);
const root = fileURLToPath(new URL("../..", import.meta.url));

function filesOf(...folders: string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => join(folder, path)),
  );
}

/** Decisions by codes in the source of a file: comparisons with one, cases, and lists of them. */
function decisionsIn(source: string): string[] {
  const code = `"(?:${codes.join("|")})"`;
  const forms = [
    `[=!]==? ?${code}`,
    `${code} ?[=!]==? `,
    `case ${code}`,
    `\\[\\s*${code},?\\s*\\]`,
    `\\[\\s*${code},\\s*${code}`,
    `\\.(?:includes|has|indexOf)\\(${code}\\)`,
    "(?:Set|Map)<(?:readonly )?FindingCode\\b",
    "FindingCode\\[\\]",
  ];
  return source.match(new RegExp(forms.join("|"), "g")) ?? [];
}

test("every code has attributes that are known", () => {
  const traits = [
    "disprovable",
    "illegible",
    "of-pair",
    "skippable",
    "unconnected",
    "undecided",
    "unprobeable",
  ] satisfies Trait[];
  const all = codes.map((code) => definitionOf(code as FindingCode));
  assert.deepEqual([...new Set(all.flatMap((one) => one.traits ?? []))].sort(), traits);
  for (const { severity, sameAs, impliedBy } of all) {
    assert.match(severity, /^(?:error|warning)$/);
    for (const other of [sameAs, impliedBy]) assert.ok(other === undefined || codes.includes(other), other);
  }
});

test("a decision by a code is seen in each form", () => {
  for (const source of [
    'code === "id-duplicate"',
    '"id-duplicate" !== code',
    'case "id-duplicate":',
    'const some: string[] = ["id-duplicate"];',
    'const some = [\n  "id-duplicate",\n  "own-cache",\n  "other",\n];',
    'new Set(["id-duplicate", "own-cache"])',
    'found.has("own-cache")',
    "const some: FindingCode[] = all;",
    "new Map<FindingCode, string>()",
  ]) {
    assert.notDeepEqual(decisionsIn(source), [], source);
  }
  assert.deepEqual(decisionsIn('finding("id-duplicate", place, message)'), []);
});

test("only the table of codes decides what follows from a code", () => {
  const found = filesOf("lib", "scripts")
    .filter((path) => !path.startsWith("lib/sandbox/"))
    .flatMap((path) => decisionsIn(readFileSync(join(root, path), "utf8")).map((one) => [path, one]));
  assert.deepEqual(found, []);
});

test("nothing decides by a sentence: no message of ours is matched, cut or compared", () => {
  const foreign = new Set([
    // Sentences of Node, of the system and of Kubernetes, which have no other form.
    "lib/util/network-error.ts",
    "lib/util/errors.ts",
    "lib/kube/api-error.ts",
  ]);
  const matched =
    /[mM]essage\)?\.(?:replace(?:All)?|startsWith|endsWith|includes|match(?:All)?|search|slice|split|indexOf)\b|\.(?:test|exec)\([\w. ()]*message\)|[mM]essage [!=]==? ["`]/;
  for (const source of [
    "message.match(/a/)",
    "error.message.replace(/;.*/, '')",
    "(error as Error).message.startsWith('a')",
    "/a/.test(error.message)",
    "/a/.exec((error as Error).message)",
    'if (message === "a b")',
  ]) {
    assert.match(source, matched);
  }
  const found = filesOf("lib", "scripts").filter(
    (path) =>
      !foreign.has(path) && !path.startsWith("lib/sandbox/") && matched.test(readFileSync(join(root, path), "utf8")),
  );
  assert.deepEqual(found, []);
});
