import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type MergeOptions, mergeEntries } from "../../lib/import/plan/merge-secret.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import {
  readEntries,
  readPeerFile,
  type SecretEntry,
  type SecretFiles,
  toSecretEntry,
  writePeerFile,
} from "../../lib/peer/secret.ts";
import { existingFiles, peers } from "../support/arbitraries.ts";
import { caOf, clientOf, freshClient } from "../support/material.ts";
import { COMMON, configText, LOCAL, peerOf, secretOf, textsOf } from "../support/targets.ts";

type Texts = Record<string, string>;

const filesOf = (texts: Texts): SecretFiles =>
  new Map(Object.entries(texts).map(([key, text]) => [key, Buffer.from(text)]));
/** Merges with the configs parsed before and during the merge, which makes no difference. */
const mergeFiles = (files: SecretFiles, ...[wanted, options]: [SecretEntry[], MergeOptions?]) => {
  const merged = mergeEntries({ files }, wanted, options);
  const entries = new Map(
    readEntries({ files }, { "clustermesh-secrets/peers": '{"c2":{"id":2}}' }, "x").map((one) => [one.name, one]),
  );
  assert.deepEqual(mergeEntries({ files, entries }, wanted, options), merged);
  return merged;
};
const merge = (existing: Texts, ...wanted: Peer[]) =>
  mergeFiles(
    filesOf(existing),
    wanted.map((peer) => toSecretEntry(peer, "target")),
  );
const after = ({ files }: ReturnType<typeof merge>): Texts =>
  Object.fromEntries([...files].map(([key, content]) => [key, content.toString()]));
const changed = ({ changes }: ReturnType<typeof merge>) =>
  Object.fromEntries([...changes].map(([key, content]) => [key, content === null ? null : content.toString()]));

const c2 = peerOf("c2", 2).peer;
const c3 = peerOf("c3", 3).peer;
const caKey = (peer: Peer) => toSecretEntry(peer, "target").ca?.key ?? "";

/** A peer's files as another layout has them, with the config in a form that is not ours. */
function inLayout(peer: Peer, names: readonly [string | undefined, string, string]): Texts {
  const { ca, client, endpoints, hostAliases } = peer;
  const aliases = hostAliases
    .map(({ hostname, ips }) => `- ips: [${ips}] # by hand\n  hostname: ${hostname}\n`)
    .join("");
  return {
    [peer.name]: configText(endpoints[0] ?? "", names, aliases && `cilium-host-aliases:\n${aliases}`),
    ...(typeof ca === "object" && names[0] !== undefined && { [names[0]]: `# CA\n${ca.pem}` }),
    ...(client !== "importer" && { [names[1]]: client.cert, [names[2]]: client.key }),
  };
}

const OLD_SCRIPTS = ["c2-ca.crt", "c2.crt", "c2.key"] as const;
const CHART = ["c2.etcd-client-ca.crt", "c2.etcd-client.crt", "c2.etcd-client.key"] as const;

test("the first peer is added", () => {
  const merged = merge({}, c2);
  assert.deepEqual([...merged.outcomes], [["c2", "added"]]);
  assert.deepEqual(
    Object.keys(changed(merged)).sort(),
    ["c2", "c2.etcd-client.crt", "c2.etcd-client.key", caKey(c2)].sort(),
  );
  assert.deepEqual(changed(merged), after(merged));
  assert.deepEqual(merge(after(merged), c2).changes.size, 0);
});

