import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { stringify } from "yaml";
import { parseSecrets } from "../../lib/peer/documents.ts";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { relativeCost } from "../support/cost.ts";
import { caOf } from "../support/material.ts";
import { peerOf } from "../support/targets.ts";

const c2 = writePeerFile(peerOf("c2").peer);
const c3 = writePeerFile(peerOf("c3", 3).peer);
const json = (object: unknown) => `${JSON.stringify(object, null, 2)}\n`;
const item = ({ metadata, data }: typeof c2) => ({ metadata, data });

test("Secrets are read singly, from a List and from several documents, in JSON and YAML", () => {
  const table: [string, string, unknown[]][] = [
    ["JSON", json(c2), [c2]],
    ["YAML", stringify(c2), [c2]],
    ["YAML with a mark and comments", `# c2\n---\n${stringify(c2)}...\n`, [c2]],
    ["YAML documents", `---\n${stringify(c2)}---\n${stringify(c3)}---\n`, [c2, c3]],
    ["a List in JSON", json({ apiVersion: "v1", kind: "List", items: [c2, c3] }), [c2, c3]],
    ["a List in YAML", stringify({ apiVersion: "v1", kind: "List", items: [c2, c3] }), [c2, c3]],
    [
      "a SecretList, whose items have no kind",
      json({ kind: "SecretList", apiVersion: "v1", items: [item(c2)] }),
      [{ apiVersion: "v1", kind: "Secret", ...item(c2) }],
    ],
    ["JSON behind JSON, as cat makes it", json(c2) + json(c3), [c2, c3]],
    ["JSON documents with marks", `---\n${json(c2)}---\n${json(c3)}`, [c2, c3]],
    ["JSON with a mark between", `${json(c2)}---\n${json(c3)}`, [c2, c3]],
    ["JSON in front of YAML", `${json(c2)}---\n${stringify(c3)}`, [c2, c3]],
    ["in one line", JSON.stringify(c2), [c2]],
    ["with white space around", `\n\n  ${JSON.stringify(c2)}\n\n`, [c2]],
    ["CRLF", json(c2).replaceAll("\n", "\r\n"), [c2]],
    ["without data", json({ apiVersion: "v1", kind: "Secret" }), [{ apiVersion: "v1", kind: "Secret" }]],
  ];
  for (const [what, text, secrets] of table) assert.deepEqual(parseSecrets(text, "f"), { secrets, findings: [] }, what);
});

