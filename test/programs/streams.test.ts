/** Flags in the forms of kubectl, and streams that are closed early or full. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, programPath, run } from "../support/programs.ts";

const posix = { skip: process.platform === "win32" };

describe("flags and streams", () => {
  let sandbox: Sandbox;
  let dir: string;
  const start = (name: string) => `"${node}" "${programPath(name)}"`;
  const imports = (...args: string[]) =>
    run("import-secrets", ["--context", "cluster3", ...args], { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const store = () => sandbox.clusters[2]?.api.store;
  const written = () => store()?.read("Secret", "kube-system", "cilium-kvstoremesh") !== undefined;
  /** Runs a line of bash with the programs as the functions `extract`, `import` and `mesh`. */
  const bash = (line: string) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const script = `set -o pipefail
        extract() { ${start("extract-secret")} "$@"; }
        import() { ${start("import-secrets")} --context cluster3 "$@"; }
        mesh() { ${start("clustermesh-secrets")} "$@"; }
        ${line}`;
      const env = { PATH: process.env.PATH, HOME: dir, KUBECONFIG: sandbox.kubeconfig };
      execFile("bash", ["-c", script], { cwd: dir, env }, (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
      );
    });

  before(async () => {
    sandbox = await startSandbox({ clusters: defaultClusters("ec") });
    dir = mkdtempSync(join(tmpdir(), "streams-"));
    const args = ["--context", "cluster2", "--output-file", join(dir, "c2.json")];
    assert.equal((await run("extract-secret", args, { kubeconfig: sandbox.kubeconfig })).code, 0);
  });
  beforeEach(() => {
    for (const name of ["cilium-clustermesh", "cilium-kvstoremesh"]) store()?.remove("Secret", "kube-system", name);
    store()?.remove("ConfigMap", "kube-system", "clustermesh-remote-users");
  });
  after(async () => {
    await sandbox?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("preview flags never write, with any spelling of true", async () => {
    for (const flag of ["--diff=true", "--diff=True", "--diff=1", "--diff=t"]) {
      const { code, stdout } = await imports(flag, "c2.json");
      assert.equal(code, 1, flag);
      assert.match(stdout, /^\+ {2}cluster2: \|/m);
    }
    for (const flag of ["--diff=yes", "--diff=maybe", "--diff=", "--prune=y"]) {
      const { code, stderr } = await imports(flag, "c2.json");
      assert.equal(code, 2, flag);
      assert.match(stderr, /^error: invalid value "\w*" for --(diff|prune): must be true or false$/m);
    }
    assert.ok(!written());
    for (const flag of ["--diff=false", "--diff=0", "--no-diff"])
      assert.equal((await imports(flag, "c2.json")).code, 0);
    assert.ok(written());
  });

  test("short flags accept attached values and can be combined", async () => {
    for (const flag of ["-oyaml", "-o=yaml"]) {
      assert.match((await imports("--dry-run=client", flag, "c2.json")).stdout, /^---\napiVersion: v1\n/);
    }
    assert.equal((await imports("--dry-run=client", "-nkube-system", "-fc2.json")).code, 0);
    assert.match((await imports("-nelsewhere", "c2.json")).stderr, /elsewhere/);
    assert.match((await imports("-yh")).stdout, /^Usage: import-secrets/m);
  });

  test("an unknown flag is rejected with a suggestion", async () => {
    const refused: [string, RegExp][] = [
      ["--no-context", /unknown flag: --no-context; did you mean --context\?/],
      ["--no-namespace", /unknown flag: --no-namespace; did you mean --namespace\?/],
      ["--no-users=true", /--no-users does not accept a value/],
      ["--dif", /unknown flag: --dif; did you mean --diff\?/],
      ["-x", /unknown flag: -x/],
      ["-yx", /unknown flag: -yx/],
      ["-y=maybe", /invalid value "maybe" for --yes: must be true or false/],
    ];
    for (const [flag, expected] of refused) {
      const { code, stderr } = await imports(flag, "c2.json");
      assert.equal(code, 2, flag);
      assert.match(stderr, expected);
      assert.doesNotMatch(stderr, /unexpected/);
    }
    assert.ok(!written());
  });

  test("an import with closed stderr completes", posix, async () => {
    for (const end of ["2>&1 </dev/null | head -c 1 >/dev/null", "2>/dev/full", "2>&-"]) {
      store()?.remove("Secret", "kube-system", "cilium-kvstoremesh");
      assert.deepEqual(await bash(`import c2.json --debug ${end}`), { code: 0, stdout: "", stderr: "" }, end);
      assert.ok(written(), end);
    }
  });

  test("a full disk is an error instead of a truncated file", posix, async () => {
    for (const line of [
      "extract --context cluster2",
      "import --dry-run=client -o yaml c2.json",
      "mesh inspect c2.json",
    ]) {
      const { code, stderr } = await bash(`${line} >/dev/full`);
      assert.equal(code, 1, line);
      assert.match(stderr, /^error: cannot write to stdout: no space left on device$/m);
    }
    const { code, stderr } = await bash("ulimit -f 2; extract --context cluster2 > part.json");
    assert.equal(code, 1);
    assert.match(stderr, /error: cannot write to stdout: file too large$/m);
    for (const line of ["mesh --version", "mesh --help", "mesh __complete ''", "extract --help"]) {
      const { code, stderr } = await bash(`${line} >/dev/full`);
      assert.deepEqual(
        { code, stderr },
        { code: 1, stderr: "error: cannot write to stdout: no space left on device\n" },
        line,
      );
    }
    assert.equal((await bash("mesh bogus 2>/dev/full")).code, 2);
  });

  test("a closed stdout does not fail a command, and ends --watch", posix, async () => {
    const { code, stdout, stderr } = await bash("mesh status cluster2 cluster3 --watch | head -1");
    assert.match(stdout, /^CLUSTER +ID /);
    assert.equal(stderr, "");
    assert.ok([0, 3].includes(code), String(code));
  });

  test(
    "--output-file follows a link, writes into a pipe or a device, and leaves no half of itself",
    posix,
    async () => {
      const extract = (path: string) => bash(`extract --context cluster2 --output-file ${path}`);
      writeFileSync(join(dir, "target.json"), "", { mode: 0o644 });
      symlinkSync("target.json", join(dir, "link.json"));
      assert.equal((await extract("link.json")).code, 0);
      assert.equal(statSync(join(dir, "target.json")).mode & 0o777, 0o600);
      const whole = readFileSync(join(dir, "c2.json"), "utf8");
      assert.equal(readFileSync(join(dir, "target.json"), "utf8"), whole);
      assert.equal(
        (await bash("mkfifo pipe; cat pipe & extract --context cluster2 --output-file pipe; wait")).stdout,
        whole,
      );
      assert.ok(statSync(join(dir, "pipe")).isFIFO());
      assert.equal((await bash("extract --context cluster2 --output-file >(cat >&2)")).stderr, whole);
      for (const [path, why] of [
        [".", "is a directory"],
        ["c2.json/x", "not a directory"],
        ["/dev/full", "no space left on device"],
      ] as const) {
        const { code, stderr } = await extract(path);
        assert.deepEqual({ code, stderr }, { code: 1, stderr: `error: cannot write ${path}: ${why}\n` });
      }
      assert.ok(!existsSync(join(dir, "x")));
    },
  );

  test("--diff reports changes that need another flag, and exits with 2 on errors", async () => {
    const diff = (...args: string[]) =>
      run("import-secrets", ["--context", "cluster1", "--diff", ...args], { kubeconfig: sandbox.kubeconfig, cwd: dir });
    const { code, stderr } = await diff("c2.json");
    assert.equal(code, 1);
    assert.match(stderr, /not connecting yet: daemonset\/cilium has no host alias for cluster2\.mesh\.cilium\.io/);
    assert.equal((await diff("--context", "nowhere", "c2.json")).code, 2);
    assert.equal((await diff("none.json")).code, 2);
    assert.equal((await diff("-n", "elsewhere", "c2.json")).code, 2);
  });
});
