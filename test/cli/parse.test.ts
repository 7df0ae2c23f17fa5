/** Arguments of all commands, generated from their flag tables: a new flag needs no new test. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { UserError } from "../../lib/util/errors.ts";
import { normalizeArgs } from "../../scripts/cli/normalize.ts";
import type { Grammar, Option } from "../../scripts/cli/option.ts";
import { parseArguments } from "../../scripts/cli/parse.ts";
import { commands } from "../../scripts/commands.ts";

const all = await Promise.all(
  Object.entries(commands).map(async ([name, { load }]) => {
    const { options, positionals, exclusive = [] } = await load();
    return {
      name,
      grammar: { options, ...(positionals !== undefined && { positionals }), exclusive } satisfies Grammar,
    };
  }),
);

/** A valid value of a flag. */
const valid = ({ choices, type, default: value }: Option) =>
  String(choices?.[0] ?? (type === "number" ? (value ?? 1) : "v"));

const withValue = ({ options }: Grammar) => Object.entries(options).filter(([, { type }]) => type !== "boolean");

/** The error for these arguments, or undefined. */
function refusal(grammar: Grammar, argv: string[]): UserError | undefined {
  try {
    parseArguments("program", grammar, argv);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    return error;
  }
}

test("a list with an empty element is rejected", () => {
  const lists = all.flatMap(({ name, grammar }) =>
    withValue(grammar).flatMap(([flag, { list }]) => (list ? [{ name, grammar, flag }] : [])),
  );
  assert.deepEqual(
    lists.map(({ name, flag }) => `${name} ${flag}`),
    [
      "extract endpoint",
      "extract allow-exec",
      "import endpoint",
      "import allow-exec",
      ...["verify", "status", "connect", "disconnect", "rotate", "sync"].map((name) => `${name} allow-exec`),
    ],
  );
  for (const { name, grammar, flag } of lists) {
    for (const value of [",", "a:1,", ",a:1", "a:1,,b:1", "a:1, ,b:1", "c2=,", "c2=,a:1", "c2=a:1,,b:1"]) {
      const error = refusal(grammar, [`--${flag}=${value}`]);
      assert.equal(error?.exitCode, 2, `${name} ${value}`);
      assert.match(error.message, /: must not contain an empty element$/);
    }
    for (const value of ["a:1", "a:1,b:1", "c2=", "c2=a:1,b:1"]) {
      assert.equal(refusal(grammar, [`--${flag}=${value}`]), undefined, value);
    }
  }
});

test("mutually exclusive flags are rejected", () => {
  const pairs = all.flatMap(({ name, grammar }) => grammar.exclusive.map((pair) => ({ name, grammar, pair })));
  assert.deepEqual(
    pairs.map(({ name, pair }) => `${name} ${pair.join(" ")}`),
    [
      "extract keyless external-workload",
      "import restart-agents restarts",
      "import prune migrate",
      "import diff output",
      "status wait watch",
      "status all-contexts clusters-from",
      "status sync wait",
      "status sync watch",
      "status sync probe",
      "status sync all-contexts",
      "status sync clusters-from",
      "status sync output-file",
      "connect hub with",
      "connect diff output",
      "connect all-contexts clusters-from",
      "disconnect diff output",
      "disconnect all-contexts clusters-from",
      "rotate diff output",
      "rotate all-contexts clusters-from",
      "sync hub pairs",
      "sync once listen",
      "sync all-contexts clusters-from",
      "render target context",
      "render existing context",
      "render existing whole",
    ],
  );
  for (const { name, grammar, pair } of pairs) {
    const argv = pair.map((flag) => {
      const option = grammar.options[flag] ?? assert.fail(`${name} has no flag ${flag}`);
      if (option.type !== "boolean") return `--${flag}=${valid(option)}`;
      return option.default === true ? `--no-${flag}` : `--${flag}`;
    });
    const spelled = argv.map((word) => word.replace(/=.*/, ""));
    assert.equal(refusal(grammar, argv)?.message, `${spelled.join(" and ")} are mutually exclusive`);
    for (const word of argv) assert.equal(refusal(grammar, [word]), undefined, word);
  }
});

