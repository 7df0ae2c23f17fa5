import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { FINDING_CODES } from "../../lib/peer/finding-codes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

function filesOf(...folders: string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => join(folder, path)),
  );
}

test("what follows from a code stands in the table of codes alone", () => {
  const traits = new Set<string>(["illegible", "unprobeable", "disprovable", "of-pair"]);
  for (const [code, attributes] of Object.entries(FINDING_CODES)) {
    assert.ok(
      attributes.traits.every((trait) => traits.has(trait)),
      code,
    );
  }
  for (const trait of traits) {
    assert.ok(
      Object.values(FINDING_CODES).some((one) => one.traits.some((each) => each === trait)),
      trait,
    );
  }
  const codes = new Set(Object.keys(FINDING_CODES));
  const lists = filesOf("lib", "scripts").flatMap((path) => {
    const text = readFileSync(join(root, path), "utf8");
    const arrays = [...text.matchAll(/\[((?:\s*"[a-z-]+",?)+)\s*\]/g)].map(
      ([, items = ""]) => items.match(/[a-z-]+/g) ?? [],
    );
    return arrays.filter((items) => items.length > 1 && items.every((one) => codes.has(one))).map(() => path);
  });
  assert.deepEqual(lists, []);
});

test("nothing decides by a sentence: no message of ours is matched, cut or compared", () => {
  const foreign = new Set([
    // Sentences of Node, of the system and of Kubernetes, which have no other form.
    "lib/util/network-error.ts",
    "lib/util/errors.ts",
    "lib/kube/api.ts",
  ]);
  const patterns =
    /[mM]essage\.(?:replace|startsWith|endsWith|includes|match|slice|split|indexOf)|\.(?:test|exec)\((?:\w+\.)?message\)|[mM]essage (?:===|!==) ["`]/;
  const found = filesOf("lib", "scripts").filter(
    (path) =>
      !foreign.has(path) && !path.startsWith("lib/sandbox/") && patterns.test(readFileSync(join(root, path), "utf8")),
  );
  assert.deepEqual(found, []);
});

test("docs/findings.md has every code with its severity, and no other", () => {
  const text = readFileSync(new URL("../../docs/findings.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \| (error|warning) \| [^|]+ \| [^|]+ \|$/gm)];
  assert.deepEqual(
    rows.map(([, code, severity]) => [code, severity]),
    Object.entries(FINDING_CODES).map(([code, { severity }]) => [code, severity]),
  );
});
