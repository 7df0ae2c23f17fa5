/** Every test that SECURITY.md names exists, under that name, in that file. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { suites } from "../support/suites.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = readFileSync(join(root, "SECURITY.md"), "utf8");

/** A test that the page names, as `[name](test/….test.ts)`. */
interface NamedTest {
  name: string;
  file: string;
}

function namedTests(text: string): NamedTest[] {
  return [...text.matchAll(/\[([^\]]+)\]\((test\/[^)]+)\)/g)].map(([, name = "", file = ""]) => ({
    name: name.replace(/\s+/g, " "),
    file,
  }));
}

/**
 * The names of tests in a file, as patterns: those written in calls of `test`, whose expressions match any text, and those in
 * tables, the first texts of rows.
 */
function testNames(file: string): RegExp[] {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest);
  const names: RegExp[] = [];
  const add = (node: ts.Expression | undefined) => {
    if (node && ts.isStringLiteralLike(node)) names.push(patternOf([node.text]));
    if (node && ts.isTemplateExpression(node)) {
      const texts = [node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)];
      if (texts.some((text) => /\w{3}/.test(text))) names.push(patternOf(texts));
    }
  };
  let hasTable = false;
  const rows: ts.Expression[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText(source) === "test") {
      const [name] = node.arguments;
      hasTable ||= name !== undefined && ts.isIdentifier(name);
      add(name);
    }
    const [first] = ts.isArrayLiteralExpression(node) ? node.elements : [];
    if (first) rows.push(first);
    ts.forEachChild(node, visit);
  };
  visit(source);
  if (hasTable) rows.forEach(add);
  return names;
}

/** The pattern of a name that consists of texts with expressions between them. */
function patternOf(texts: readonly string[]): RegExp {
  return new RegExp(`^${texts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".+")}$`);
}

/** The named tests that do not exist. */
function missingTests(named: readonly NamedTest[]): string[] {
  const known = new Set(Object.values(suites()).flat());
  return named
    .filter(({ name, file }) => !known.has(file) || !testNames(file).some((pattern) => pattern.test(name)))
    .map(({ name, file }) => `${file}: ${name}`);
}

test("every test that SECURITY.md names exists with that name in that file", () => {
  const named = namedTests(page);
  assert.ok(named.length > 50, `${named.length} tests`);
  assert.deepEqual(missingTests(named), []);
});

test("every statement about a protection names its test", () => {
  const threats = page.split(/^## /m).filter((section) => section.startsWith("Threat: "));
  assert.equal(threats.length, 16);
  for (const section of threats) {
    const [title = "", ...parts] = section.split(/^### /m);
    const statements = [title, ...parts.filter((part) => !part.startsWith("Not given"))]
      .join("\n")
      .split(/^- /m)
      .slice(1);
    assert.ok(statements.length > 0, title);
    for (const statement of statements) assert.notDeepEqual(namedTests(statement), [], statement);
  }
});

test("a test that was renamed, moved or invented is found", () => {
  const here = "test/docs/security.test.ts";
  const wrong: NamedTest[] = [
    { name: "a test that was renamed", file: here },
    { name: "every test that SECURITY.md names exists with that name in that file", file: "test/docs/docs.test.ts" },
    { name: "a file of 200 MB", file: "test/programs/none.test.ts" },
    { name: "a name that is not in the table", file: "test/programs/bad-input.test.ts" },
    { name: "PROGRAM runs", file: "test/programs/help.test.ts" },
  ];
  assert.equal(missingTests(wrong).length, wrong.length);
  const right: NamedTest[] = [
    { name: "a test that was renamed, moved or invented is found", file: here },
    { name: "h2: a response of more than 64 MiB is refused", file: "test/kube/transport.test.ts" },
    { name: "a name with terminal escapes", file: "test/programs/bad-input.test.ts" },
  ];
  assert.deepEqual(missingTests(right), []);
});
