/** Commands with any names in them, completed with any flags, are what a real shell runs: word for word. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { shellQuote } from "../../lib/util/shell.ts";
import { splitCommands } from "../../scripts/cli/find-commands.ts";
import { addGivenFlags, type ConnectionFlags } from "../../scripts/cli/given-flags.ts";
import { completeError, setGivenFlags } from "../../scripts/cli/streams.ts";

const FRAGMENTS = [
  ...["'", '"', "\\", " ", "\n", "$", "`touch PWNED`", "$(touch PWNED)", " > PWNED ", " # ", " | ", " && ", "; "],
  ...["kubectl ", "; kubectl ", ": import-secrets ", "; then ", " while kubectl get ", " --help ", " -n x ", "é"],
  ...[" --context c1 ", " --kubeconfig=x ", " --all-contexts ", " --clusters-from=flux ", "o'brien", "a; kubectl 'b "],
];

const text = fc
  .array(fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...FRAGMENTS) }, fc.string({ maxLength: 4 })), {
    maxLength: 6,
  })
  .map((parts) => parts.join("").replaceAll("\0", ""));
/** A name that does not look like a flag. */
const name = text.map((one) => `n${one}`);
const flags = fc.record(
  { kubeconfig: name, as: name, "as-group": fc.array(name, { maxLength: 2 }), "clusters-from": fc.constant("argocd") },
  { requiredKeys: [] },
);
const words = fc.oneof(
  name.map((one) => ["clustermesh-secrets", "connect", "c1", one]),
  name.map((one) => ["kubectl", "--context", one, "get", "pods"]),
  fc.tuple(name, name).map(([a, b]) => ["helm", "upgrade", a, "cilium/cilium", "--kube-context", b]),
  name.map((one) => ["import-secrets", "--context", one, "-"]),
);

/** Commands after a prose, and flags to complete them with. */
const pasted = fc.record({ prose: text, commands: fc.array(words, { minLength: 1, maxLength: 3 }), flags });

const format = (commands: readonly string[][]) =>
  commands.map((command) => command.map(shellQuote).join(" ")).join(" && ");

/** Runs lines by bash, with functions that print their words for the programs; returns the commands that each line ran. */
function run(lines: readonly string[]): string[][][] {
  const folder = mkdtempSync(join(tmpdir(), "pasted-"));
  try {
    const programs = ["clustermesh-secrets", "kubectl", "helm", "import-secrets"];
    const script = [
      ...programs.map((one) => `${one}() { printf '%s\\0' ${one} "$@" END; }`),
      ...lines.map((line) => `${line}\nprintf '%s\\0' LINE`),
    ];
    const output = execFileSync("bash", ["-s"], {
      cwd: folder,
      input: script.join("\n"),
      encoding: "utf8",
      maxBuffer: 1e8,
    });
    assert.deepEqual(readdirSync(folder), []);
    return output
      .split("LINE\0")
      .slice(0, -1)
      .map((line) =>
        line
          .split("END\0")
          .slice(0, -1)
          .map((one) => one.split("\0").slice(0, -1)),
      );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Asserts that commands are the given ones with only flags of the call inserted after their programs. */
function assertCompleted(actual: readonly string[][], expected: readonly string[][], call: ConnectionFlags): void {
  assert.equal(actual.length, expected.length);
  const values = Object.entries(call).flatMap(([flag, value]) => [value].flat().map((one) => `--${flag}=${one}`));
  for (const [i, words] of expected.entries()) {
    const start = words[0] === "clustermesh-secrets" ? 2 : 1;
    const added = (actual[i]?.length ?? 0) - words.length;
    assert.deepEqual([...(actual[i]?.slice(0, start) ?? []), ...(actual[i]?.slice(start + added) ?? [])], words);
    for (const one of actual[i]?.slice(start, start + added) ?? []) assert.ok(values.includes(one), one);
  }
}

const MARK = "run this: ";
const REST = "; then go on";

test("a completed command has the words of the command as they were, and a shell runs nothing else", () => {
  const cases = fc.sample(pasted, { numRuns: 400, seed: 1 });
  const lines = cases.flatMap(({ prose, commands, flags: call }) => {
    const line = format(commands);
    const after = `${prose.replaceAll("\n", " ")}; ${MARK}${line}`;
    setGivenFlags(call);
    const completed = [addGivenFlags(after, call), completeError(after)];
    const alone = addGivenFlags(line, call);
    const [before, split = "", rest] = splitCommands(`${alone}${REST}`);
    assert.equal(before, "");
    return [
      alone,
      // A line in which a name looks like a command is not split.
      rest === REST ? split : alone,
      ...completed.map((one) => one.slice(one.lastIndexOf(MARK) + MARK.length)),
    ];
  });
  setGivenFlags({});
  const ran = run(lines);
  assert.equal(ran.length, lines.length);
  for (const [i, { commands, flags: call }] of cases.entries()) {
    for (const line of ran.slice(4 * i, 4 * i + 4)) assertCompleted(line, commands, call);
  }
});

test("names of clusters that look like commands, flags and quotes do not keep a command from being completed", () => {
  for (const one of [
    "x; kubectl $(touch PWNED) ' y",
    "team a; kubectl get",
    "a --help b",
    "a --kubeconfig=x",
    "a -n b",
  ]) {
    const call = { kubeconfig: "/my files/kc", as: "o'brien", "clusters-from": "argocd" };
    const commands = [["clustermesh-secrets", "connect", "c1", one]];
    const added = ["--clusters-from=argocd", "--kubeconfig=/my files/kc", "--as=o'brien"];
    const expected = [["clustermesh-secrets", "connect", ...added, "c1", one]];
    assert.deepEqual(run([addGivenFlags(format(commands), call)]), [expected]);
  }
});
