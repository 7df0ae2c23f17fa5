/** The built programs on a terminal. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { parse, stringify } from "yaml";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { CAREFUL, carefulCluster } from "../support/careful.ts";
import { run } from "../support/programs.ts";
import { KEYS, runOnTerminal, type TerminalOptions, withoutTerminals } from "../support/terminal.ts";

const { enter, ctrlC, ctrlD, ctrlZ } = KEYS;
/** Control characters. */
const CONTROL = /[^\P{Cc}\n]/u;
const QUESTION = /Remove these peers and revoke these etcd users\? \[y\/N\] /;
const start = () => startSandbox({ clusters: CAREFUL.map((name) => ({ description: carefulCluster(name) })) });

describe("the programs on a terminal", { skip: withoutTerminals() }, () => {
  let sandbox: Sandbox;
  let dir: string;
  const file = (name: string) => join(dir, `${name}.json`);
  const on = (program: string, args: string[], options: TerminalOptions = {}) =>
    runOnTerminal(program, args, { kubeconfig: sandbox.kubeconfig, ...options });
  /** The number of writes to c1. */
  const writes = () => sandbox.clusters[0]?.api.requests.filter(({ method }) => method !== "GET").length;
  const peersIn = () => {
    const found = sandbox.clusters[0]?.api.store.read("Secret", "kube-system", "cilium-clustermesh");
    return Object.keys((found as V1Secret | undefined)?.data ?? {}).filter((key) => !key.includes("."));
  };
  /** Imports c2 and c3 into c1, and returns the arguments of an import that prunes c2. */
  const pruning = async () => {
    const { kubeconfig } = sandbox;
    const { code, stderr } = await run("import-secrets", ["--context", "c1", file("c2"), file("c3")], { kubeconfig });
    assert.equal(code, 0, stderr);
    return ["--context", "c1", "--prune", file("c3")];
  };
  /**
   * Writes a kubeconfig with exec plugins that prompt for a password, the token of the cluster. The log contains the
   * input of each run.
   */
  const withPlugins = async () => {
    const [plugin, log, kubeconfig] = ["plugin", "log", "kubeconfig"].map((name) =>
      join(sandbox.dir, `asking-${name}`),
    );
    assert.ok(plugin && log && kubeconfig);
    const apiVersion = "client.authentication.k8s.io/v1beta1";
    await writeFile(
      plugin,
      `#!/bin/sh
echo "$1 $KUBERNETES_EXEC_INFO" >> '${log}'
stty -echo
printf 'Password of %s: ' "$1" >&2
read -r password
stty echo
echo >&2
echo '{"apiVersion": "${apiVersion}", "kind": "ExecCredential", "status": {"token": "'"$password"'"}}'
`,
    );
    await chmod(plugin, 0o755);
    const config = parse(await readFile(sandbox.kubeconfig, "utf8"));
    config.users = CAREFUL.map((name) => ({ name, user: { exec: { apiVersion, command: plugin, args: [name] } } }));
    await writeFile(kubeconfig, stringify(config));
    return { kubeconfig, runs: async () => (await readFile(log, "utf8")).trimEnd().split("\n") };
  };
  const password = (name: string) => [new RegExp(`Password of ${name}: $`), `${name}-admin${enter}`] as const;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "terminal-"));
    const { kubeconfig, stop } = await start();
    for (const context of CAREFUL) {
      const args = ["--context", context, "--output-file", file(context)];
      const { code, stderr } = await run("extract-secret", args, { kubeconfig });
      assert.equal(code, 0, stderr);
    }
    await stop();
  });
  after(async () => {
    if (dir) await rm(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    sandbox = await start();
  });
  afterEach(() => sandbox.stop());

  test("exec plugins prompt one after the other, and once per run", async () => {
    const { kubeconfig, runs } = await withPlugins();
    const args = ["status", "--all-contexts", "--wait", "--timeout=3s"];
    const { code, output } = await on("clustermesh-secrets", args, { kubeconfig, answers: CAREFUL.map(password) });
    assert.equal(code, 1, output);
    assert.ok(output.startsWith("Password of c1: \nPassword of c2: \nPassword of c3: \n"), output);
    assert.doesNotMatch(output, /-admin|unreachable/);
    assert.match(output, /error.*: timed out after 3s waiting for the mesh to become healthy/);
    const info = {
      kind: "ExecCredential",
      apiVersion: "client.authentication.k8s.io/v1beta1",
      spec: { interactive: true },
    };
    assert.deepEqual(
      await runs(),
      CAREFUL.map((name) => `${name} ${JSON.stringify(info)}`),
    );
    for (const { api } of sandbox.clusters) {
      assert.ok(api.requests.filter(({ path }) => path.includes("cilium-config")).length > 1, "looked at again");
    }
  });

  test("an exec plugin with a rejected token runs once more", async () => {
    const { kubeconfig, runs } = await withPlugins();
    const wrong = [/Password of c2: $/, `wrong${enter}`] as const;
    for (const [last, state] of [
      [password("c2"), /^c2 +2 /m],
      [wrong, /^error: c2: .*401/m],
    ] as const) {
      const answers = [password("c1"), wrong, last];
      const env = { NO_COLOR: "1" };
      const { output } = await on("clustermesh-secrets", ["status", "c1", "c2"], { kubeconfig, env, answers });
      assert.match(output, /^c1 +1 /m);
      assert.match(output, state);
    }
    assert.equal((await runs()).filter((run) => run.startsWith("c2")).length, 4);
  });

  test("a confirmation prompt works after the prompt of a plugin", async () => {
    const args = await pruning();
    const { kubeconfig } = await withPlugins();
    const answers = [password("c1"), [QUESTION, `y${enter}`]] as const;
    const { code, output } = await on("import-secrets", args, { kubeconfig, answers });
    assert.equal(code, 0, output);
    assert.deepEqual(peersIn(), ["c3"]);
  });

  test("a private key printed to the terminal causes a warning", async () => {
    const { code, output } = await on("extract-secret", ["--context", "c2"], { env: { NO_COLOR: "1" } });
    assert.equal(code, 0, output);
    assert.match(
      output,
      /^warning: private key printed to the terminal; use --output-file FILE to create it with mode 0600$/m,
    );
  });

  test("--prune asks for confirmation and removes the peer", async () => {
    const args = await pruning();
    const { code, output } = await on("import-secrets", args, { answers: [[QUESTION, `y${enter}`]] });
    assert.equal(code, 0, output);
    assert.match(output, /will remove c2; will revoke etcd users remote-c2\n/);
    assert.match(output, /removed.* c2; unchanged c3\n/);
    assert.deepEqual(peersIn(), ["c3"]);
  });

  /** Restarts the sandbox with a version of c1 whose agents need host aliases. */
  const withAgents = async () => {
    await sandbox.stop();
    const [first, ...others] = CAREFUL.map((name) => ({ description: carefulCluster(name) }));
    const old = {
      ...(first as { description: ClusterDescription }).description,
      version: "1.14.12",
      kvstoremesh: false,
    };
    sandbox = await startSandbox({ clusters: [{ description: old }, ...others] });
  };
  const agentsIn = () => {
    const found = sandbox.clusters[0]?.api.store.read("DaemonSet", "kube-system", "cilium");
    return JSON.stringify(found?.spec?.template?.spec?.hostAliases ?? []).includes("c2.mesh.cilium.io");
  };
  const CHOICES = /restart the agents\? \[y\/n\/A\] /;

  for (const [program, what, keys, code, written, restarted] of [
    ["connect", "yes", `YES${enter}`, 0, ["c2"], true],
    ["import", "yes", `y${enter}`, 0, ["c2"], true],
    ["connect", "no", `n${enter}`, 3, ["c2"], false],
    ["import", "no", `no${enter}`, 3, ["c2"], false],
    ["connect", "abort", `abort${enter}`, 2, [], false],
    ["import", "Enter", enter, 2, [], false],
    ["connect", "Ctrl-D", ctrlD, 2, [], false],
    ["import", "an invalid answer, then yes", `sure${enter}y${enter}`, 0, ["c2"], true],
  ] as const) {
    test(`${program} shows restarts before the prompt with its choices; answer: ${what}`, async () => {
      await withAgents();
      const args = program === "connect" ? ["connect", "c1", "c2"] : ["import", "--context", "c1", file("c2")];
      const options = { env: { NO_COLOR: "1" }, answers: [[CHOICES, keys]] as const, columns: 200 };
      const ended = await on("clustermesh-secrets", args, options);
      const { output } = ended;
      assert.equal(ended.code, code, output);
      const [before = ""] = output.split(CHOICES);
      assert.match(before, /^c1: will add c2.*; will restart daemonset\/cilium$/m);
      assert.match(
        before,
        /^will restart daemonset\/cilium \(all Cilium agents\) in c1, if confirmed, to add host aliases/m,
      );
      assert.match(before, /^yes: write and restart the agents\nno: write without .*\nabort: write nothing$/m);
      assert.deepEqual([peersIn(), agentsIn()], [written, restarted]);
      assert.equal(output.includes("nothing was written"), written.length === 0);
      assert.equal(output.includes("not connecting yet: daemonset/cilium"), written.length > 0 && !restarted);
    });
  }

  test("--yes does not prompt and does not restart agents", async () => {
    await withAgents();
    const env = { NO_COLOR: "1" };
    const args = ["connect", "c1", "c2", "--yes"];
    const { code, output } = await on("clustermesh-secrets", args, { env });
    assert.equal(code, 3, output);
    assert.doesNotMatch(output, /\[y\/|^restarts/m);
    assert.equal(agentsIn(), false);
    assert.deepEqual(peersIn(), ["c2"]);
  });

  for (const [what, keys, code, message] of [
    ["n", `n${enter}`, 2, "nothing was written"],
    ["Enter", enter, 2, "nothing was written"],
    ["Ctrl-D", ctrlD, 2, "nothing was written"],
    ["Ctrl-C", ctrlC, 130, "interrupted; nothing was written"],
  ] as const) {
    test(`${what} at the prompt exits with ${code}, writes nothing, and reports that on a new line`, async () => {
      const args = await pruning();
      const before = writes();
      const ended = await on("import-secrets", args, { answers: [[QUESTION, keys]] });
      assert.equal(ended.code, code, ended.output);
      assert.ok(ended.output.endsWith(`\n${message}\n`), JSON.stringify(ended.output));
      assert.equal(writes(), before);
    });
  }

  test("Ctrl-C also ends the loop of a shell", async () => {
    const args = await pruning();
    const line = 'for one in 1 2; do "$@"; done';
    const { code, output } = await on("import-secrets", args, { answers: [[QUESTION, ctrlC]], line });
    assert.equal(code, 130, output);
    assert.equal(output.match(/nothing was written/g)?.length, 1, output);
  });

  test("the prompt is repeated after Ctrl-Z and fg, also below make", async () => {
    const args = await pruning();
    const stopped = /Stopped.*\[y\/N\] /s;
    for (const line of ['"$@"', `sh -c '"$@"; exit $?' sh "$@"`]) {
      const answers = [
        [QUESTION, ctrlZ],
        [stopped, ctrlZ],
        [stopped, `n${enter}`],
      ] as const;
      const { code, output } = await on("import-secrets", args, { answers, line: `set -m; ${line}; fg; fg` });
      assert.equal(code, 2, output);
      assert.ok(output.endsWith("\nnothing was written\n"), JSON.stringify(output));
    }
    assert.deepEqual(peersIn(), ["c2", "c3"]);
  });

  test("Ctrl-Z without job control keeps the prompt open", async () => {
    const args = await pruning();
    const { code, output } = await on("import-secrets", args, { answers: [[QUESTION, `${ctrlZ}y${enter}`]] });
    assert.equal(code, 0, output);
    assert.deepEqual(peersIn(), ["c3"]);
  });

  test("a terminal shows colours, unless NO_COLOR is set or it is dumb", async () => {
    const pruned = await pruning();
    const calls: [program: string, args: string[], answers?: TerminalOptions["answers"]][] = [
      ["clustermesh-secrets", ["status", ...CAREFUL]],
      ["clustermesh-secrets", ["connect", ...CAREFUL, "--yes"]],
      ["import-secrets", pruned, [[QUESTION, `n${enter}`]]],
    ];
    for (const [program, args, answers = []] of calls) {
      for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }]) {
        const { output } = await on(program, args, { env, answers });
        assert.match(output, /^c1\b/m);
        assert.doesNotMatch(output, CONTROL);
      }
      const { output } = await on(program, args, { answers });
      assert.ok(output.includes("\u001b[1mc1\u001b[22m"), JSON.stringify(output));
    }
  });

  test("--help wraps to a narrow terminal, and accepts an unknown width", async () => {
    for (const [program, ...command] of [["extract-secret"], ["import-secrets"], ["clustermesh-secrets", "status"]]) {
      for (const columns of [30, 0]) {
        const { code, output } = await on(program as string, [...command, "--help"], { columns });
        assert.equal(code, 0, output);
        assert.match(output, /^Usage: .*--context.*^Connection:$.*^Examples:$.*^Exit codes:$/ms);
        const wrapped = output.replace(/^Examples:$.*(?=^Exit codes:$)/ms, "");
        const longest = Math.max(...wrapped.split("\n").map(({ length }) => length));
        assert.ok(columns === 0 || longest <= columns, `${longest} columns`);
        assert.doesNotMatch(output, CONTROL);
      }
    }
  });
});
