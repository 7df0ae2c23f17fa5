/** --diff with KUBECTL_EXTERNAL_DIFF, and -o name. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { runExternalDiff } from "../../scripts/cli/external-diff.ts";
import { node, programPath, run } from "../support/programs.ts";

/** A program that prints its arguments, and each file with its mode and content. */
const PRINT_ALL = `#!/bin/sh
printf '%s\\n' "$@"
for folder in "$1" "$2"; do
  find "$folder" -type f -printf '%m %P\\n' -exec cat {} +
done
stat -c '%a' "$(dirname "$2")"
`;

describe("previews for other programs", () => {
  let sandbox: Sandbox;
  let dir: string;
  let temporary: string;
  const diff = (command: string, ...args: string[]) =>
    run("import-secrets", ["--context", "cluster1", "--diff", ...args, "cluster2.json"], {
      kubeconfig: sandbox.kubeconfig,
      cwd: dir,
      env: { KUBECTL_EXTERNAL_DIFF: command, TMPDIR: temporary },
    });
  const program = (name: string, text: string) => {
    const path = join(dir, name);
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    return path;
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "external-diff-"));
    temporary = join(dir, "temporary files");
    mkdirSync(temporary);
    sandbox = await startSandbox();
    const { kubeconfig } = sandbox;
    const extracted = await run("extract-secret", ["cluster2"], { kubeconfig });
    assert.equal(extracted.code, 0, extracted.stderr);
    writeFileSync(join(dir, "cluster2.json"), extracted.stdout);
  });
  after(async () => {
    await sandbox.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("the program gets its arguments and two private folders without private keys", async () => {
    const path = program("print-all", PRINT_ALL);
    const { code, stdout, stderr } = await diff(`${path} -u  --color=never`);
    assert.equal(code, 1, stderr);
    const lines = stdout.split("\n");
    assert.deepEqual(lines.slice(2, 4), ["-u", "--color=never"]);
    assert.match(lines[0] ?? "", /\/LIVE$/);
    assert.match(lines[1] ?? "", /\/PLANNED$/);
    assert.match(stdout, /^600 1-cluster1\/Secret\.kube-system\.cilium-clustermesh\.yaml$/m);
    assert.match(stdout, /cluster2\.etcd-client\.key: private key, SHA-256 [0-9a-f]{32}/);
    assert.doesNotMatch(stdout, /PRIVATE KEY|LS0tLS1CRUdJ/);
    assert.equal(lines.at(-2), "700");
    assert.deepEqual(readdirSync(temporary), []);
  });

  test("a name of an API server cannot place a file outside the private folders", async () => {
    const list = program("list", `#!/bin/sh\nfind "$1" "$2" -type f > '${join(dir, "listed")}'\n`);
    const name = `escaped-${process.pid}`;
    for (const namespace of [`/../../../../${name}`, `../${name}`, `\n/${name}`]) {
      const difference = { kind: "Secret", namespace, name: "x", live: "", planned: "a: 1\n" } as const;
      assert.equal(await runExternalDiff(list, [{ source: "..", differences: [difference] }]), undefined);
      const [file = "", ...others] = readFileSync(join(dir, "listed"), "utf8").trimEnd().split("\n");
      assert.match(file, /\/PLANNED\/1-\.\.\/Secret\.[^/]+\.x\.yaml$/);
      assert.deepEqual(others, []);
    }
    assert.deepEqual(
      readdirSync(tmpdir()).filter((one) => one.startsWith(name)),
      [],
    );
  });

  test("the exit code is that of --diff; only codes above 1 are errors of the program", async () => {
    assert.equal((await diff(program("none", "#!/bin/sh\nexit 0\n"))).code, 1);
    for (const [command, outcome] of [
      [program("broken", "#!/bin/sh\nexit 3\n"), "exited with code 3"],
      ["no-such-program", "exited with code 127"],
      [program("killed", "#!/bin/sh\nkill -KILL $$\n"), "(was ended by SIGKILL|exited with code 137)"],
    ] as const) {
      const { code, stderr } = await diff(command);
      assert.equal(code, 2);
      assert.match(stderr, new RegExp(`^error: KUBECTL_EXTERNAL_DIFF: "${command}" ${outcome}$`, "m"));
      assert.deepEqual(readdirSync(temporary), []);
    }
  });

  test("a signal removes the folders", async () => {
    const started = join(dir, "started");
    const path = program("waiting", `#!/bin/sh\n: > '${started}'\nexec sleep 60\n`);
    const child = spawn(node, [programPath("import-secrets"), "--context", "cluster1", "--diff", "cluster2.json"], {
      cwd: dir,
      detached: true,
      env: {
        ...{ PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: sandbox.kubeconfig },
        ...{ KUBECTL_EXTERNAL_DIFF: path, TMPDIR: temporary },
      },
      stdio: "ignore",
    });
    const exited = once(child, "exit");
    while (!existsSync(started)) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(readdirSync(temporary).length, 1);
    // As Ctrl-C does, to the whole process group.
    process.kill(-(child.pid ?? assert.fail()), "SIGINT");
    assert.deepEqual(await exited, [null, "SIGINT"]);
    assert.deepEqual(readdirSync(temporary), []);
  });

  test("-o name prints the objects that change, before and after they are written", async () => {
    const go = (...args: string[]) =>
      run("clustermesh-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir, env: { TMPDIR: temporary } });
    const imports = ["import", "--context", "cluster1", "--restart-agents", "-o", "name", "cluster2.json"];
    const names = "secret/cilium-clustermesh\ndaemonset.apps/cilium\n";
    const planned = await go(...imports, "--dry-run=server");
    assert.deepEqual([planned.code, planned.stdout.split("\n").sort()], [0, names.split("\n").sort()], planned.stderr);
    const written = await go(...imports);
    assert.deepEqual([written.code, written.stdout], [0, planned.stdout], written.stderr);
    const again = await go(...imports);
    assert.deepEqual([again.code, again.stdout], [0, ""], again.stderr);
    assert.equal((await diff("no-such-program", "--restart-agents")).code, 0, "nothing differs, so nothing runs");
    const connected = await go("connect", "cluster2", "cluster3", "--yes", "-o", "name");
    assert.equal(connected.code, 0, connected.stderr);
    assert.match(connected.stdout, /^secret\/cilium-kvstoremesh$/m);
  });
});
