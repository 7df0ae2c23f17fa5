/** The layers of the code: which folder may import which, and what may not be loaded when a program starts. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { suites, UNIT_FOLDERS } from "./support/suites.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The layers from the top down: a file imports its own layer and those below it. A folder belongs to its parent's layer unless it is listed. */
const LAYERS = [
  "scripts",
  "scripts/cli",
  "lib/render",
  "lib/sync",
  "lib/mesh",
  "lib/manifests",
  "lib/import",
  "lib/import/plan",
  "lib/extract",
  "lib/probe",
  "lib/cilium",
  "lib/members",
  "lib/peer",
  "lib/kube",
  "lib/x509",
  "lib/util",
];

/** The layer of a file of ours; undefined for packages and for the sandbox, which is not a layer. */
function layerOf(path: string): string | undefined {
  const layers = LAYERS.filter((layer) => path.startsWith(`${layer}/`));
  return layers.sort((a, b) => b.length - a.length)[0];
}

interface Import {
  from: string;
  to: string;
  typesOnly: boolean;
}

function sources(): string[] {
  return ["lib", "scripts"]
    .flatMap((top) =>
      readdirSync(join(root, top), { recursive: true, encoding: "utf8" }).map((path) => join(top, path)),
    )
    .filter((path) => path.endsWith(".ts"));
}

function doubled(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))].sort();
}

function imports(): Import[] {
  return sources().flatMap((from) => {
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
  const run = ["import", "peer", "sync"].map((name) =>
    readFileSync(join(root, `test/support/units-${name}.ts`), "utf8"),
  );
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
    const pure = ["lib/peer", "lib/x509", "lib/import/plan", "lib/manifests"];
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

  test("no file is long, and a script is short", () => {
    const long = sources().filter((path) => {
      const lines = readFileSync(join(root, path), "utf8").split("\n").length - 1;
      return lines > (/^scripts\/[^/]+$/.test(path) ? 100 : 350);
    });
    assert.deepEqual(long, []);
  });

  test("a file's name occurs once in a layer", () => {
    const names = sources().map((path) => `${layerOf(path) ?? "lib/sandbox"} ${basename(path)}`);
    assert.deepEqual(doubled(names), []);
  });

  test("an exported name means one thing", () => {
    const names = sources().flatMap((path) => {
      const text = readFileSync(join(root, path), "utf8");
      const exported = text.matchAll(/^export (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm);
      return [...exported].map(([, name = ""]) => name);
    });
    assert.deepEqual(doubled(names), []);
  });

  test("nothing below the scripts talks to a terminal, or ends the process", () => {
    const talking = sources().filter((path) => {
      // An exec plugin is given the terminal if there is one, as kubectl does it.
      if (path.startsWith("scripts/") || path === "lib/kube/auth/exec-plugin.ts") return false;
      const text = readFileSync(join(root, path), "utf8");
      return /node:(?:readline|tty)|process\.(?:stdout|stderr|exit)\b|console\./.test(text);
    });
    assert.deepEqual(talking, []);
  });

  test("only exec plugins, KUBECTL_EXTERNAL_DIFF and the demo start other programs", () => {
    const starting = all.filter(
      ({ to, typesOnly }) => !typesOnly && /^(?:node:)?(?:child_process|cluster)$|^zx\b/.test(to),
    );
    assert.deepEqual([...new Set(starting.map(({ from }) => from))].sort(), [
      "lib/kube/auth/exec-plugin.ts",
      "scripts/cli/external-diff.ts",
      "scripts/demo-steps.ts",
    ]);
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