test("no flag takes a private key, a token or a password, only the path of its file", () => {
  const isSecret = (flag: string) => /(?:^|-)(?:key|token|password|secret)s?(?:-data)?$/.test(flag);
  const secret = all.flatMap(({ name, grammar }) =>
    withValue(grammar).flatMap(([flag, { completes }]) => (isSecret(flag) ? [`${name} --${flag}: ${completes}`] : [])),
  );
  assert.deepEqual(secret, ["verify --key: files"]);
});

/** Whether two flags are the same, or mutually exclusive. */
function areExclusive({ exclusive }: (typeof all)[number]["grammar"], one: string, other: string): boolean {
  return one === other || exclusive.some((pair) => pair.includes(one) && pair.includes(other));
}

describe("a flag without a value", () => {
  for (const { name, grammar } of all) {
    for (const [flag, option] of withValue(grammar)) {
      const other = Object.keys(grammar.options).find(
        (one) => grammar.options[one]?.type === "boolean" && !areExclusive(grammar, flag, one),
      );
      const files = grammar.positionals === undefined ? [] : ["file"];
      const spellings = [`--${flag}`, ...(option.alias === undefined ? [] : [`-${option.alias}`])];
      const places: [where: string, argv: (given: string[]) => string[]][] = [
        ["alone", (given) => given],
        ["last", (given) => [...files, `--${other}`, ...given]],
        ["first, before another flag", (given) => [...given, `--${other}`, ...files]],
        ["before --", (given) => [...given, "--", ...files]],
        ["after a valid value", (given) => [`--${flag}`, valid(option), ...given]],
        ["before a valid value", (given) => [...given, `--${flag}=${valid(option)}`]],
      ];
      test(`${name} --${flag}`, () => {
        for (const spelling of spellings) {
          for (const empty of ["", " ", "\t\n"].flatMap((value) => [[`${spelling}=${value}`], [spelling, value]])) {
            for (const [where, place] of places) check(where, place(empty));
            check("before a file", [...empty, "file"]);
          }
          for (const [where, place] of places) check(where, place([spelling]));
          for (const value of ["--help", "-h", "-x", "-1"]) check(`then ${value}`, [spelling, value]);
          // As in pflag, a following file is the value of the flag. The command then reports the missing file.
          const text = normalizeArgs([spelling, "file"], grammar.options, "program");
          assert.deepEqual(text, { flags: [`--${flag}`, "file"], positionals: [] });
        }
        // With a value, the flag is valid in every position.
        for (const [where, place] of places) {
          const twice = option.type !== "array" && where.includes("valid value");
          const error = refusal(grammar, place([`--${flag}=${valid(option)}`]));
          assert.equal(error?.message, twice ? `--${flag} can be specified only once` : undefined, where);
        }
      });

      function check(where: string, argv: string[]): void {
        const error = refusal(grammar, argv);
        const line = `${where}: ${argv.map((word) => JSON.stringify(word)).join(" ")}`;
        const choices = option.choices ? ` (one of ${option.choices.join(", ")})` : "";
        assert.equal(error?.message, `flag needs an argument: --${flag}${choices}`, line);
        assert.equal(error.exitCode, 2, line);
      }
    }
  }

  test("the flags of every command are covered", () => {
    assert.equal(all.length, 14);
    assert.ok(all.flatMap(({ grammar }) => withValue(grammar)).length > 80);
  });
});

