import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { describeCall } from "../../scripts/cli/call.ts";
import type { Option } from "../../scripts/cli/option.ts";
import { parseArguments } from "../../scripts/cli/parse.ts";
import { commands } from "../../scripts/commands.ts";

const readers = await Promise.all(
  Object.entries(commands).map(async ([name, { load }]) => ({ name, options: (await load()).options })),
);

function wordsOf(command: string): string[] {
  return spawnSync("sh", ["-c", `printf '%s\\0' ${command}`])
    .stdout.toString()
    .split("\0")
    .slice(0, -1);
}

/** The words that set a flag to a value other than its default. */
function typed(name: string, { type, choices, default: standard }: Option): string[] {
  if (type === "boolean") return [standard === true ? `--no-${name}` : `--${name}`];
  if (type === "number") return [`--${name}=${Number(standard ?? 1) + 1}`];
  const value = choices?.map(String).find((one) => one !== standard) ?? "-a b's $(x)";
  return [`--${name}=${value}`];
}

describe("a repeated call keeps all flags, and reads stdin in place of its files", () => {
  for (const { name, options } of readers.filter(({ options }) => "filename" in options)) {
    for (const [flag, option] of Object.entries(options).filter(([flag]) => flag !== "filename")) {
      test(`${name} --${flag}`, () => {
        const grammar = { options, positionals: "FILE" };
        const given = parseArguments("p", grammar, [...typed(flag, option), "a.json", "-f", "b.json"]);
        const { rerun } = describeCall("p", options, given);
        const again = parseArguments("p", grammar, wordsOf(rerun).slice(1));
        assert.deepEqual(again, { ...given, files: ["-"], filename: [] }, rerun);
      });
    }
  }
});

test("a repeated call reads the file of a flag from stdin, and keeps its files", () => {
  const { options } = readers.find(({ name }) => name === "render") ?? { options: {} };
  const grammar = { options, positionals: "FILE" };
  const given = parseArguments("p", grammar, ["--target", "t.json", "--existing", "e.json", "a.json", "-f", "b.json"]);
  const { rerun } = describeCall("p", options, given, "existing");
  const again = parseArguments("p", grammar, wordsOf(rerun).slice(1));
  assert.deepEqual(again, { ...given, existing: "-" }, rerun);
});

test("a repeated call omits defaults, and names extract as the command was called", () => {
  const { options } = readers.find(({ name }) => name === "import") ?? { options: {} };
  const call = (program: string, ...argv: string[]) =>
    describeCall(program, options, parseArguments(program, { options, positionals: "FILE" }, argv));
  assert.deepEqual(call("import-secrets", "a.json"), { rerun: "import-secrets -", extract: "extract-secret" });
  assert.deepEqual(
    call("kubectl clustermesh-secrets import", "--context", "c 1", "--context=c2", "-n", "cilium", "a"),
    {
      rerun: "kubectl clustermesh-secrets import --context 'c 1' --context c2 --namespace cilium -",
      extract: "kubectl clustermesh-secrets extract",
    },
  );
  assert.equal(call("clustermesh-secrets import", "a").extract, "clustermesh-secrets extract");
});
