// Counts lines of code without blanks and comments, by folder. Usage: count-lines.mjs [FOLDER]
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

const root = process.argv[2] ?? ".";
const files = execFileSync("git", ["ls-files", "*.ts", "*.mjs", "*.cjs"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((path) => path !== "" && !path.endsWith(".d.mts"));

/** Returns the number of lines with at least one token. */
function countLines(text) {
  const source = ts.createSourceFile("any.ts", text, ts.ScriptTarget.Latest, true);
  const lines = new Set();
  const visit = (node) => {
    if (node.getChildCount(source) === 0 && node.end > node.getStart(source)) {
      const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
      const last = source.getLineAndCharacterOfPosition(node.end).line;
      for (let line = first; line <= last; line++) lines.add(line);
    }
    for (const child of node.getChildren(source)) if (!ts.isJSDoc(child)) visit(child);
  };
  visit(source);
  return lines.size;
}

const counts = new Map();
for (const path of files) {
  const [top, second] = path.split("/");
  const part = top === "lib" ? `${top}/${second}` : path.includes("/") ? top : "build";
  counts.set(part, (counts.get(part) ?? 0) + countLines(readFileSync(join(root, path), "utf8")));
}
const sum = (isPart) => [...counts].filter(([part]) => isPart(part)).reduce((total, [, lines]) => total + lines, 0);
for (const [part, lines] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) console.log(`${part.padEnd(16)}${lines}`);
console.log(`${"product".padEnd(16)}${sum((part) => part !== "test")}`);
console.log(`${"all".padEnd(16)}${sum(() => true)}`);
