/** Completion in the protocol of kubectl, and in each shell that is installed. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { node, run } from "../support/programs.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const supporting = (file: string) => join(root, "test", "support", file);
const CONTEXTS = ["admin@c1", "arn:aws:eks:eu:1:cluster/x", "arn:aws:eks:eu:1:cluster/y", "kind-c2"];

describe("completion", () => {
  let dir: string;
  let kubeconfig: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "completion-"));
    kubeconfig = join(dir, "kubeconfig");
    const contexts = CONTEXTS.map((name) => ({ name, context: { cluster: "c", user: "u" } }));
    writeFileSync(
      kubeconfig,
      JSON.stringify({ contexts, clusters: [{ name: "c2", cluster: { server: "https://c2" } }] }),
    );
    writeFileSync(join(dir, "c2-secret.json"), "");
    const { bin } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { bin: Record<string, string> };
    for (const [name, program] of Object.entries(bin)) symlinkSync(join(root, program), join(dir, name));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const ask = async (...words: string[]) => {
    const { code, stdout, stderr } = await run("clustermesh-secrets", ["__complete", ...words], { kubeconfig });
    assert.deepEqual([code, stderr], [0, ""]);
    return stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/\t.+/, ""));
  };
  const shell = (command: string, ...args: string[]) =>
    execFileSync(command, args, {
      cwd: dir,
      encoding: "utf8",
      env: { HOME: dir, KUBECONFIG: kubeconfig, PATH: [dir, dirname(node), process.env.PATH].join(":") },
    });
  const without = (command: string) => {
    try {
      execFileSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" });
      return false;
    } catch {
      return `${command} is not there`;
    }
  };

  test("completes commands, unused flags, their values and unused contexts", async () => {
    const offered: [words: string[], offers: string[]][] = [
      [["con"], ["connect", ":4"]],
      [
        ["help", "con"],
        ["connect", ":4"],
      ],
      [["help", "connect", ""], [":4"]],
      [["nonsense", ""], [":4"]],
      [
        ["connect", "--h"],
        ["--hub", "--help", ":4"],
      ],
      [
        ["connect", "--hub", "kind-c2", "--h"],
        ["--help", ":4"],
      ],
      [
        ["connect", "--context", "kind-c2", "--con"],
        ["--context", "--contexts-file", ":4"],
      ],
      [
        ["import", "--no-u"],
        ["--no-users", ":4"],
      ],
      [
        ["status", "-o", ""],
        ["json", "yaml", "wide", "mermaid", "html", "prometheus", ":4"],
      ],
      [
        ["status", "--output=w"],
        ["--output=wide", ":4"],
      ],
      [
        ["status", "--watch", "k"],
        ["kind-c2", ":4"],
      ],
      [["status", "kind-c2", "kin"], [":4"]],
      [
        ["disconnect", ""],
        ["kind-c2", "c2", ":4"],
      ],
      [["disconnect", "c2", "kind-c2", ""], [":4"]],
      [
        ["connect", "arn"],
        [...CONTEXTS.slice(1, 3), ":4"],
      ],
      [
        ["connect", "--hub=a"],
        [...CONTEXTS.slice(0, 3).map((name) => `--hub=${name}`), ":4"],
      ],
      [
        ["extract", "k"],
        ["kind-c2", ":4"],
      ],
      [["import", "c2"], [":0"]],
      [["extract", "--output-file", ""], [":0"]],
      [["extract", "--namespace", ""], [":4"]],
    ];
    for (const [words, offers] of offered) assert.deepEqual(await ask(...words), offers, words.join(" "));
  });

  test("uses the kubeconfig of the command line, and ignores one that cannot be read", async () => {
    const other = join(dir, "other");
    writeFileSync(
      other,
      JSON.stringify({ contexts: ["elsewhere", "a\nb", "\x1b[2Jc"].map((name) => ({ name, context: {} })) }),
    );
    assert.deepEqual(await ask("connect", "--kubeconfig", other, ""), ["elsewhere", ":4"]);
    assert.deepEqual(await ask("connect", `--kubeconfig=${other}`, ""), ["elsewhere", ":4"]);
    assert.deepEqual(await ask("connect", "--kubeconfig", join(dir, "none"), ""), [":4"]);
  });

  test("an unknown shell is rejected with the supported ones", async () => {
    const { code, stderr } = await run("clustermesh-secrets", ["completion", "tcsh"]);
    assert.equal(code, 2);
    assert.match(stderr, /^error: exactly one shell is required: bash, zsh, fish\n {2}example: source <\(/);
  });

  test("bash inserts the part after its word breaks", { skip: without("bash") }, () => {
    const words = (line: string) => line.match(/[=:@]|[^\s=:@]+|(?<=\s)$/g) ?? [];
    const reply = (line: string) => shell("bash", supporting("complete.bash"), line, ...words(line));
    assert.equal(reply("clustermesh-secrets connect arn:aws:eks:eu:1:cl"), "cluster/x|cluster/y|");
    assert.equal(reply("clustermesh-secrets status --output="), "json|yaml|wide|mermaid|html|prometheus|");
    assert.equal(reply("extract-secret --context admin@"), "c1|");
    assert.equal(reply("import-secrets --prune c2"), "|");
  });

  test("zsh shows descriptions and escapes colons", { skip: without("zsh") }, () => {
    const offers = (...words: string[]) => shell("zsh", "-f", supporting("complete.zsh"), ...words);
    assert.equal(
      offers("clustermesh-secrets", "connect", "arn"),
      "arn\\:aws\\:eks\\:eu\\:1\\:cluster/x\narn\\:aws\\:eks\\:eu\\:1\\:cluster/y\n",
    );
    assert.equal(offers("clustermesh-secrets", "connect", "--he"), "--help:show this help\n");
    assert.equal(offers("clustermesh-secrets", "import", "--prune", ""), "files\n");
    assert.equal(offers("/somewhere/extract-secret", "--context", "k"), "kind-c2\n");
  });

  test("fish shows the same completions", { skip: without("fish") }, () => {
    const offers = (line: string) =>
      shell("fish", "-c", "clustermesh-secrets completion fish | source; complete -C $argv", line);
    assert.equal(offers("clustermesh-secrets connect k"), "kind-c2\n");
    assert.equal(offers("clustermesh-secrets connect --hub=k"), "--hub=kind-c2\n");
    assert.match(offers("extract-secret --he"), /^--help\tshow this help\n$/);
    assert.equal(offers("import-secrets c2"), "c2-secret.json\n");
    assert.equal(offers("extract-secret --output-file=c2"), "--output-file=c2-secret.json\n");
  });

  test("kubectl completes its plugin", { skip: without("kubectl") }, () => {
    assert.equal(shell("bash", "-c", "kubectl __complete clustermesh-secrets connect ki 2>/dev/null"), "kind-c2\n:4\n");
  });
});
