import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FINDING_CODES } from "../../lib/peer/findings.ts";

test("docs/findings.md has every code with its severity, and no other", () => {
  const text = readFileSync(new URL("../../docs/findings.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \| (error|warning) \| [^|]+ \| [^|]+ \|$/gm)];
  assert.deepEqual(
    rows.map(([, code, severity]) => [code, severity]),
    Object.entries(FINDING_CODES),
  );
});
