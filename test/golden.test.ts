/** Every word that people read, in golden files: a change of words is a diff to review. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { commands } from "../scripts/commands.ts";
import { assertGolden } from "./support/golden.ts";
import { run } from "./support/programs.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The sources of all that speaks to people. */
function sources(): string[] {
  return ["lib", "scripts"]
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((path) => join(folder, path)),
    )
    .filter((path) => path.endsWith(".ts") && !path.startsWith("lib/sandbox/"))
    .sort();
}

/** A template as it is written, with `{expression}` for what is filled in. */
function templateText(node: ts.TemplateExpression, source: ts.SourceFile): string {
  const spans = node.templateSpans.map(({ expression, literal }) => `{${expression.getText(source)}}${literal.text}`);
  return node.head.text + spans.join("");
}

/** The literals of a file that are sentences or parts of one: they have a letter and a space. */
function sentencesIn(path: string): string[] {
  const source = ts.createSourceFile(path, readFileSync(join(root, path), "utf8"), ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) return;
    if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) found.push(node.text);
    else if (ts.isTemplateExpression(node)) found.push(templateText(node, source));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found
    .filter((text) => /[a-z]/i.test(text) && /\S \S/.test(text))
    .map((text) => text.replace(/\s*\n\s*/g, "\\n "));
}

test("every message of the programs", () => {
  const texts = sources().flatMap((path) => {
    const sentences = sentencesIn(path);
    return sentences.length > 0 ? [`${path}\n${sentences.map((one) => `  ${one}\n`).join("")}`] : [];
  });
  assert.ok(texts.length > 50, `${texts.length} files`);
  assertGolden("messages", texts.join("\n"));
});

test("the help of every command", async () => {
  const names = [undefined, ...Object.keys(commands)];
  const helps = await Promise.all(
    names.map(async (name) => {
      const args = name === undefined ? ["--help"] : [name, "--help"];
      const { code, stdout } = await run("clustermesh-secrets", args);
      assert.equal(code, 0, name);
      return `$ clustermesh-secrets ${args.join(" ")}\n${stdout}`;
    }),
  );
  assertGolden("help", helps.join("\n"));
});
