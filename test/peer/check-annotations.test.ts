import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { checkPeer } from "../../lib/peer/checks/check-peer.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { inspectPeers } from "../../lib/peer/inspect.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { showInspection } from "../../lib/render/inspect.ts";
import { styleFor } from "../../lib/render/style.ts";
import { NOW } from "../support/material.ts";
import { peerOf } from "../support/targets.ts";

const { peer } = peerOf("cluster3", 3);
const file = writePeerFile({ ...peer, facts: { ...peer.facts, serverNames: ["*.mesh.cilium.io"], version: "1.18.5" } });

/** The file with other keys for its config, and other annotations; null removes one. */
function changed(keys: string[], annotations: Record<string, string | null> = {}): V1Secret {
  const { cluster3: config = "", ...files } = file.data ?? {};
  const all = { ...file.metadata?.annotations, ...prefixed(annotations) };
  return {
    ...file,
    metadata: {
      annotations: Object.fromEntries(
        Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null),
      ),
    },
    data: { ...files, ...Object.fromEntries(keys.map((key) => [key, config])) },
  };
}

const prefixed = (annotations: Record<string, string | null>) =>
  Object.fromEntries(Object.entries(annotations).map(([name, value]) => [`clustermesh-secrets/${name}`, value]));

const unnamed = (annotations: Record<string, string | null> = {}) => ({
  ...Object.fromEntries(
    Object.keys(file.metadata?.annotations ?? {}).map((name) => [name.replace("clustermesh-secrets/", ""), null]),
  ),
  ...annotations,
});

test("facts of a cluster that has no entry are not dropped in silence", () => {
  const table: [title: string, secret: V1Secret, key: string | undefined, message: string, remedy: RegExp][] = [
    [
      "a key renamed by hand",
      changed(["cluster9"]),
      "cluster9",
      "the annotations describe cluster3, but the only entry is cluster9; ignored: id 3 (so duplicates cannot be detected), " +
        "max-connected-clusters 255, server names and other facts",
      /re-extract cluster9/,
    ],
    [
      "several entries, of which none is the one",
      changed(["c7", "c8", "c9"]),
      undefined,
      "the annotations describe cluster3, but the entries are c7, c8 and c9; ignored: id 3 (so duplicates cannot be detected), " +
        "max-connected-clusters 255, server names and other facts",
      /re-extract c7, c8 and c9/,
    ],
    [
      "many entries are counted",
      changed(["a", "b", "c", "d", "e", "f", "g"], unnamed({ "cluster-name": "cluster3", "cluster-id": "3" })),
      undefined,
      "the annotations describe cluster3, but the entries are a, b, c, d and 3 more; " +
        "ignored: id 3 (so duplicates cannot be detected)",
      /re-extract a, b, c, d and 3 more/,
    ],
    [
      "a name alone",
      changed(["cluster9"], unnamed({ "cluster-name": "cluster3" })),
      "cluster9",
      "the annotations describe cluster3, but the only entry is cluster9",
      /re-extract cluster9/,
    ],
    [
      "an annotation renamed in case",
      changed(["cluster3"], unnamed({ "cluster-name": "Cluster3", "cluster-id": "3" })),
      "cluster3",
      "the annotations describe Cluster3, but the only entry is cluster3; ignored: id 3 (so duplicates cannot be detected)",
      /re-extract cluster3/,
    ],
    ...[null, ""].map((name): [string, V1Secret, string, string, RegExp] => [
      `the name is ${JSON.stringify(name)}`,
      changed(["cluster3"], unnamed({ "cluster-name": name, "cluster-id": "3", "server-names": "*.mesh.cilium.io" })),
      "cluster3",
      "the annotations name no cluster, but the only entry is cluster3; " +
        "ignored: id 3 (so duplicates cannot be detected) and server names",
      /re-extract cluster3/,
    ]),
    [
      "a record of a target, and a key renamed by hand",
      changed(["c7", "c9"], unnamed({ peers: '{"c7":{"id":7},"c8":{"id":8}}' })),
      "c9",
      "annotation clustermesh-secrets/peers lists c8 without an entry, but not c9; ignored: the cluster ids in it",
      /re-extract c9/,
    ],
  ];
  for (const [title, secret, key, message, remedy] of table) {
    const { peers, findings } = readPeerFile(secret, "f.json");
    assert.deepEqual(
      findings.map((one) => [one.code, one.severity, one.source, one.key, one.message]),
      [["facts-of-other-cluster", "warning", "f.json", key, message]],
      title,
    );
    assert.match(findings[0]?.remedy ?? "", remedy, title);
    assert.ok(peers.length > 0, title);
    for (const one of peers.filter(({ name }) => name !== "c7")) assert.deepEqual(one.facts, {}, title);
  }
});

test("facts of an entry, and what is not known, are no finding", () => {
  const table: [title: string, secret: V1Secret][] = [
    ["as it was extracted", file],
    ["one of several entries", changed(["cluster2", "cluster3", "cluster4"])],
    ["no annotations", changed(["cluster9"], unnamed())],
    ["a schema alone", changed(["cluster9"], unnamed({ schema: "1" }))],
    ["records of the entries", changed(["c7", "c8"], unnamed({ peers: '{"c7":{"id":7},"c8":{"id":8}}' }))],
    ["a chart's peer beside one with a record", changed(["c7", "c8"], unnamed({ peers: '{"c7":{"id":7}}' }))],
    [
      "a record of a peer that was removed by hand",
      changed(["c7"], unnamed({ peers: '{"c7":{"id":7},"c8":{"id":8}}' })),
    ],
    ["an entry with facts beside a record of a removed one", changed(["cluster3"], { peers: '{"c8":{"id":8}}' })],
  ];
  for (const [title, secret] of table) assert.deepEqual(readPeerFile(secret, "f.json").findings, [], title);
});

test("inspect shows both names with the peer, and that the file would connect", () => {
  const { peers, findings } = readPeerFile(changed(["cluster9"]), "f.json");
  const sourced = peers.map((one) => ({ peer: one, source: "f.json" }));
  const found: Finding[] = [...findings, ...sourced.flatMap((one) => checkPeer(one, NOW))];
  const inspection = inspectPeers(sourced, found, NOW);
  assert.equal(inspection.peers[0]?.verdict, "warnings");
  assert.deepEqual(inspection.findings, []);
  const text = showInspection(inspection, styleFor({}, {})).join("\n");
  assert.match(text, /^cluster9 \(f\.json\): would connect, with warnings$/m);
  assert.match(
    text,
    /^ {2}warning: .*describe cluster3, but the only entry is cluster9;.*\[facts-of-other-cluster\]$/m,
  );
});