test("content other than a Secret is reported", () => {
  const secret = { apiVersion: "v1", kind: "Secret" };
  const table: [string, string, string, RegExp][] = [
    ["empty", "", "unreadable", /file is empty/],
    ["white space", " \n\t\n", "unreadable", /file is empty/],
    ["only comments", "# nothing here\n", "unreadable", /file is empty/],
    ["only marks", "---\n---\n", "unreadable", /file is empty/],
    ["null", "null\n", "unreadable", /file is empty/],
    ["UTF-16", Buffer.from(json(c2), "utf16le").toString(), "unreadable", /is not UTF-8 text/],
    ["JSON cut off", json(c2).slice(0, 100), "unreadable", /neither JSON nor YAML/],
    ["YAML cut off", "a: [1,\n", "unreadable", /neither JSON nor YAML/],
    ["the same key twice", "kind: Secret\nkind: Secret\n", "unreadable", /duplicate key/],
    ["an alias bomb", `kind: Secret\na: &a [x]\nb: [${"*a, ".repeat(50)}]\n`, "unreadable", /neither JSON nor YAML/],
    ["an alias of nothing", "kind: *a\n", "unreadable", /neither JSON nor YAML/],
    ["a text", "hello\n", "not-a-secret", /contains no Kubernetes object/],
    ["a list", "[1, 2]", "not-a-secret", /contains no Kubernetes object/],
    [
      "a ConfigMap",
      json({ apiVersion: "v1", kind: "ConfigMap", data: {} }),
      "not-a-secret",
      /contains a ConfigMap, not a Secret/,
    ],
    [
      "a Secret of another group",
      json({ apiVersion: "v2", kind: "Secret" }),
      "not-a-secret",
      /contains a Secret of v2/,
    ],
    ["an empty List", json({ kind: "List", items: [] }), "not-a-secret", /list is empty/],
    ["no kind", json({ a: 1 }), "not-a-secret", /not a Secret/],
    ["an invalid kind", '{"kind": {"toString": 1, "valueOf": 1}}', "not-a-secret", /not a Secret/],
    ["an invalid version", '{"kind": "Secret", "apiVersion": {"toString": 1, "valueOf": 1}}', "not-a-secret", /not v1/],
    ["data that is a list", json({ ...secret, data: [] }), "not-a-secret", /whose data is not a mapping/],
    ["data that is a text", json({ ...secret, data: "x" }), "not-a-secret", /whose data is not a mapping/],
    [
      "stringData that is a text",
      json({ ...secret, stringData: "x" }),
      "not-a-secret",
      /whose stringData is not a mapping/,
    ],
    ["metadata that is a text", json({ ...secret, metadata: "x" }), "not-a-secret", /whose metadata is not a mapping/],
    ...[[], "x", { a: 1 }, { a: { toString: 1 } }].map((annotations): [string, string, string, RegExp] => [
      `annotations ${JSON.stringify(annotations)}`,
      json({ ...secret, metadata: { annotations } }),
      "not-a-secret",
      /annotations are not a mapping of strings/,
    ]),
  ];
  for (const [what, text, code, message] of table) {
    const { secrets, findings } = parseSecrets(text, "f.json");
    assert.deepEqual(secrets, [], what);
    assert.deepEqual(
      findings.map((one) => [one.code, one.source, one.severity]),
      [[code, "f.json", "error"]],
      what,
    );
    assert.match(findings[0]?.message ?? "", message, what);
    assert.doesNotMatch(findings[0]?.message ?? "", /\n/, what);
  }
});

test("what is too much is refused at once, by what it is too much of", () => {
  const secret = (more: object) => json({ apiVersion: "v1", kind: "Secret", ...more });
  const keys = Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`k${i}`, ""]));
  const table: [text: string, code: string, message: RegExp][] = [
    [JSON.stringify({ kind: "List", items: Array(125_000).fill(1) }), "unreadable", /more than 1,000 objects/],
    [`[${"[],".repeat(5_000_000)}1]`, "unreadable", /more than 1,000,000 values/],
    [`{${"}\n{".repeat(2_000_000)}`, "unreadable", /more than 1,000,000 values/],
    ["{}\n".repeat(2_000), "unreadable", /more than 1,000 objects/],
    [
      "---\na: 1\n".repeat(300_000),
      "unreadable",
      /not valid JSON, and too large for YAML \(limits: 6 MB, 250,000 tokens\)/,
    ],
    ["---\na: 1\n".repeat(2_000), "unreadable", /more than 1,000 objects/],
    [secret({ data: { c2: "A".repeat(7_000_000) } }).slice(0, -9), "unreadable", /too large for YAML/],
    [secret({ data: keys }), "unreadable", /more than 10,000 keys of data/],
    [stringify({ kind: "Secret", stringData: keys }), "unreadable", /more than 10,000 keys of data/],
    [secret({ metadata: { annotations: { a: "x".repeat(60_000_000) } } }), "not-a-secret", /more than 2 MiB/],
    [secret({ data: { a: "A".repeat(3_000_000) } }), "not-a-secret", /more than 2 MiB/],
  ];
  for (const [text, code, message] of table) {
    const cost = relativeCost(() => {
      const { secrets, findings } = parseSecrets(text, "f");
      assert.deepEqual([secrets, findings.map((one) => one.code)], [[], [code]], String(message));
      assert.match(findings[0]?.message ?? "", message);
    });
    assert.ok(cost < 250, `${message}: ${cost}`);
  }
});

test("510 peers in one List are not too much, in JSON and in YAML", () => {
  const items = Array.from({ length: 510 }, (_, i) => ({
    ...structuredClone(c2),
    stringData: { [`c${i}`]: "endpoints: []\n", "ca.crt": caOf("c2").cert, x: "A".repeat(2_000) },
  }));
  const list = { apiVersion: "v1", kind: "List", items };
  for (const text of [json(list), stringify(list), items.map(json).join("---\n")]) {
    assert.ok(text.length > 2_000_000);
    const { secrets, findings } = parseSecrets(text, "f");
    assert.deepEqual(findings, []);
    assert.ok(isDeepStrictEqual(secrets, items));
  }
});

