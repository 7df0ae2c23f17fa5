/** Findings of an import before the first write. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ImportOptions, prepareImport } from "../../lib/import/prepare.ts";
import type { KubernetesApi } from "../../lib/kube/api.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { caOf, clientOf } from "../support/material.ts";
import { configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

/** Nothing is asked of it. */
const api = {} as KubernetesApi;
const one = targetOf("1.20", { source: "one", facts: { name: "one", id: 101 } });
const other = targetOf("1.20", { source: "other", facts: { name: "other", id: 102 } });

/** The certificate of a peer, with a key that is another's. */
const flawed = (name: string) => ({
  client: { cert: clientOf(caOf(name)).cert, key: clientOf(caOf(name), "another").key },
});

async function findingsOf(targets: (typeof one)[], peers: SourcedPeer[], options: Partial<ImportOptions> = {}) {
  const prepared = await prepareImport(
    targets.map((target) => ({ api, target, peers })),
    { plan: OPTIONS, resolve: async () => [], ...options },
  );
  return prepared.findings.map(({ code, source, key }) => [code, source, key]);
}

test("a finding about a peer is reported once for all targets", async () => {
  const expected = [["key-mismatch", "c2-secret.json", "c2"]];
  const peers = [peerOf("c2", 2, flawed("c2")), peerOf("c3", 3)];
  assert.deepEqual(await findingsOf([one], peers), expected);
  assert.deepEqual(await findingsOf([one, other], peers), expected);
});

test("a file that a target skips is checked too", async () => {
  const peers = [peerOf("one", 101, flawed("one")), peerOf("c3", 3)];
  const expected = [["key-mismatch", "one-secret.json", "one"]];
  assert.deepEqual(await findingsOf([one], peers), expected, "its own");
  assert.deepEqual(await findingsOf([one, other], peers), expected, "its own, and a peer's of another");

  const files = ["ca.crt", "c2.crt", "c2.key"] as const;
  const { cert, key } = clientOf(caOf("c2"));
  const tunnel = configText("https://127.0.0.1:32379", files);
  const agentsSecret = secretOf({ c2: tunnel, "ca.crt": caOf("c2").cert, "c2.crt": cert, "c2.key": key });
  const kept = await findingsOf([{ ...one, agentsSecret }], [peerOf("c2", 2, flawed("c2"))]);
  assert.deepEqual(kept, [["key-mismatch", "c2-secret.json", "c2"]], "one that another tool's tunnel leads to");
});

test("--endpoint resolves findings about an endpoint, of a target's own file too", async () => {
  const byAddress = { endpoints: ["https://10.0.0.2:32379"], hostAliases: [] };
  const peers = [peerOf("one", 101, byAddress), peerOf("c3", 3)];
  const expected = [["endpoint-address", "one-secret.json", "one"]];
  const endpoints = new Map([["one", ["10.9.9.9:2379"]]]);
  assert.deepEqual(await findingsOf([one, other], peers), expected);
  assert.deepEqual(await findingsOf([one, other], peers, { endpoints }), []);
});

test("an invalid peer stops the import even if no target is readable", async () => {
  const peers = [peerOf("c2", 2, flawed("c2"))];
  assert.deepEqual(await findingsOf([], [], { peers }), [["key-mismatch", "c2-secret.json", "c2"]]);
});
