import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatEtcdConfig } from "../../lib/peer/etcd-config.ts";
import { dedupeFindings, fillTemplate, finding, redact, redactKeys } from "../../lib/peer/findings.ts";
import { toSecretEntry } from "../../lib/peer/secret.ts";
import { truncateLine } from "../../lib/util/line.ts";
import { shellQuote } from "../../lib/util/shell.ts";
import { peer } from "../support/arbitraries.ts";
import { caOf, clientOf } from "../support/material.ts";

const BREAK = /[\n\v\f\r\u0085\u2028\u2029]/;

test("whatever values a finding has, each of its texts is one short line", () => {
  const text = fc.oneof(fc.string(), fc.constantFrom("\n", "\r\n", "a\u2028b", "\n".repeat(900), "x".repeat(100_000)));
  fc.assert(
    fc.property(text, text, text, (source, key, value) => {
      const { severity: _, ...one } = finding("config-fields-ignored", { source, key }, { fields: value, peer: value });
      const { remedy = "", remedyTemplate, ...texts } = one;
      for (const text of [...Object.values(texts), ...Object.values(remedyTemplate?.values ?? {})] as unknown[]) {
        const line = typeof text === "string" ? text : JSON.stringify(text);
        assert.doesNotMatch(line, BREAK);
        assert.ok(line.length <= 620, String(line.length));
      }
      assert.doesNotMatch(remedy, BREAK);
    }),
  );
});

test("a line break is shown as one, and what is left out is counted", () => {
  assert.equal(truncateLine("a\nerror: b\r\nc\u2029"), "a\\nerror: b\\nc\\n");
  assert.equal(truncateLine("x".repeat(300)), "x".repeat(300));
  const name = "n".repeat(100_000);
  assert.match(truncateLine(`"${name}" is unknown`), /^"n{179}… \(99,753 more characters\) …n+" is unknown$/);
  assert.equal(truncateLine(truncateLine(name)), truncateLine(name));
});

test("a key is replaced by its length, however it is folded", () => {
  const { key } = clientOf(caOf("a"), "remote", 0);
  const lines = key.split("\n").filter((line) => line !== "" && !line.startsWith("-----"));
  for (const text of [
    key,
    `- ${lines.join("")}`,
    `https://${lines.join("")}:1`,
    lines.join("\n"),
    lines.join("\n    "),
    JSON.stringify(lines.join("\n")),
    JSON.stringify(key.slice(0, 120)),
    Buffer.from(key).toString("base64"),
  ]) {
    const redacted = redact(text);
    assert.match(redacted, /\(\d+ characters\)/);
    for (const line of lines) {
      for (let at = 0; at + 16 <= line.length; at++) assert.ok(!redacted.includes(line.slice(at, at + 16)), redacted);
    }
  }
});

test("text without a key is unchanged", () => {
  fc.assert(
    fc.property(peer, (given) => {
      for (const where of ["file", "target"] as const) {
        const text = formatEtcdConfig(toSecretEntry(given, where).config);
        assert.equal(redactKeys(text), text);
      }
    }),
  );
  for (const text of [
    `https://${"long-name-of-a-host".repeat(3)}.${"and-its-domain.".repeat(9)}example:2379`,
    `a${"0123456789abcdef".repeat(4)}.elb.us-east-1.amazonaws.com`,
    "https://[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:2379",
    "trusted-ca-file: /var/lib/cilium/clustermesh/ca-0123456789abcdef.crt\ncert-file: /var/lib/cilium/clustermesh/c2.crt",
    "remote, until 2029-11-23, SHA-256 83407a1bf5f27b0e040e3e5b2fa9e1e5",
    "CN=Cilium CA",
  ]) {
    assert.equal(redactKeys(text), text);
  }
});

test("a remedy is filled in from its template, and a missing value is a placeholder", () => {
  const contexts = { peer: "{importer}", importer: "c1" };
  const one = finding("ca-stale", { source: "c1" }, { ...contexts, name: "c2" });
  const template = "extract-secret --context {peer} | import-secrets --context {importer} -";
  assert.deepEqual(one.remedyTemplate, { template, values: contexts });
  assert.equal(one.remedy, "extract-secret --context {importer} | import-secrets --context c1 -");
  assert.equal(
    fillTemplate({ template, values: {} }),
    "extract-secret --context PEER | import-secrets --context IMPORTER -",
  );
  const { key } = clientOf(caOf("a"));
  const secret = finding("ca-stale", { source: "c1" }, { peer: key, importer: key, name: key });
  assert.doesNotMatch(JSON.stringify(secret), /PRIVATE KEY/);
});

test("a remedy in place of that of the code is taken with its values", () => {
  const given = { template: "renew {peer}", values: { peer: "c2" } };
  const one = finding("ca-expired", { source: "f" }, { use: "ca", expires: "2026-01-01" }, { remedy: given });
  assert.deepEqual([one.remedy, one.remedyTemplate], ["renew c2", given]);
  const plain = finding("ca-expired", { source: "f" }, { use: "ca", expires: "2026-01-01" });
  assert.deepEqual(
    [plain.remedy, plain.remedyTemplate],
    ["re-extract with extract-secret, then import the new file", undefined],
  );
});

test("a finding about two clusters is reported once, whichever of them reports it", () => {
  const overlap = (a: string, b: string, source = a) =>
    finding(
      "pod-cidrs-overlap",
      { source, key: b },
      { peer: a, cidr: "10.0.0.0/8", other: b, otherCidr: "10.0.0.0/9" },
      { clusters: [a, b] },
    );
  const ids = (code: "id-duplicate" | "id-of-target", a: string, b: string, source = a) =>
    finding(code, { source, key: b }, { id: "1", other: b, target: b }, { clusters: [a, b] });
  const routing = { peer: "c1", routing: "native", other: "c2", otherRouting: "vxlan" };
  const first = overlap("c1", "c2");
  const others = [
    overlap("c1", "c3"),
    finding("tunnel-differs", { source: "c1", key: "c2" }, routing, { clusters: ["c1", "c2"] }),
  ];
  assert.deepEqual(dedupeFindings([first, overlap("c2", "c1"), overlap("c1", "c2", "c9"), ...others]), [
    first,
    ...others,
  ]);
  // Two equal ids are reported by their owners, and by a third cluster.
  const duplicate = ids("id-duplicate", "c2", "c1", "c3");
  const own = ids("id-of-target", "c1", "c2");
  assert.deepEqual(dedupeFindings([own, duplicate, ids("id-of-target", "c2", "c1")]), [duplicate]);
  assert.deepEqual(dedupeFindings([duplicate, own]), [duplicate]);
  // Other findings are the same only if they are equal.
  const one = finding("system-roots", { source: "a", key: "c1" }, {});
  const two = finding("system-roots", { source: "b", key: "c1" }, {});
  assert.deepEqual(dedupeFindings([one, two, { ...one }]), [one, two]);
});

test("a text in a remedy is not interpreted as a template", () => {
  const check = "kubectl --context '{namespace}' auth can-i get secrets";
  const values = { verb: "get", object: "secrets", namespace: "n", check };
  assert.equal(finding("not-allowed", { source: "c" }, values).remedy, `check with: ${check}`);
});

test("a quoted word that is too long is a placeholder in a remedy: a part of it is not quoted", () => {
  const name = shellQuote(`c${"'".repeat(100)}$(touch PWNED)`);
  const one = finding("ca-stale", { source: "c1" }, { peer: name, importer: "c1", name: "c2" });
  assert.match(one.remedy ?? "", /--context PEER\b/);
  assert.doesNotMatch(one.remedy ?? "", /touch/);
});