test("an up-to-date config keeps its bytes in any layout", () => {
  const common: Peer = { ...c2, ca: "importer", client: "importer" };
  const table: [string, Peer, Texts][] = [
    ["old scripts", c2, inLayout(c2, OLD_SCRIPTS)],
    ["chart", c2, inLayout(c2, CHART)],
    ["chart, common", common, inLayout(common, COMMON)],
    [
      "mixture",
      { ...c2, ca: "importer" },
      inLayout({ ...c2, ca: "importer" }, [COMMON[0], "c2.etcd-client.crt", "c2.etcd-client.key"]),
    ],
    ["no CA", { ...c2, ca: "system" }, inLayout({ ...c2, ca: "system" }, [undefined, "c2.crt", "c2.key"])],
    ["names of anybody's", c2, inLayout(c2, ["a", "b", "c"])],
    [
      "one file for two peers",
      c2,
      { ...inLayout(c2, ["a", "b", "c"]), c3: configText("https://c3:1", ["a", "b", "c"]) },
    ],
    ["without aliases", { ...c2, hostAliases: [] }, inLayout({ ...c2, hostAliases: [] }, CHART)],
  ];
  for (const [what, peer, existing] of table) {
    const merged = merge(existing, peer);
    assert.deepEqual(changed(merged), {}, what);
    assert.deepEqual([...merged.outcomes], [["c2", "unchanged"]], what);
  }
});

test("a renewed certificate keeps the config's bytes in any layout", () => {
  const renewed = { ...c2, client: clientOf(caOf("c2"), "remote", 1) };
  for (const names of [
    OLD_SCRIPTS,
    CHART,
    ["a", "b", "c"],
    [caKey(c2), "c2.etcd-client.crt", "c2.etcd-client.key"],
  ] as const) {
    const merged = merge(inLayout(c2, [...names] as [string, string, string]), renewed);
    assert.deepEqual(changed(merged), { [names[1]]: renewed.client.cert, [names[2]]: renewed.client.key });
    assert.deepEqual([...merged.outcomes], [["c2", "changed"]]);
  }
});

test("a renewed certificate does not overwrite a file that another peer references", () => {
  const renewed = { ...c2, client: clientOf(caOf("c2"), "remote", 1) };
  const existing: Texts = { ...inLayout(c2, ["a", "b", "c"]), c3: configText("https://c3:1", ["a", "b", "c"]) };
  const files = after(merge(existing, renewed));
  assert.deepEqual([files.a, files.b, files.c, files.c3], [existing.a, existing.b, existing.c, existing.c3]);
  assert.equal(files["c2.etcd-client.crt"], renewed.client.cert);
});

test("files that only a config to be removed references may be overwritten", () => {
  const key = toSecretEntry(c2, "target").key?.key ?? "";
  const taken = { c3: configText("https://127.0.0.1:1", [undefined, key, key]) };
  const wanted = [toSecretEntry(c2, "target")];
  const avoiding = mergeFiles(filesOf(taken), wanted);
  assert.equal(avoiding.files.has(key), false);
  const leaving = mergeFiles(filesOf(taken), wanted, { removedLater: ["c3"] });
  assert.equal(leaving.files.has(key), true);
  assert.equal(leaving.files.has("c3"), true, "it is still there");
});

test("a changed CA changes the config in any layout, and the old file is removed", () => {
  const moved = { ...c2, ca: { pem: caOf("new").cert }, client: clientOf(caOf("new")) };
  for (const names of [OLD_SCRIPTS, CHART, [caKey(c2), "c2.etcd-client.crt", "c2.etcd-client.key"]] as const) {
    const existing = inLayout(c2, [...names] as [string, string, string]);
    const merged = merge(existing, moved);
    assert.notEqual(after(merged).c2, existing.c2);
    assert.deepEqual(
      Object.keys(after(merged)).sort(),
      ["c2", "c2.etcd-client.crt", "c2.etcd-client.key", caKey(moved)].sort(),
    );
    assert.equal(changed(merged)[names[0]], null);
  }
});

test("a CA in another PEM format is equal", () => {
  const bundle = { ...c2, ca: { pem: caOf("c2").cert } };
  const existing = {
    ...inLayout(c2, OLD_SCRIPTS),
    "c2-ca.crt": `# CA of c2\r\n${caOf("c2").cert.replaceAll("\n", "\r\n")}`,
  };
  assert.deepEqual(changed(merge(existing, bundle)), {});
});

