/** Bad files made of good ones: nothing crashes, and what is taken reads back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { plan } from "../../lib/import/plan/plan.ts";
import { checkPeer } from "../../lib/peer/checks/check-peer.ts";
import { parseSecrets } from "../../lib/peer/documents.ts";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { caOf, clientOf, rsaCaOf } from "../support/material.ts";
import { entriesOf } from "../support/plans.ts";
import { COMMON, configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

const c2 = writePeerFile(peerOf("c2", 2).peer);
const rsa = writePeerFile(peerOf("c3", 3, { ca: { pem: rsaCaOf("r").cert }, client: clientOf(rsaCaOf("r")) }).peer);
const chart = secretOf({
  c4: configText("https://c4.mesh.cilium.io:2379", COMMON),
  "common-etcd-client-ca.crt": caOf("own").cert,
});
const GOOD = [
  JSON.stringify(c2, null, 2),
  JSON.stringify(c2),
  stringify(c2),
  stringify(rsa),
  JSON.stringify({ apiVersion: "v1", kind: "List", items: [c2, rsa] }),
  `${stringify(c2)}---\n${stringify(chart)}`,
];
const decode = (value: string) => Buffer.from(value, "base64").toString("latin1");
const encode = (value: string) => Buffer.from(value, "latin1").toString("base64");

/** One way to make a good text bad. */
type Harm = (text: string) => string;
const at = (text: string, place: number) => Math.floor(place * text.length);
const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const piece = fc.oneof(
  fc.string(),
  fc.constantFrom("\0", "\u001b[2J", "---\n", "&a [*a]", "__proto__", "{", "}", "\r", '"', "'", "\t", ": "),
);
/** Does something to the value behind the base64 of one key. */
const inside =
  (harm: (value: string) => string, where: number): Harm =>
  (text) => {
    const values = [...text.matchAll(/[A-Za-z0-9+/]{40,}={0,2}/g)];
    const value = values[Math.floor(where * values.length)];
    return value
      ? text.slice(0, value.index) + encode(harm(decode(value[0]))) + text.slice(value.index + value[0].length)
      : text;
  };
const harm: fc.Arbitrary<Harm> = fc.oneof(
  place.map(
    (from): Harm =>
      (text) =>
        text.slice(0, at(text, from)),
  ),
  fc.tuple(place, place).map(
    ([from, to]): Harm =>
      (text) =>
        text.slice(0, at(text, Math.min(from, to))) + text.slice(at(text, Math.max(from, to))),
  ),
  fc.tuple(place, fc.nat(7)).map(
    ([where, bit]): Harm =>
      (text) => {
        const i = at(text, where);
        return text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ (1 << bit)) + text.slice(i + 1);
      },
  ),
  fc.tuple(place, piece).map(
    ([where, what]): Harm =>
      (text) =>
        text.slice(0, at(text, where)) + what + text.slice(at(text, where)),
  ),
  fc.tuple(place, place, fc.nat(5)).map(
    ([from, where, other]): Harm =>
      (text) =>
        text.slice(0, at(text, where)) + (GOOD[other] ?? "").slice(at(text, from)),
  ),
  fc
    .tuple(
      fc.constantFrom("c2", "c2.crt", "c2.key", "c2-ca.crt", "data", "kind", "metadata", "annotations", "Secret"),
      piece,
    )
    .map(
      ([from, to]): Harm =>
        (text) =>
          text.replace(from, to),
    ),
  fc.tuple(place, place).map(
    ([a, b]): Harm =>
      (text) => {
        const lines = text.split("\n");
        const line = lines[Math.floor(a * lines.length)] ?? "";
        lines.splice(Math.floor(b * lines.length), 0, line);
        return lines.join("\n");
      },
  ),
  fc.tuple(place, place).map(([where, from]) => inside((value) => value.slice(0, at(value, from)), where)),
  fc.tuple(place, place, fc.nat(7)).map(([where, i, bit]) =>
    inside((value) => {
      const n = at(value, i);
      return value.slice(0, n) + String.fromCharCode(value.charCodeAt(n) ^ (1 << bit)) + value.slice(n + 1);
    }, where),
  ),
  fc
    .tuple(place, place, piece)
    .map(([where, i, what]) =>
      inside((value) => value.slice(0, at(value, i)) + what + value.slice(at(value, i)), where),
    ),
);

test("ten thousand damaged files cause no crash, and each accepted one is written and read back unchanged", () => {
  const target = targetOf("1.20", { takesUsers: false });
  const counts = { refused: 0, taken: 0 };
  fc.assert(
    fc.property(fc.constantFrom(...GOOD), fc.array(harm, { minLength: 1, maxLength: 3 }), (good, harms) => {
      const text = harms.reduce((bad, one) => one(bad), good);
      const findings: Finding[] = [];
      const peers = new Map<string, SourcedPeer>();
      const parsed = parseSecrets(text, "bad.json");
      findings.push(...parsed.findings);
      for (const secret of parsed.secrets) {
        const read = readPeerFile(secret, "bad.json");
        findings.push(...read.findings);
        for (const peer of read.peers) peers.set(peer.name, { peer, source: "bad.json" });
      }
      for (const one of peers.values()) findings.push(...checkPeer(one, OPTIONS.now));
      const planned = plan(target, [...peers.values()], OPTIONS);
      findings.push(...planned.findings);
      for (const { message, remedy = "" } of findings) {
        assert.ok(message.split("\n").length + remedy.split("\n").length <= 3, `too many lines: ${message}`);
        assert.ok(!/PRIVATE KEY|[A-Za-z0-9+/]{60}/.test(message + remedy), "a message holds no content");
      }
      if (hasErrors(findings)) {
        counts.refused++;
        return;
      }
      counts.taken++;
      const entries = entriesOf(applyPlan(target, planned).agentsSecret);
      assert.deepEqual(
        entries.map(({ name, peer }) => [name, peer !== undefined]),
        [...peers.keys()].sort().map((name) => [name, true]),
      );
    }),
    { numRuns: 10_000, interruptAfterTimeLimit: 600_000 },
  );
  assert.equal(counts.refused + counts.taken, 10_000);
  assert.ok(counts.refused > 5_000 && counts.taken > 500, JSON.stringify(counts));
});
