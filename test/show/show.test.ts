import assert from "node:assert/strict";
import { test } from "node:test";
import type { Change } from "../../lib/exchange/change.ts";
import { finding } from "../../lib/peer/findings.ts";
import { showFindings } from "../../lib/show/findings.ts";
import { announceChange } from "../../lib/show/import.ts";
import { showSecret } from "../../lib/show/objects.ts";
import { enumerate, harmless, styleFor } from "../../lib/show/style.ts";
import { caOf, clientOf } from "../support/material.ts";
import { configText, secretOf } from "../support/targets.ts";

const plain = styleFor({}, {});
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

test("colours only on a terminal that wants them", () => {
  const coloured = "\u001b[31mx\u001b[39m";
  assert.equal(styleFor({ isTTY: true }, { TERM: "xterm" }).red("x"), coloured);
  assert.equal(styleFor({ isTTY: true }, { NO_COLOR: "1" }).red("x"), "x");
  assert.equal(styleFor({ isTTY: true }, { TERM: "dumb" }).red("x"), "x");
  assert.equal(styleFor({ isTTY: false }, {}).red("x"), "x");
  assert.equal(styleFor({}, {}).red("x"), "x");
});

test("what could steer a terminal is shown as what it is", () => {
  assert.equal(harmless("a\u001b[2Jb\r\u009b\u202ec\nd"), "a\\x1b[2Jb\\x0d\\x9b\\u202ec\nd");
  assert.equal(harmless("cluster-1 → ü 日本"), "cluster-1 → ü 日本");
});

test("a few names are told, many are counted", () => {
  const names = Array.from({ length: 14 }, (_, i) => `c${i + 1}`);
  assert.equal(enumerate([]), "");
  assert.equal(enumerate(["a"]), "a");
  assert.equal(enumerate(["a", "b"]), "a and b");
  assert.equal(enumerate(["a", "b", "c"]), "a, b and c");
  assert.equal(enumerate(names), `${names.slice(0, 11).join(", ")} and 3 more`);
});

test("findings: errors first, the remedy below, and the eleventh of a code only counted", () => {
  const at = (key: string) => ({ source: "f.json", key });
  const many = Array.from({ length: 12 }, (_, i) => finding("id-unknown", at(`c${i}`), "not known"));
  const lines = showFindings(
    [...many, finding("key-mismatch", at("c\u001b[2J"), "the key is not that of the certificate", "extract again")],
    plain,
  );
  assert.deepEqual(lines.slice(0, 2), [
    "error: f.json (c\\x1b[2J): the key is not that of the certificate [key-mismatch]",
    "  extract again",
  ]);
  assert.equal(lines.filter((line) => line.startsWith("warning: ")).length, 10);
  assert.equal(lines.at(-1), "… and 2 more of id-unknown");
});

test("only what restarts pods is announced", () => {
  const patch: Change = { verb: "json-patch", kind: "DaemonSet", name: "cilium", patch: [], reason: "to resolve a" };
  assert.match(
    announceChange("c1", patch, plain) ?? "",
    /^c1: DaemonSet cilium is patched, which restarts its pods: to resolve a$/,
  );
  assert.equal(
    announceChange("c1", { verb: "merge-patch", kind: "Secret", name: "s", patch: { metadata: {} } }, plain),
    undefined,
  );
});

test("a Secret is shown by what its files are, and never a key", () => {
  const ca = caOf("c2");
  const client = clientOf(ca);
  const paths = ["c2-ca.crt", "c2.crt", "c2.key"] as const;
  const secret = secretOf({
    c2: configText("https://c2.mesh.cilium.io:32379", paths),
    "c2-ca.crt": ca.cert,
    "c2.crt": client.cert,
    "c2.key": client.key,
    other: "\u001b[2J",
  });
  const text = showSecret(secret, plain).join("\n");
  assert.match(text, /^ {2}c2: https:\/\/c2\.mesh\.cilium\.io:32379$/m);
  assert.match(text, /^ {2}c2-ca\.crt: CA .*, until \d{4}-\d\d-\d\d$/m);
  assert.match(text, /^ {2}c2\.crt: certificate remote, until/m);
  assert.match(text, /^ {2}c2\.key: private key$/m);
  assert.match(text, /^ {2}other: 4 bytes$/m);
  assert.doesNotMatch(text, CONTROL);
  const body = client.key.split("\n")[1];
  assert.ok(body && !text.includes(body), "no line of the key");
});
