/** The layers of the code: which folder may import which, and what may not be loaded when a program starts. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { suites, UNIT_FOLDERS } from "./support/suites.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The layers from the top down: a file imports its own layer and those below it. A folder belongs to its parent's layer unless it is listed. */
const LAYERS = [
  "scripts",
  "scripts/cli",
  "lib/render",
  "lib/mesh",
  "lib/import",
  "lib/import/plan",
  "lib/extract",
  "lib/probe",
  "lib/cilium",
  "lib/peer",
  "lib/kube",
  "lib/x509",
  "lib/util",
];

/** The layer of a file of ours; undefined for packages and for the sandbox, which stands apart. */
function layerOf(path: string): string | undefined {
  const layers = LAYERS.filter((layer) => path.startsWith(`${layer}/`));
  return layers.sort((a, b) => b.length - a.length)[0];
}

interface Import {
  from: string;
  to: string;
  typesOnly: boolean;
}

/** Each file of the product, with its text, from the top of the repository. */
function sources(): { path: string; text: string }[] {
  return ["lib", "scripts"]
    .flatMap((top) =>
      readdirSync(join(root, top), { recursive: true, encoding: "utf8" }).map((path) => join(top, path)),
    )
    .filter((path) => path.endsWith(".ts"))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

/** What a file exports under a name of its own: functions, classes, constants and types, but no re-exports. */
function exportedNames({ path, text }: { path: string; text: string }): string[] {
  const isExported = (statement: ts.Statement) =>
    ts.canHaveModifiers(statement) &&
    ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;
  const { statements } = ts.createSourceFile(path, text, ts.ScriptTarget.Latest);
  const names = statements.filter(isExported).flatMap((statement): (ts.Node | undefined)[] => {
    if (ts.isVariableStatement(statement)) return statement.declarationList.declarations.map(({ name }) => name);
    return [(statement as ts.DeclarationStatement).name];
  });
  // An overloaded function has a statement for each of its forms.
  return [...new Set(names.flatMap((name) => (name && ts.isIdentifier(name) ? [name.text] : [])))];
}

/** The keys that several have, each with those that have it. */
function shared(entries: readonly (readonly [key: string, path: string])[]): Record<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const [key, path] of entries) groups.set(key, [...(groups.get(key) ?? []), path]);
  return Object.fromEntries([...groups].filter(([, paths]) => paths.length > 1));
}

