import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parse, parseAllDocuments, stringify } from "yaml";
import {
  DuplicateKeyError,
  formatYaml,
  parseYamlDocuments,
  YAML_LIMITS,
  YamlError,
  YamlTooLargeError,
} from "../../lib/util/yaml.ts";
import { relativeCost } from "../support/cost.ts";

const read = (text: string) => [...parseYamlDocuments(text)];

test("documents are parsed as by the library", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue(), { maxLength: 3 }), (values) => {
      const text = values.map((value) => `---\n${stringify(value)}`).join("");
      assert.deepEqual(
        read(text),
        parseAllDocuments(text).map((document) => document.toJS()),
      );
    }),
  );
  assert.deepEqual(read(""), []);
  assert.deepEqual(read("a: &x {b: 1}\nc: *x\n"), [{ a: { b: 1 }, c: { b: 1 } }]);
  assert.deepEqual(read("a: &x {b: 1}\n<<: *x\n"), [{ a: { b: 1 }, "<<": { b: 1 } }]);
  assert.deepEqual(read("%YAML 1.1\n---\na: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n"), [{ a: { b: 1 }, c: { b: 2 } }]);
});

test("strings that a reader of YAML 1.1, of YAML 1.2 or go-yaml takes for something else are quoted", () => {
  const words = "~ null NULL y Y n yes YES no on On off true TRUE False << = .inf -.INF +.inf .nan .NaN".split(" ");
  const octal =
    "0o17 -0o17 0O17 017 0b1 0B1 -0b1 0x1F 0X1f 0b-1 0o+1 0x_1 -_1 1_000 1_0.5 1e3 1E+3 1e_3 .5 +.5e1 1. 007 08 0 -0".split(
      " ",
    );
  const times = "1:30 -1:30 190:20:30.15 2001-01-02 2001-1-2 2001-12-14T21:59:43.10-05:00".split(" ");
  for (const text of ["", " ", "\n", "\n\t0", "\ta\n", "2001-12-14 21:59:43", ...words, ...octal, ...times]) {
    const quoted = JSON.stringify(text);
    assert.equal(formatYaml({ [text]: [text] }), `${quoted}:\n  - ${quoted}\n`);
  }
  for (const text of ["10.0.0.2", "fd00::1", "c2.mesh.cilium.io", "0o18x", "1.20.2", "yesterday", "v1", "10.0.0.0/8"]) {
    assert.equal(formatYaml({ [text]: [text] }), `${text}:\n  - ${text}\n`);
  }
});

test("each string is read back as it was, by the rules of YAML 1.1 and of YAML 1.2", () => {
  const pieces = [
    ..."0179_.:-+eExXoObBfynNTZ~=< ",
    "on",
    "ull",
    "true",
    "inf",
    "nan",
    "2001-01-02",
    "0o",
    "0b",
    "\n",
    "#",
  ];
  const text = fc.array(fc.constantFrom(...pieces), { maxLength: 6 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.oneof(text, fc.string()), (value) => {
      const object = { a: value, b: [value, { [value === "a" ? "c" : `${value}`]: 1 }] };
      for (const version of ["1.1", "1.2"] as const) {
        const read = parse(formatYaml(object).replace(/^%YAML.*\n---\n/, ""), { version });
        assert.deepEqual(read, object, `${version}: ${formatYaml(object)}`);
      }
    }),
    { numRuns: 3_000 },
  );
});

