/** Help and completion as rendered by the build: identical to the source, and printed without loading a command. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { renderHelp } from "../../scripts/cli/help.ts";
import { commands, programNames } from "../../scripts/commands.ts";
import { prerender } from "../../scripts/prerender.ts";
import { node, programPath, run } from "../support/programs.ts";
import { runOnTerminal, withoutTerminals } from "../support/terminal.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe("help and completion", () => {
  let dir: string;
  /** A preload that makes a program write the list of files it loaded. */
  let preload: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "help-"));
    preload = join(dir, "preload.cjs");
    const write = 'require("node:fs").writeFileSync(process.env.LOADED, JSON.stringify(Object.keys(require.cache)))';
    writeFileSync(preload, `process.on("exit", () => ${write});`);
    symlinkSync(programPath("clustermesh-secrets"), join(dir, "kubectl-clustermesh_secrets"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const rendered = (what: string) => JSON.parse(readFileSync(join(root, "dist", `${what}.json`), "utf8"));
  /** The path and arguments that run a command under one of its names. */
  const wordsOf = (program: string): [path: string, ...args: string[]] => {
    const [first = "", ...rest] = program.split(" ");
    return first === "kubectl"
      ? [join(dir, "kubectl-clustermesh_secrets"), ...rest.slice(1)]
      : [programPath(first), ...rest];
  };
  const outputOf = (program: string, ...args: string[]) =>
    execFileSync(node, [...wordsOf(program), ...args], { encoding: "utf8", env: { PATH: process.env.PATH } });

  test("the build renders the same text as the source", async () => {
    const { help, completion } = await prerender();
    assert.deepEqual(rendered("help"), help);
    assert.deepEqual(rendered("completion"), JSON.parse(JSON.stringify(completion)));
    assert.deepEqual(Object.keys(completion), Object.keys(commands));
    assert.equal(Object.keys(help).length, 2 * Object.keys(commands).length + 2);
  });

  test("each command prints its help under each of its names", () => {
    for (const program of Object.keys(commands).flatMap(programNames)) {
      const help = rendered("help")[program];
      assert.ok(help.includes(`\n\nUsage: ${program}`));
      assert.equal(outputOf(program, "--help"), help);
    }
    assert.equal(outputOf("extract-secret", "-h"), rendered("help")["extract-secret"]);
  });

  test("no example in help or docs writes a private key to a file readable by others", () => {
    const texts = Object.values(rendered("help") as Record<string, string>);
    const pages = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .map((name) => join("docs", name));
    for (const path of ["README.md", ...pages]) texts.push(readFileSync(join(root, path), "utf8"));
    const calls = texts.flatMap((text) => text.match(/\bextract(-secret)?\b[^|`\n]* > ?[\w.-]+\.(json|ya?ml)/g) ?? []);
    // Calls of the old scripts, and files without a key.
    const others = /^extract > |--keyless/;
    assert.deepEqual(
      calls.filter((call) => !others.test(call)),
      [],
    );
    assert.ok(calls.length > 1);
  });

  test("help COMMAND equals COMMAND --help, and help equals --help", async () => {
    for (const program of ["clustermesh-secrets", "kubectl clustermesh-secrets"]) {
      assert.equal(outputOf(program, "help", "import"), rendered("help")[`${program} import`]);
      for (const args of [["help"], ["help", "help"], ["help", "--help"]]) {
        assert.equal(outputOf(program, ...args), outputOf(program, "--help"));
      }
    }
  });

  test("an unknown command is rejected with the nearest one", async () => {
    for (const [args, expected] of [
      [["help", "improt"], 'unknown command: "improt"; did you mean import?'],
      [["conenct", "cluster1"], 'unknown command: "conenct"; did you mean connect?'],
      [["xyzzy"], 'unknown command: "xyzzy"'],
    ] as const) {
      const { code, stdout, stderr } = await run("clustermesh-secrets", args);
      assert.deepEqual([code, stdout, stderr.split("\n")[0]], [2, "", `error: ${expected}`]);
    }
  });

  test("a call without a required argument is rejected with what to pass, an example and the command for help", async () => {
    const kubeconfig = join(dir, "kubeconfig");
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        contexts: [{ name: "cluster1", context: { cluster: "cluster1", user: "" } }],
        clusters: [{ name: "cluster1", cluster: { server: "https://127.0.0.1:1" } }],
      }),
    );
    const flags = "--context, --contexts-file or --all-contexts";
    for (const [args, cause, example] of [
      [["connect"], `no contexts given: pass CONTEXT..., ${flags}`, "connect cluster1 cluster2 cluster3"],
      [["connect", "cluster1"], "at least two clusters are required", "connect cluster1 cluster2 cluster3"],
      [["disconnect"], `no cluster given: pass CLUSTER..., and --from, ${flags}`, "disconnect cluster3 --all-contexts"],
      [["disconnect", "cluster3"], `no contexts given: pass --from, ${flags}`, "disconnect cluster3 --all-contexts"],
      [["rotate"], "exactly one CONTEXT is required", "rotate cluster2 --context cluster1 --context cluster3"],
      [
        ["rotate", "cluster2"],
        `no contexts given: pass ${flags}`,
        "rotate cluster2 --context cluster1 --context cluster3",
      ],
      [["import"], "at least one FILE is required (- for stdin)", "import cluster2-secret.json cluster3-secret.json"],
      [["inspect"], "at least one FILE is required (- for stdin)", "inspect *-secret.json"],
      [["verify"], "FILE, --context or --clusters-from is required", "verify cluster2-secret.json"],
    ] as const) {
      const { code, stdout, stderr } = await run("clustermesh-secrets", args, { kubeconfig });
      const help = `see 'clustermesh-secrets ${args[0]} --help'`;
      const lines = [`error: ${cause}`, `  example: clustermesh-secrets ${example}`, `  ${help}`, ""];
      assert.deepEqual([code, stdout, stderr], [2, "", lines.join("\n")]);
    }
    const [plugin, ...words] = wordsOf("kubectl clustermesh-secrets inspect");
    const { stderr } = spawnSync(node, [plugin, ...words], { encoding: "utf8" });
    assert.match(
      stderr,
      /\n {2}example: kubectl clustermesh-secrets inspect .*\n {2}see 'kubectl clustermesh-secrets inspect /,
    );
  });

  test("a value in the wrong place is rejected with the flag that takes it", async () => {
    for (const [args, ...lines] of [
      [
        ["verify", "cluster1"],
        "error: cluster1: no such file or directory",
        "  for the peers of a cluster, pass its context: clustermesh-secrets verify --context cluster1",
      ],
      [
        ["extract", "--output", "cluster1-secret.json"],
        'error: invalid value "cluster1-secret.json" for --output: must be one of json, yaml',
        "  to write to a file, pass --output-file",
      ],
      [["import", "--dry-run"], "error: flag needs an argument: --dry-run (one of none, client, server)"],
    ] as const) {
      const { code, stdout, stderr } = await run("clustermesh-secrets", args, { cwd: dir });
      assert.deepEqual([code, stdout, stderr], [2, "", `${lines.join("\n")}\n`]);
    }
  });

  test("help is the same with other flags and from source", () => {
    const help = rendered("help")["import-secrets"];
    assert.equal(outputOf("import-secrets", "--yes", "--help"), help);
    const source = join(root, "scripts", "import-secrets.ts");
    assert.equal(execFileSync(node, ["--import", "tsx", source, "--help"], { encoding: "utf8", cwd: root }), help);
  });

  test("help wraps to the width of the terminal", { skip: withoutTerminals() }, async () => {
    const extract = await commands.extract?.load();
    assert.ok(extract);
    for (const columns of [60, 99, 100, 140]) {
      const { code, output } = await runOnTerminal("extract-secret", ["--help"], { columns });
      assert.equal(code, 0, output);
      assert.equal(output, await renderHelp("extract-secret", commands.extract?.summary ?? "", extract, columns));
      const [beforeExamples = ""] = output.split("Examples:");
      assert.ok(
        beforeExamples.split("\n").every((line) => line.length <= Math.min(columns, 100)),
        `${columns} columns`,
      );
    }
  });

  test("help and completion load neither a command nor yargs; contexts load only the kubeconfig code", async () => {
    const loaded = async (program: string, ...args: string[]) => {
      const file = join(dir, "loaded");
      const env = { NODE_OPTIONS: `--require ${preload}`, LOADED: file };
      const { code, stderr } = await run(program, args, { env });
      assert.equal(code, 0, stderr);
      const files = JSON.parse(readFileSync(file, "utf8")) as string[];
      return files.map((path) => basename(path)).filter((name) => name !== "preload.cjs");
    };
    for (const [program, ...args] of [
      ["extract-secret", "--help"],
      ["import-secrets", "-h"],
      ["extract-secret", "--version"],
      ["clustermesh-secrets", "--help"],
      ["clustermesh-secrets", "--version"],
      ["clustermesh-secrets", "connect", "--help"],
      ["clustermesh-secrets", "help", "connect"],
      ["clustermesh-secrets", "import", "--version"],
      ["clustermesh-secrets", "__complete", "con"],
      ["clustermesh-secrets", "__complete", "connect", "--c"],
      ["clustermesh-secrets", "__complete", "status", "-o", ""],
      ["extract-secret", "__complete", "--output="],
    ] as [string, ...string[]][]) {
      assert.deepEqual(await loaded(program, ...args), [`${program}.js`], [program, ...args].join(" "));
    }
    assert.deepEqual(await loaded("clustermesh-secrets", "__complete", "connect", "c"), [
      "clustermesh-secrets.js",
      "contexts.js",
    ]);
  });
});
