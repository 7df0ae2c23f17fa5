/** The house: which folder may import which, and what may not be loaded when a program starts. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { suites, UNIT_FOLDERS } from "./support/suites.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Folders from the top floor down; a folder imports itself and those of lower floors. */
const FLOORS: string[][] = [
  ["scripts"],
  ["scripts/cli"],
  ["lib/show"],
  ["lib/mesh"],
  ["lib/exchange", "lib/probe"],
  ["lib/cluster"],
  ["lib/peer"],
];

function floorOf(folder: string): number {
  return FLOORS.findIndex((floor) => floor.includes(folder));
}

interface Import {
  from: string;
  to: string;
  typesOnly: boolean;
}

function imports(): Import[] {
  const files = ["lib", "scripts"]
    .flatMap((top) =>
      readdirSync(join(root, top), { recursive: true, encoding: "utf8" }).map((path) => join(top, path)),
    )
    .filter((path) => path.endsWith(".ts"));
  return files.flatMap((from) => {
    const text = readFileSync(join(root, from), "utf8");
    const found = text.matchAll(/^(?:import|export) (type )?[^;]*?from "([^"]+)";|\bimport\("([^"]+)"\)/gm);
    return [...found].map(([, types, stated, lazy]) => {
      const target = stated ?? lazy ?? "";
      const to = target.startsWith(".") ? relative(root, join(root, dirname(from), target)) : target;
      return { from, to, typesOnly: types !== undefined };
    });
  });
}

test("every test file is run, and by one suite", () => {
  const files = Object.values(suites()).flat();
  assert.deepEqual([...new Set(files)].length, files.length);
  const unitFolders = new Set(suites().units.map((path) => dirname(path)));
  assert.deepEqual([...unitFolders].sort(), UNIT_FOLDERS.map((folder) => `test/${folder}`).sort());
  const run = ["exchange", "peer"].map((name) => readFileSync(join(root, `test/support/units-${name}.ts`), "utf8"));
  const named = run.flatMap((text) => [...text.matchAll(/"(\w+)"/g)].map(([, folder]) => folder));
  assert.deepEqual(named.sort(), [...UNIT_FOLDERS].sort());
  // One process has the tests of many: hooks beneath a test or a suite only, and the environment as it is.
  for (const path of suites().units) {
    const text = readFileSync(join(root, path), "utf8");
    assert.doesNotMatch(text, /^(?:before|beforeEach|afterEach)\(|process\.env\.\w+ ?= |process\.chdir/m, path);
  }
});

describe("the house", () => {
  const all = imports();

  test("every file that is imported is seen", () => {
    assert.ok(all.length > 150, `${all.length} imports`);
  });

  test("a floor imports only those below it", () => {
    const wrong = all.filter(({ from, to }) => {
      const [above, below] = [floorOf(dirname(from)), floorOf(dirname(to))];
      const same = dirname(from) === dirname(to);
      return above >= 0 && below >= 0 && !same && below <= above;
    });
    assert.deepEqual(wrong, []);
  });

  test("the sandbox is loaded by its two scripts alone, and itself needs little of the floors", () => {
    const outside = all.filter(({ from, to }) => to.startsWith("lib/sandbox/") && !from.startsWith("lib/sandbox/"));
    assert.deepEqual([...new Set(outside.map(({ from }) => from))].sort(), ["scripts/demo.ts", "scripts/sandbox.ts"]);
    const needs = all.filter(({ from, to }) => from.startsWith("lib/sandbox/") && to.startsWith("lib/"));
    assert.deepEqual([...new Set(needs.map(({ to }) => dirname(to)))].sort(), ["lib/peer", "lib/probe", "lib/sandbox"]);
    const probe = needs.filter(({ to }) => to.startsWith("lib/probe/")).map(({ to }) => to);
    assert.deepEqual(probe, ["lib/probe/etcd-api.ts"], "of the floors above only how etcd's messages are written");
  });

  test("lib/peer knows neither network nor files", () => {
    const packages = all
      .filter(({ from, typesOnly }) => from.startsWith("lib/peer/") && !typesOnly)
      .map(({ to }) => to);
    const outside = new Set(packages.filter((name) => !name.startsWith("lib/peer/")));
    // node:net only for isIP.
    assert.deepEqual([...outside].sort(), ["node:crypto", "node:net", "yaml"]);
  });

  test("nothing of client-node but its types is loaded", () => {
    const loaded = all.filter(({ to, typesOnly }) => to.startsWith("@kubernetes/client-node") && !typesOnly);
    assert.deepEqual(loaded, []);
  });

  test("no import leads in a circle", () => {
    const next = new Map<string, string[]>();
    for (const { from, to } of all) next.set(from, [...(next.get(from) ?? []), to]);
    const done = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      assert.ok(!path.includes(file), `${[...path, file].join(" -> ")}`);
      if (done.has(file)) return;
      for (const to of next.get(file) ?? []) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of next.keys()) visit(file, []);
  });
});