test("an empty CA file of charts up to 1.13 is replaced", () => {
  const existing = { ...inLayout(c2, CHART), "c2.etcd-client-ca.crt": "" };
  const merged = merge(existing, c2);
  assert.deepEqual([...merged.outcomes], [["c2", "changed"]]);
  assert.equal(after(merged)[caKey(c2)], caOf("c2").cert);
  assert.equal("c2.etcd-client-ca.crt" in after(merged), false);
});

test("a shared CA is stored once, and kept until its last reference is removed", () => {
  const shared = { pem: caOf("shared").cert };
  const [one, two] = [
    { ...c2, ca: shared },
    { ...c3, ca: shared },
  ];
  const both = merge({}, one, two);
  assert.equal(Object.values(after(both)).filter((text) => text === shared.pem).length, 1);
  assert.deepEqual(after(merge(after(merge({}, one)), two)), after(both));
  const without = merge(after(both), c2);
  assert.equal(after(without)[caKey(one)], shared.pem);
  assert.equal(caKey(one) in after(merge(after(without), c3)), false);
});

test("a config with other endpoints, aliases, kinds of certificates or unknown fields is rewritten", () => {
  const table: [what: string, existing: Texts, wanted: Peer][] = [
    ["the endpoint", inLayout(c2, CHART), { ...c2, endpoints: ["https://c2.mesh.cilium.io:32380"] }],
    ["an address", inLayout(c2, CHART), { ...c2, hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.0.0.3"] }] }],
    ["no aliases", inLayout(c2, CHART), { ...c2, hostAliases: [] }],
    ["to the common form", inLayout(c2, CHART), { ...c2, ca: "importer", client: "importer" }],
    ["from the common form", inLayout({ ...c2, ca: "importer", client: "importer" }, COMMON), c2],
    [
      "from the local files",
      inLayout({ ...c2, ca: "importer", client: "importer" }, LOCAL),
      { ...c2, ca: "importer", client: "importer" },
    ],
    ["to the system's roots", inLayout(c2, CHART), { ...c2, ca: "system" }],
    ["a field that Cilium does not read", { ...inLayout(c2, CHART), c2: `${inLayout(c2, CHART).c2}ca-file: /x\n` }, c2],
    ["an invalid config", { ...inLayout(c2, CHART), c2: "endpoints: [" }, c2],
    ["a file that is missing", { c2: inLayout(c2, CHART).c2 ?? "" }, c2],
  ];
  for (const [what, existing, wanted] of table) {
    const merged = merge(existing, wanted);
    assert.deepEqual([...merged.outcomes], [["c2", "changed"]], what);
    assert.deepEqual(read(after(merged), "c2"), { ...wanted, facts: {} }, what);
    assert.equal(merge(after(merged), wanted).changes.size, 0, what);
  }
  const keyless = after(merge(inLayout(c2, CHART), { ...c2, ca: "importer", client: "importer" }));
  assert.deepEqual(Object.keys(keyless), ["c2"], "no private key stays behind");
});

function read(texts: Texts, name: string): Peer | undefined {
  return readEntries({ files: filesOf(texts) }, {}, "t").find((entry) => entry.name === name)?.peer;
}

test("a foreign file under our key is not overwritten", () => {
  const key = toSecretEntry(c2, "target");
  const [ca, cert] = [key.ca?.key ?? "", key.cert?.key ?? ""];
  const table: [what: string, existing: Texts][] = [
    ["named by no config", { [cert]: "mine", [ca]: "mine too" }],
    [
      "named by another peer's",
      {
        [cert]: c3.client === "importer" ? "" : c3.client.cert,
        x: "x",
        c3: configText("https://c3:1", [cert, cert, "x"]),
      },
    ],
    ["with the same content", { [cert]: clientOf(caOf("c2")).cert }],
    ["a config itself", { [cert]: "endpoints: []\n", [ca]: "endpoints: []\n" }],
    ["all taken", { [cert]: "1", "c2.etcd-client.2.crt": "2", "c2.etcd-client.3.crt": "3" }],
  ];
  for (const [what, existing] of table) {
    const merged = merge(existing, c2);
    const files = after(merged);
    assert.deepEqual(Object.fromEntries(Object.keys(existing).map((name) => [name, files[name]])), existing, what);
    assert.deepEqual(read(files, "c2"), { ...c2, facts: {} }, what);
    assert.equal(merge(files, c2).changes.size, 0, what);
    const renewed = merge(files, { ...c2, client: clientOf(caOf("c2"), "remote", 1) });
    assert.equal(renewed.changes.size, 2, what);
    assert.equal(renewed.changes.has("c2"), false, what);
    for (const name of Object.keys(existing)) assert.equal(renewed.changes.has(name), false, `${what}: ${name}`);
  }
});

test("two peers of one import do not overwrite each other's files in any layout", () => {
  // The files of c3 have the names that we write for c2.
  const existing = inLayout(c3, ["x", "c2.etcd-client.crt", "c2.etcd-client.key"]);
  for (const wanted of [
    [c2, c3],
    [c3, c2],
  ]) {
    const files = after(merge(existing, ...wanted));
    for (const peer of wanted) assert.deepEqual(read(files, peer.name), { ...peer, facts: {} }, peer.name);
    assert.equal(files.c3, existing.c3);
  }
});

test("a file with two purposes is not overwritten for one of them", () => {
  const key = caKey(c3);
  // c2's certificate has the name and content of c3's future CA file, or is also a config.
  const asCa = { ...inLayout(c2, ["x", key, "y"]), [key]: caOf("c3").cert };
  const asConfig = { ...inLayout(c2, ["x", "z", "y"]), z: "endpoints: []\n" };
  for (const existing of [asCa, asConfig]) {
    for (const wanted of [
      [c2, c3],
      [c3, c2],
    ]) {
      const files = after(merge(existing, ...wanted));
      for (const peer of wanted) assert.deepEqual(read(files, peer.name), { ...peer, facts: {} }, peer.name);
      if (existing === asConfig) assert.equal(files.z, asConfig.z);
    }
  }
});

test("our layout replaces that of the old scripts, and peers that are not imported stay unchanged", () => {
  const [old2, old3] = [textsOf(writePeerFile(c2)), textsOf(writePeerFile(c3))];
  const moved = { ...c2, hostAliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.9.9.9"] }] };
  const files = after(merge({ ...old2, ...old3, README: "x" }, moved));
  assert.deepEqual(Object.fromEntries(Object.entries(files).filter(([key]) => key in old3 || key === "README")), {
    ...old3,
    README: "x",
  });
  assert.deepEqual(
    Object.keys(files).sort(),
    [...Object.keys(old3), "README", "c2", "c2.etcd-client.crt", "c2.etcd-client.key", caKey(c2)].sort(),
  );
});

const NAMES = ["c2", "c3", "c4"];
const anyPeers = peers(NAMES);
const anyFiles = existingFiles(NAMES).map((files): SecretFiles => new Map(Object.entries(files)));
const laid = (list: readonly Peer[]) => list.map((peer) => toSecretEntry(peer, "target"));
const keysOf = (files: SecretFiles, keep: (name: string) => boolean) =>
  readEntries({ files }, {}, "")
    .filter(({ name }) => keep(name))
    .flatMap(({ name, keys }) => [name, ...Object.values(keys).filter((key) => key !== undefined)]);

test("a second merge changes nothing, for any existing content", () => {
  fc.assert(
    fc.property(anyFiles, anyPeers, (existing, list) => {
      const { files } = mergeFiles(existing, laid(list));
      const again = mergeFiles(files, laid(list));
      assert.deepEqual([...again.changes], []);
      assert.deepEqual(new Set(again.outcomes.values()), new Set(["unchanged"]));
    }),
    { numRuns: 120 },
  );
});

test("each merged peer is read back equal, for any existing content", () => {
  fc.assert(
    fc.property(anyFiles, anyPeers, (existing, list) => {
      const { files } = mergeFiles(existing, laid(list));
      const entries = new Map(readEntries({ files }, {}, "").map((entry) => [entry.name, entry.peer]));
      for (const peer of list) assert.deepEqual(entries.get(peer.name), { ...peer, facts: {} });
    }),
    { numRuns: 120 },
  );
});

test("only files of imported peers change, for any existing content", () => {
  fc.assert(
    fc.property(anyFiles, anyPeers, (existing, list) => {
      const names = new Set(list.map(({ name }) => name));
      const { changes } = mergeFiles(existing, laid(list));
      // What may change: the peers' configs, and files that only their configs name.
      const theirs = new Set(keysOf(existing, (name) => names.has(name)));
      const others = new Set(keysOf(existing, (name) => !names.has(name)));
      for (const key of existing.keys()) {
        if (!theirs.has(key) && !names.has(key)) assert.ok(!changes.has(key), `${key} belongs to no known peer`);
        if (others.has(key)) assert.ok(!changes.has(key), `${key} is another peer's`);
      }
    }),
    { numRuns: 120 },
  );
});

test("no change removes a file that a remaining config references", () => {
  fc.assert(
    fc.property(anyFiles, anyPeers, (existing, list) => {
      const { files, changes } = mergeFiles(existing, laid(list));
      const named = new Set(
        keysOf(existing, (name) => existing.get(name)?.equals(files.get(name) ?? Buffer.alloc(0)) === true),
      );
      for (const [key, content] of changes)
        if (content === null) assert.ok(!named.has(key) && !NAMES.includes(key), key);
      // And what is left behind by the peers imported is nothing.
      const names = new Set(list.map(({ name }) => name));
      const left = keysOf(existing, (name) => names.has(name)).filter((key) => files.has(key));
      const inUse = new Set(keysOf(files, () => true));
      for (const key of left) assert.ok(inUse.has(key), `${key} is left behind`);
    }),
    { numRuns: 120 },
  );
});

test("merging one peer and then another equals merging both, for any existing content", () => {
  fc.assert(
    fc.property(fc.oneof(fc.constant(new Map()), anyFiles), anyPeers, fc.nat(), (existing: SecretFiles, list, at) => {
      const cut = at % (list.length + 1);
      const first = mergeFiles(existing, laid(list.slice(0, cut)));
      const second = mergeFiles(first.files, laid(list.slice(cut)));
      const both = mergeFiles(existing, laid(list));
      const meaning = (files: SecretFiles) => readEntries({ files }, {}, "").map(({ name, peer }) => [name, peer]);
      assert.deepEqual(meaning(second.files), meaning(both.files));
      // Where nothing of anybody's is in the way, byte for byte.
      if (existing.size === 0) assert.deepEqual(new Map([...second.files].sort()), new Map([...both.files].sort()));
    }),
    { numRuns: 120 },
  );
});

test("a file from one target can be merged into another", () => {
  const { files } = merge({}, c2, c3);
  const { peers } = readPeerFile(secretOf(Object.fromEntries(files)), "f");
  assert.deepEqual(after(merge({}, ...peers)), after(merge({}, c2, c3)));
});

test("a renewed certificate and a rewritten config are one change", () => {
  const fresh = freshClient(caOf("c2"));
  const both = { ...c2, client: fresh, endpoints: ["https://c2.mesh.cilium.io:1"] };
  const files = after(merge(inLayout(c2, CHART), both));
  assert.deepEqual([files["c2.etcd-client.crt"], files["c2.etcd-client.key"]], [fresh.cert, fresh.key]);
});
