import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseAllDocuments, stringify } from "yaml";
import {
  DuplicateKeyError,
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
