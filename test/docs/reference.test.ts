/** Reference pages match the tables, and links between pages have targets. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  declaredLevel,
  renderManagementTable,
  renderPermissionTable,
  replacePermissionTables,
} from "../support/permission-table.ts";
import { renderCommands, renderFindings, renderMetricNames } from "./reference.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

const PAGES: Readonly<Record<string, () => string | Promise<string>>> = {
  "docs/reference/commands.md": renderCommands,
  "docs/findings.md": renderFindings,
  "docs/reference/metrics.md": renderMetricNames,
};

for (const [page, render] of Object.entries(PAGES)) {
  test(`${page} matches its table`, async () => {
    const path = join(root, page);
    const text = await render();
    if (process.env.UPDATE_DOCS === "1") writeFileSync(path, text);
    assert.equal(readFileSync(path, "utf8"), text, "make docs writes it");
  });
}

test("docs/least-privilege.md has the tables of permissions", () => {
  const path = join(root, "docs/least-privilege.md");
  const page = readFileSync(path, "utf8");
  const expected = replacePermissionTables(page, {
    permissions: renderPermissionTable(declaredLevel),
    management: renderManagementTable(declaredLevel),
  });
  if (process.env.UPDATE_DOCS === "1") writeFileSync(path, expected);
  assert.ok(process.env.UPDATE_DOCS === "1" || page === expected, "make docs writes them");
});

test("every link in a page has a target", () => {
  const pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", ...docs()];
  const headings = (path: string) =>
    [...readFileSync(path, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    );
  const broken = pages.flatMap((page) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)]
      .filter(([, target = "", anchor]) => {
        const path = target === "" ? join(root, page) : join(root, dirname(page), target);
        return !existsSync(path) || (anchor !== undefined && !headings(path).includes(anchor));
      })
      .map(([link]) => `${page}: ${link}`),
  );
  assert.deepEqual(broken, []);
});

test("README.md has at most 180 lines, and names every page", () => {
  const text = readFileSync(join(root, "README.md"), "utf8");
  assert.ok(text.split("\n").length - 1 <= 180);
  assert.deepEqual(
    docs().filter((page) => !text.includes(`(${page})`)),
    [],
  );
});

function docs(): string[] {
  return readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".md"))
    .map((path) => `docs/${path}`);
}