test("keys are counted, whatever the texts hold", () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('"', "\\", '\\":', '{"a":1,"a":1}', "\\\\"));
  fc.assert(
    fc.property(fc.dictionary(text, text), fc.option(fc.nat()), (annotations, space) => {
      const secret = { kind: "Secret", metadata: { annotations } };
      const written = JSON.stringify(secret, null, space ?? undefined);
      assert.deepEqual(parseSecrets(written, "f"), { secrets: [JSON.parse(written)], findings: [] });
      const twice = written.replace(/^\{/, '{"kind":"Secret",');
      assert.match(parseSecrets(twice, "f").findings[0]?.message ?? "", /duplicate key/);
    }),
  );
});

test("a Secret beside another object is read, and the other object is reported", () => {
  const { secrets, findings } = parseSecrets(json({ kind: "List", items: [c2, { kind: "Pod" }, null, c3] }), "f");
  assert.deepEqual(secrets, [c2, c3]);
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["not-a-secret", "not-a-secret"],
  );
});

test("a Secret beside foreign documents is read, and these are one finding for each thing to do", () => {
  const external = (name: string) => ({
    apiVersion: "external-secrets.io/v1",
    kind: "ExternalSecret",
    metadata: { name, namespace: "kube-system" },
  });
  const application = { apiVersion: "argoproj.io/v1alpha1", kind: "Application", metadata: { name: "cilium" } };
  const items = [external("a"), c2, application, external("b"), external("c"), { kind: "Pod" }];
  const { secrets, findings } = parseSecrets(json({ kind: "List", items }), "f");
  assert.deepEqual(secrets, [c2]);
  assert.deepEqual(
    findings.map(({ code, message }) => `${code}: ${message}`),
    [
      "not-a-secret: contains a Pod, not a Secret",
      "foreign-file: contains ExternalSecret kube-system/a, which contains no values: the operator creates the Secret in " +
        "the cluster (and 2 more)",
      "foreign-file: contains Application cilium of Argo CD, not a Secret",
    ],
  );
});

test("what a broken file contains stays out of the messages", () => {
  const key = "c2VjcmV0LWtleQ";
  for (const text of [
    `{"data": {"c2.key": "${key}", }x}`,
    `data:\n  k: "${key}\n`,
    `{"data": ${key}}`,
    `${key}: : :\n- x`,
  ]) {
    const { findings } = parseSecrets(text, "f");
    assert.ok(findings.length > 0, text);
    assert.ok(!JSON.stringify(findings).includes(key), text);
  }
});

test("no text crashes the reader of files", () => {
  const good = fc.constantFrom(
    json(c2),
    stringify(c2),
    json({ kind: "List", items: [c2, c3] }),
    `${stringify(c2)}---\n${json(c3)}`,
  );
  const mutated = fc
    .tuple(
      good,
      fc.nat(),
      fc.nat(40),
      fc.oneof(fc.string(), fc.constantFrom("{", "}", "[", "\n", "- ", "null", '"', ": ")),
    )
    .map(([text, at, cut, junk]) => text.slice(0, at % text.length) + junk + text.slice((at % text.length) + cut));
  const object = fc.record(
    {
      apiVersion: fc.constantFrom("v1", 1),
      kind: fc.oneof(fc.constantFrom("Secret", "List"), fc.jsonValue()),
      metadata: fc.jsonValue(),
      data: fc.jsonValue(),
      items: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  const text = fc.oneof(
    mutated,
    fc.string(),
    object.map(json),
    object.map((one) => stringify(one)),
  );
  fc.assert(
    fc.property(text, (given) => {
      const { secrets, findings } = parseSecrets(given, "f");
      assert.equal(secrets.length + findings.length > 0, true);
      assert.equal(
        findings.every(({ code }) => ["unreadable", "not-a-secret", "encrypted-file", "foreign-file"].includes(code)),
        true,
      );
    }),
    { numRuns: 200 },
  );
});
