import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatEtcdConfig } from "../../lib/peer/etcd-config.ts";
import { dedupeFindings, fillTemplate, finding, redact, redactKeys, truncateLine } from "../../lib/peer/findings.ts";
import { toSecretEntry } from "../../lib/peer/secret.ts";
import { peer } from "../support/arbitraries.ts";
import { caOf, clientOf } from "../support/material.ts";

const BREAK = /[\n\v\f\r\u0085\u2028\u2029]/;

test("whatever a finding is made of, each of its texts is one line, and not long", () => {
  const text = fc.oneof(fc.string(), fc.constantFrom("\n", "\r\n", "a\u2028b", "\n".repeat(900), "x".repeat(100_000)));
  fc.assert(
    fc.property(text, text, text, text, (source, key, message, remedy) => {
      const { severity: _, ...texts } = finding("id-twice", { source, key }, message, remedy);
      for (const one of Object.values(texts) as string[]) {
        assert.doesNotMatch(one, BREAK);
        assert.ok(one.length <= 300, String(one.length));
      }
    }),
  );
});

test("a line break is shown as one, and what is left out is counted", () => {
  assert.equal(truncateLine("a\nerror: b\r\nc\u2029"), "a\\nerror: b\\nc\\n");
  assert.equal(truncateLine("x".repeat(300)), "x".repeat(300));
  const name = "n".repeat(100_000);
  assert.match(truncateLine(`"${name}" is no name`), /^"n{179}… \(99,753 more characters\) …n+" is no name$/);
  assert.equal(truncateLine(truncateLine(name)), truncateLine(name));
});

test("a key is told by its length, however it is folded", () => {
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
    const said = redact(text);
    assert.match(said, /\(\d+ characters\)/);
    for (const line of lines) {
      for (let at = 0; at + 16 <= line.length; at++) assert.ok(!said.includes(line.slice(at, at + 16)), said);
    }
  }
});

test("what is no key stays as it is", () => {
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

test("a remedy is filled in from its template, and what is not known is a placeholder", () => {
  const template = "extract-secret --context {peer} | import-secrets --context {importer} -";
  const one = finding("ca-stale", { source: "c1" }, "m", { template, values: { peer: "{importer}", importer: "c1" } });
  assert.equal(one.remedy, "extract-secret --context {importer} | import-secrets --context c1 -");
  assert.equal(
    fillTemplate({ template, values: {} }),
    "extract-secret --context PEER | import-secrets --context IMPORTER -",
  );
  const { key } = clientOf(caOf("a"));
  const secret = finding("ca-stale", { source: "c1" }, "m", { template: "use {peer}", values: { peer: key } });
  assert.doesNotMatch(JSON.stringify(secret), /PRIVATE KEY/);
});

test("what holds for two clusters alike is one finding, whoever reports it", () => {
  const of = (code: Parameters<typeof finding>[0], a: string, b: string, source = a) =>
    finding(code, { source, key: b }, `${a} and ${b}`, undefined, { clusters: [a, b] });
  const overlap = of("pod-cidrs-overlap", "c1", "c2");
  const others = [of("pod-cidrs-overlap", "c1", "c3"), of("tunnel-differs", "c1", "c2")];
  assert.deepEqual(
    dedupeFindings([
      overlap,
      of("pod-cidrs-overlap", "c2", "c1"),
      of("pod-cidrs-overlap", "c1", "c2", "c9"),
      ...others,
    ]),
    [overlap, ...others],
  );
  // Two ids that are equal: said by their owners, and by a third.
  const twice = of("id-twice", "c2", "c1", "c3");
  assert.deepEqual(dedupeFindings([of("id-of-target", "c1", "c2"), twice, of("id-of-target", "c2", "c1")]), [twice]);
  assert.deepEqual(dedupeFindings([twice, of("id-of-target", "c1", "c2")]), [twice]);
  // Others are the same only if all of them is.
  const one = finding("system-roots", { source: "a", key: "c1" }, "m");
  const two = finding("system-roots", { source: "b", key: "c1" }, "m");
  assert.deepEqual(dedupeFindings([one, two, { ...one }]), [one, two]);
});