function imports(): Import[] {
  return sources().flatMap(({ path: from, text }) => {
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
  const run = ["import", "peer"].map((name) => readFileSync(join(root, `test/support/units-${name}.ts`), "utf8"));
  const named = run.flatMap((text) => [...text.matchAll(/"(\w+)"/g)].map(([, folder]) => folder));
  assert.deepEqual(named.sort(), [...UNIT_FOLDERS].sort());
  // One process has the tests of many: hooks beneath a test or a suite only, and the environment as it is.
  for (const path of suites().units) {
    const text = readFileSync(join(root, path), "utf8");
    assert.doesNotMatch(text, /^(?:before|beforeEach|afterEach)\(|process\.env\.\w+ ?= |process\.chdir/m, path);
  }
});

describe("the layers", () => {
  const all = imports();

  test("every file that is imported is seen", () => {
    assert.ok(all.length > 150, `${all.length} imports`);
  });

  test("every file belongs to a layer", () => {
    const files = new Set(all.map(({ from }) => from).filter((path) => !path.startsWith("lib/sandbox/")));
    assert.deepEqual(
      [...files].filter((path) => layerOf(path) === undefined),
      [],
    );
  });

  test("a layer imports only those below it", () => {
    const wrong = all.filter(({ from, to }) => {
      const [above, below] = [layerOf(from), layerOf(to)];
      return above !== undefined && below !== undefined && LAYERS.indexOf(below) < LAYERS.indexOf(above);
    });
    assert.deepEqual(wrong, []);
  });

  test("the Kubernetes client imports nothing of Cilium", () => {
    const used = new Set(all.filter(({ from }) => layerOf(from) === "lib/kube").map(({ to }) => layerOf(to)));
    used.delete(undefined);
    assert.deepEqual([...used].sort(), ["lib/kube", "lib/util", "lib/x509"]);
  });

  test("the sandbox is loaded by its two scripts alone, and itself imports little", () => {
    const outside = all.filter(({ from, to }) => to.startsWith("lib/sandbox/") && !from.startsWith("lib/sandbox/"));
    assert.deepEqual([...new Set(outside.map(({ from }) => from))].sort(), ["scripts/demo.ts", "scripts/sandbox.ts"]);
    const needs = all.filter(({ from, to }) => from.startsWith("lib/sandbox/") && layerOf(to) !== undefined);
    const layers = new Set(needs.map(({ to }) => layerOf(to)));
    assert.deepEqual([...layers].sort(), ["lib/peer", "lib/probe", "lib/util"]);
    const probe = needs.filter(({ to }) => to.startsWith("lib/probe/")).map(({ to }) => to);
    assert.deepEqual(probe, ["lib/probe/etcd-api.ts"], "of the probe only how etcd's messages are written");
  });

  test("peers, certificates and plans know neither network nor files", () => {
    const pure = ["lib/peer", "lib/x509", "lib/import/plan"];
    const packages = all
      .filter(({ from, typesOnly }) => pure.includes(layerOf(from) ?? "") && !typesOnly)
      .map(({ to }) => to)
      .filter((to) => layerOf(to) === undefined);
    // node:net only for isIP.
    assert.deepEqual([...new Set(packages)].sort(), ["node:crypto", "node:net", "node:path", "yaml"]);
  });

  test("nothing but the Kubernetes client keeps what it has read when a command ends", () => {
    const files = new Set(all.flatMap(({ from, to }) => [from, to]));
    const ours = [...files].filter((path) => path.startsWith("lib/"));
    const keeping = ours.filter((path) => {
      const text = readFileSync(join(root, path), "utf8");
      return /^(?:export )?(?:let |const .* = new (?:Weak)?(?:Map|Set)(?:<.*>)?\(\);)/m.test(text);
    });
    assert.deepEqual([...new Set(keeping.map(layerOf))], ["lib/kube"], keeping.join(", "));
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

describe("the files", () => {
  const files = sources();

  test("no file is longer than 350 lines, nor a script longer than 100", () => {
    const most = (path: string) => (dirname(path) === "scripts" ? 100 : 350);
    const lengths = files.map(({ path, text }) => ({ path, lines: text.trimEnd().split("\n").length }));
    assert.ok(lengths.length > 100);
    assert.deepEqual(
      lengths.filter(({ path, lines }) => lines > most(path)),
      [],
    );
  });

  test("a file's name occurs once in a layer", () => {
    const names = files.map(({ path }) => [`${layerOf(path) ?? "lib/sandbox"}: ${basename(path)}`, path] as const);
    assert.deepEqual(shared(names), {});
  });

  test("an exported name occurs once", () => {
    const names = files.flatMap((file) => exportedNames(file).map((name) => [name, file.path] as const));
    assert.ok(names.length > 500, `${names.length} names`);
    assert.deepEqual(shared(names), {
      ApiError: ["lib/kube/api.ts", "lib/sandbox/status.ts"],
      Resource: ["lib/kube/api.ts", "lib/sandbox/resources.ts"],
      Target: ["lib/import/plan/target.ts", "lib/sandbox/resources.ts"],
      USERS: ["lib/peer/annotations.ts", "lib/sandbox/resources.ts"],
    });
  });

  test("nothing below the scripts knows a terminal, asks a question, or ends the process", () => {
    const terminal =
      /\bprocess\.(?:stdin|stdout|stderr|exit\b|exitCode)|"node:(?:readline|tty)|\bconsole\.|cli\/terminal/;
    const question = /\b(?:confirm|ask|prompt|choose|agreed?)\??(?:\(.*\))?: (?:\(|Promise<boolean>)/;
    const below = files.filter(({ path }) => path.startsWith("lib/"));
    const knowing = below.filter(({ text }) => terminal.test(text) || question.test(text)).map(({ path }) => path);
    assert.deepEqual(knowing, ["lib/kube/auth/exec-plugin.ts"]);
  });
});