test("breaks and controls that parsers judge differently are escaped", () => {
  const special = ["\u0085", "\u2028", "\u2029", "\ufeff", "\x7f", "\x9f", "\uffff"];
  for (const char of special) {
    const escaped = `"a\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}b"`;
    assert.equal(formatYaml({ [`a${char}b`]: `a${char}b` }), `${escaped}: ${escaped}\n`);
  }
  const pieces = [...special, "\n", "\r", " ", "\t", "#", ":", "-", "'", '"', "\\", "a", "\u{1f600}"];
  const text = fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, text, (key, value) => {
      const written = formatYaml({ [key]: [value, { x: value }] });
      assert.doesNotMatch(written, /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/);
      for (const version of ["1.1", "1.2"] as const) {
        assert.deepEqual(parse(written, { version }), { [key]: [value, { x: value }] }, `${version}: ${written}`);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a duplicate key is detected at each depth", () => {
  const key = fc.constantFrom("a", "b", "c", "<<", '"a"', "true", "'true '", '"__proto__"', "? a\n ");
  const { mapping } = fc.letrec<{ value: string; mapping: string }>((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, fc.constant("x"), tie("mapping")),
    mapping: fc
      .array(fc.tuple(key, tie("value")), { maxLength: 4 })
      .map((pairs) => `{${pairs.map(([name, value]) => `${name}: ${value}`).join(", ")}}`),
  }));
  fc.assert(
    fc.property(mapping, (text) => {
      const [error] = parseAllDocuments(text).flatMap((document) => document.errors);
      assert.equal(attempt(() => read(text)) instanceof DuplicateKeyError, error?.code === "DUPLICATE_KEY", text);
    }),
  );
  for (const text of ["a: 1\na: 2\n", "- - a: 1\n    a: 2\n", '1: x\n"1": y\n', "a: &x b\n? c\n: {d: 1, d: *x}\n"]) {
    assert.ok(attempt(() => read(text)) instanceof DuplicateKeyError, text);
  }
});

function attempt(read: () => unknown): unknown {
  try {
    read();
    return undefined;
  } catch (error) {
    return error;
  }
}

test("adversarial text is rejected quickly", () => {
  const full = (unit: string, before = "") => before + unit.repeat(YAML_LIMITS.characters / unit.length - 2);
  const many = (line: (i: number) => string, most: number) => Array.from({ length: most }, (_, i) => line(i)).join("");
  const texts: [text: string, error: typeof YamlError][] = [
    ["a".repeat(YAML_LIMITS.characters + 1), YamlTooLargeError],
    [full("---\na: 1\n"), YamlTooLargeError],
    [full("\t\n", "|\n "), YamlTooLargeError],
    [full("`\\", '"'), YamlTooLargeError],
    [full("& "), YamlTooLargeError],
    [full("%\n"), YamlTooLargeError],
    [full("{}\n"), YamlError],
    [full("a", '"'), YamlError],
    [full("["), YamlError],
    [full("- "), YamlError],
    [full("? - "), YamlError],
    [many((i) => `${" ".repeat(i)}a:\n`, 3_000), YamlError],
    [many((i) => `- &a${i} x\n- *a${i}\n`, 20_000), YamlError],
    [`${many((i) => `k${i}: 1\n`, 30_000)}k7: 1\n`, DuplicateKeyError],
    ["*a : 1\n", YamlError],
    ["a: *b\n", YamlError],
  ];
  for (const [text, wanted] of texts) {
    const cost = relativeCost(() => {
      const error = attempt(() => read(text));
      assert.ok(error instanceof wanted, `${text.slice(0, 20)}: ${String(error)}`);
    });
    assert.ok(cost < 250, `${text.slice(0, 20)}: ${cost}`);
  }
  assert.equal(Object.keys(read(many((i) => `k${i}: 1\n`, 30_000))[0] as object).length, 30_000);
});

test("a syntax error has its position and the reason of the parser", () => {
  for (const [text, message] of [
    ["foo: [", "line 1, column 7: flow sequence in block collection must be sufficiently indented and end with a ]"],
    ["a: 1\nb: 'c\n\n", "line 4, column 1: missing closing 'quote"],
    ["a: 1\n b: 2\n", "line 1, column 4: nested mappings are not allowed in compact mappings"],
    ["a: @b\n", "line 1, column 4: an unquoted value starts with a reserved character"],
    ["a: : b\n", "line 1, column 4: nested mappings are not allowed in compact mappings"],
    ['a: "\\z"\n', "line 1, column 5: invalid escape sequence in double quotes"],
  ] as const) {
    assert.throws(() => read(text), { message: `syntax error at ${message}` }, text);
  }
});

test("a syntax error contains nothing of the text", () => {
  const indicators = [..."[]{}&*!%@|>\"'\\#,\n\t", ": ", "- ", "? ", "  ", "---\n"];
  const piece = fc.constantFrom("SECRET", ...indicators);
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const error = attempt(() => read(pieces.join("")));
      assert.ok(error === undefined || error instanceof YamlError, String(error));
      assert.ok(!error?.message.includes("SECRET"), error?.message);
    }),
    { numRuns: 5_000 },
  );
});
