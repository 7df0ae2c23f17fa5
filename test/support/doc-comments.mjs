// Checks doc comments of exported functions, classes and methods of interfaces. Usage: doc-comments.mjs [FOLDER...]
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TSDocParser } from "@microsoft/tsdoc";
import ts from "typescript";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Finds declarations without a doc comment, and comments that TSDoc does not parse.
 *
 * @param {string} path is part of each problem
 * @param {string} text TypeScript source
 * @returns {string[]} one line for each problem
 */
export function checkDocComments(path, text) {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const parser = new TSDocParser();
  return source.statements.filter(isExported).flatMap((statement) =>
    documentedNodes(statement).flatMap((node) => {
      const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
      const place = `${path}:${line}: ${node.name.getText(source)}`;
      const comment = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).at(-1);
      if (!comment) return [`${place}: no doc comment`];
      const { messages } = parser.parseString(comment.getText(source)).log;
      return messages.map(({ unformattedText }) => `${place}: ${unformattedText}`);
    }),
  );
}

function isExported(statement) {
  return statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;
}

/** Returns the parts of a statement that need a doc comment. */
function documentedNodes(statement) {
  if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) return [statement];
  if (!ts.isInterfaceDeclaration(statement)) return [];
  return statement.members.filter(
    (member) =>
      ts.isMethodSignature(member) ||
      (ts.isPropertySignature(member) && member.type !== undefined && ts.isFunctionTypeNode(member.type)),
  );
}

/**
 * Checks the TypeScript files of folders; by default all of lib/ and scripts/.
 *
 * @param {readonly string[]} [folders]
 * @returns {string[]}
 */
export function checkFolders(folders = []) {
  const given = folders.length > 0 ? folders : ["lib", "scripts"];
  return execFileSync("git", ["ls-files", "--", ...given], { cwd: root, encoding: "utf8" })
    .split("\n")
    .filter((path) => path.endsWith(".ts"))
    .flatMap((path) => checkDocComments(path, readFileSync(join(root, path), "utf8")));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = checkFolders(process.argv.slice(2));
  for (const problem of problems) console.log(problem);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