describe("a flag with a value", () => {
  const grammar = {
    options: {
      context: { type: "array" },
      namespace: { type: "string", alias: "n" },
      output: { type: "string", alias: "o", choices: ["json", "yaml"] },
      addresses: { type: "number", min: 1, default: 3 },
      clusters: { type: "number", min: 1, max: 511 },
      yes: { type: "boolean", alias: "y", default: false },
      wide: { type: "boolean", alias: "w" },
      users: { type: "boolean", default: true },
    },
    positionals: "FILE",
  } as const satisfies Grammar;
  const read = (...argv: string[]) => parseArguments("program", grammar, argv);
  const refused = (...argv: string[]) => refusal(grammar, argv)?.message;

  test("is parsed in all forms", () => {
    for (const argv of [
      ["-nx"],
      ["-n=x"],
      ["-n", "x"],
      ["--namespace=x"],
      ["--namespace", "x"],
      ["-ynx"],
      ["-wyn", "x"],
    ]) {
      assert.equal(read(...argv).namespace, "x", argv.join(" "));
    }
    assert.deepEqual(read("--context", "a", "f", "--context=b", "g"), {
      ...read(),
      context: ["a", "b"],
      files: ["f", "g"],
    });
    assert.deepEqual(read(), { context: [], addresses: 3, yes: false, users: true, files: [] });
  });

  test("keeps its value unchanged: dashes after =, quotes, true and special names", () => {
    for (const value of ["-x", "--", "--yes", '"quoted"', "'", "a=b", "NAME=", "true", "1e3", " x ", "-"]) {
      assert.equal(read(`--namespace=${value}`).namespace, value);
      assert.deepEqual(read(`--context=${value}`).context, [value]);
      if (!/^-./.test(value)) assert.deepEqual(read("--context", value, "-n", value).context, [value]);
    }
    assert.deepEqual(read("--context=__proto__").context, ["__proto__"]);
  });

  test("a boolean does not consume the next word", () => {
    for (const word of ["true", "false", "x"]) {
      const { yes, files } = read("--yes", word);
      assert.deepEqual([yes, files], [true, [word]]);
    }
    assert.equal(read("--yes", "--no-yes").yes, false, "the last one wins, as in kubectl");
    assert.deepEqual([read("--no-users").users, read("--users=0").users, read("-y=F").yes], [false, false, false]);
  });

  test("words after -- are arguments, and so is -", () => {
    assert.deepEqual(read("-", "-y", "--", "--yes", "--", "-n").files, ["-", "--yes", "--", "-n"]);
  });

  test("invalid flags are rejected with kubectl's messages", () => {
    for (const [argv, message] of [
      [["--contxt", "x"], "unknown flag: --contxt; did you mean --context?"],
      [["--nmaespace", "x"], "unknown flag: --nmaespace; did you mean --namespace?"],
      [["--no-uesrs"], "unknown flag: --no-uesrs; did you mean --no-users?"],
      [["--no-context"], "unknown flag: --no-context; did you mean --context?"],
      [["--__proto__=x"], "unknown flag: --__proto__; see 'program --help'"],
      [["--x\ny"], "unknown flag: --x\\ny; see 'program --help'"],
      [["-yx"], "unknown flag: -yx; see 'program --help'"],
      [["-x=y"], "unknown flag: -x; see 'program --help'"],
      [["-1"], "unknown flag: -1; see 'program --help'"],
      [["-="], "unknown flag: -=; see 'program --help'"],
      [["--no-users=true"], "--no-users does not accept a value"],
      [["--yes=maybe"], 'invalid value "maybe" for --yes: must be true or false'],
      [["-y="], 'invalid value "" for --yes: must be true or false'],
      [["-o", "xml"], 'invalid value "xml" for --output: must be one of json, yaml'],
      [["-n", "x", "-n", "y"], "--namespace can be specified only once"],
      [["--addresses=0"], "invalid value for --addresses: must be at least 1"],
      [["--addresses=-1"], "invalid value for --addresses: must be at least 1"],
      [["--addresses", "x"], "invalid value for --addresses: must be an integer"],
      [["--addresses=1.5"], "invalid value for --addresses: must be an integer"],
      [["--addresses=Infinity"], "invalid value for --addresses: must be an integer"],
      [["--clusters=512"], "invalid value for --clusters: must be between 1 and 511"],
    ] as const) {
      assert.equal(refused(...argv), message);
    }
  });
});

describe("an empty argument", () => {
  test("is rejected by commands with arguments; commands without arguments reject any", () => {
    for (const { name, grammar } of all) {
      const { positionals } = grammar;
      for (const argv of [[""], ["file", " "], ["", "file"], ["--", "\t"]]) {
        const error = refusal(grammar, argv);
        assert.equal(error?.exitCode, 2, `${name} ${argv}`);
        const about =
          positionals === undefined
            ? /^unexpected argument ".*": program accepts no arguments/
            : /^invalid argument ".*": /;
        assert.match(error.message, about);
        if (positionals !== undefined) assert.ok(error.message.endsWith(`: ${positionals} must not be empty`));
      }
    }
  });
});
