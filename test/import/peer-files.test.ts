import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, test } from "node:test";
import { stringify } from "yaml";
import { readPeers } from "../../lib/import/peer-files.ts";
import { plan } from "../../lib/import/plan/plan.ts";
import { MAX_FILE_BYTES } from "../../lib/peer/documents.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { caOf, clientOf, freshClient, NOW } from "../support/material.ts";
import { configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

const dir = mkdtempSync(join(tmpdir(), "files-test-"));
after(() => rmSync(dir, { recursive: true, force: true }));

const [c2, c3] = [writePeerFile(peerOf("c2", 2).peer), writePeerFile(peerOf("c3", 3).peer)];
const [peer2, peer3] = [c2, c3].map((secret) => readPeerFile(secret, "").peers[0]);

function write(name: string, content: string | Buffer): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

const stdin = (...chunks: (string | Buffer)[]) => Readable.from(chunks) as AsyncIterable<Uint8Array | string>;
const json = (object: unknown) => JSON.stringify(object, null, 2);

async function codes(...paths: string[]): Promise<string[]> {
  return (await readPeers(paths)).findings.map(({ code }) => code);
}

/** Findings about files and the import of their peers. */
async function findingsOf(...paths: string[]): Promise<Finding[]> {
  const { peers, findings } = await readPeers(paths);
  const planned = plan(targetOf("1.13"), peers, { ...OPTIONS, now: NOW, restarts: "all" });
  return [
    ...findings,
    ...planned.findings.filter(({ code }) => code !== "id-unknown" && code !== "common-not-mounted"),
  ];
}

test("peers are read from files, folders and standard input", async () => {
  const folder = join(dir, "folder");
  mkdirSync(folder);
  writeFileSync(join(folder, "b.YAML"), stringify(c3));
  writeFileSync(join(folder, "a.json"), json(c2));
  writeFileSync(join(folder, "notes.txt"), "not read");
  const expected = [peer2, peer3];
  const one = write("c2.json", json(c2));
  const two = write("c3.yml", stringify(c3));
  const read = async (paths: string[], from = stdin()) => {
    const { peers, findings } = await readPeers(paths, { stdin: from });
    assert.deepEqual(findings, []);
    return peers.map(({ peer, source }) => ({ peer, source }));
  };
  assert.deepEqual(await read([one, two]), [
    { peer: peer2, source: one },
    { peer: peer3, source: two },
  ]);
  assert.deepEqual(
    (await read([folder])).map(({ peer }) => peer),
    expected,
  );
  assert.deepEqual(
    (await read([folder])).map(({ source }) => source),
    [join(folder, "a.json"), join(folder, "b.YAML")],
  );
  const bytes = Buffer.from(json({ kind: "List", items: [c2, c3] }));
  assert.deepEqual(
    await read(["-"], stdin(bytes.subarray(0, 1001), bytes.subarray(1001))),
    expected.map((peer) => ({ peer, source: "standard input" })),
  );
  assert.deepEqual((await read(["-", "-"], stdin(json(c2), "\n", json(c3)))).length, 2);
  // A name in the file that is cut within a character, and a mark of its byte order.
  const marked = Buffer.from(`\uFEFF${stringify({ ...c2, metadata: { annotations: { note: "é".repeat(9) } } })}`);
  for (const at of [1, 2, marked.indexOf(0xc3) + 1]) {
    assert.equal((await read(["-"], stdin(marked.subarray(0, at), marked.subarray(at)))).length, 1);
  }
});

test("a named pipe is read like a file", async () => {
  const fifo = join(dir, "fifo");
  execFileSync("mkfifo", [fifo]);
  const writing = import("node:fs/promises").then(({ writeFile }) => writeFile(fifo, json(c2)));
  const { peers, findings } = await readPeers([fifo]);
  await writing;
  assert.deepEqual([peers.length, findings.length], [1, 0]);
});

test("each unreadable file is reported, and the others are read", async () => {
  const empty = join(dir, "empty");
  mkdirSync(empty);
  symlinkSync("loop", join(dir, "loop"));
  const huge = write("huge.json", "");
  truncateSync(huge, MAX_FILE_BYTES + 1);
  const good = write("good.json", json(c2));
  const table: [path: string, message: RegExp][] = [
    [join(dir, "missing.json"), /no such file/],
    [join(good, "x"), /not a directory/],
    [empty, /directory has no/],
    [join(dir, "loop"), /too many symbolic links/],
    [huge, /file exceeds 64 MiB/],
    [join(dir, "x".repeat(256)), /^name too long$/],
    [write("empty.json", ""), /is empty/],
    [write("binary.json", Buffer.from(json(c2), "utf16le")), /is not UTF-8 text/],
    [write("half.json", json(c2).slice(0, 99)), /neither JSON nor YAML/],
  ];
  const { peers, findings } = await readPeers([...table.map(([path]) => path), good]);
  assert.deepEqual(
    peers.map(({ source }) => source),
    [good],
  );
  assert.deepEqual(
    findings.map(({ source, code }) => [source, code]).sort(),
    table.map(([path]) => [path, "unreadable"]).sort(),
  );
  for (const [path, message] of table)
    assert.match(findings.find(({ source }) => source === path)?.message ?? "", message);
});

test("a file without read permission is reported", async () => {
  const path = write("closed.json", json(c2));
  chmodSync(path, 0);
  const { findings } = await readPeers([path]);
  const root = process.getuid?.() === 0;
  assert.deepEqual(
    findings.map(({ message }) => message),
    root ? [] : ["permission denied"],
  );
});

test("standard input that is too large is refused", async () => {
  let chunks = 0;
  async function* endless() {
    for (;;) {
      chunks++;
      yield Buffer.alloc(8 * 1_048_576, 32);
    }
  }
  const { findings } = await readPeers(["-"], { stdin: endless() });
  assert.match(findings[0]?.message ?? "", /file exceeds 64 MiB/);
  assert.equal(chunks, 9);
});

test("all findings about files and peers are reported at once, with file and key", async () => {
  const expired = { notBefore: new Date(NOW.getTime() - 9e8), notAfter: new Date(NOW.getTime() - 5e8) };
  const bad = write(
    "bad.json",
    json(writePeerFile(peerOf("c2", 2, { ca: { pem: "" }, client: freshClient(caOf("c2"), expired) }).peer)),
  );
  const cache = write(
    "cache.json",
    json(
      secretOf({
        c4: configText("https://clustermesh-apiserver.kube-system.svc:2379", [
          "local-etcd-client-ca.crt",
          "local-etcd-client.crt",
          "local-etcd-client.key",
        ]),
      }),
    ),
  );
  const cm = write("cm.yaml", "apiVersion: v1\nkind: ConfigMap\n");
  const cut = write("cut.json", json({ ...c3, data: { ...c3.data, "c3.crt": `${c3.data?.["c3.crt"]}=` } }));
  const findings = await findingsOf(bad, cache, cm, cut);
  assert.deepEqual(
    new Set(findings.map(({ source, key, code }) => `${source.slice(dir.length + 1)} ${key} ${code}`)),
    new Set([
      "bad.json c2 ca-empty",
      "bad.json c2 certificate-expired",
      "cache.json c4 own-cache",
      "cm.yaml undefined not-a-secret",
      "cut.json c3.crt data-invalid",
    ]),
  );
});

test("a file with a node-local endpoint is refused with a remedy for a tunnel on each node", async () => {
  const files = ["common-etcd-client-ca.crt", "common-etcd-client.crt", "common-etcd-client.key"] as const;
  const cases: [url: string, remedy: RegExp][] = [
    ["https://127.0.0.1:12379", /--endpoint submariner=127\.0\.0\.1:12379$/],
    ["https://[::1]:12379", /--endpoint submariner=127\.0\.0\.1:12379$/],
    ["https://127.1:12379", /--endpoint submariner=127\.0\.0\.1:PORT$/],
    ["http://localhost", /--endpoint submariner=127\.0\.0\.1:PORT$/],
  ];
  for (const [url, remedy] of cases) {
    const path = write("submariner.json", json(secretOf({ submariner: configText(url, files) })));
    const findings = await findingsOf(path);
    assert.deepEqual(
      findings.map(({ key, code, severity }) => [key, code, severity]),
      [["submariner", "endpoint-node-local", "error"]],
      url,
    );
    assert.match(findings[0]?.remedy ?? "", remedy);
  }
});

test("510 peers and their findings in one YAML List are read", async () => {
  const ca = caOf("c2");
  const items = Array.from({ length: 510 }, (_, i) =>
    writePeerFile(peerOf(`c${i + 2}`, i + 2, { ca: { pem: ca.cert } }).peer),
  );
  const all = write("all.yaml", stringify({ apiVersion: "v1", kind: "List", items }));
  assert.equal((await readPeers([all])).peers.length, 510);
  const data = Object.fromEntries(Array.from({ length: 9_000 }, (_, i) => [`k${i}`, "%"]));
  const many = Array.from({ length: 20 }, (_, i) => write(`many${i}.json`, json({ ...c2, data })));
  assert.equal((await readPeers(many)).findings.length, 180_000);
});

test("equal peers are merged, and different peers of one name are reported", async () => {
  const peer = peerOf("c2", 2).peer;
  const one = write("one.json", json(writePeerFile(peer)));
  const again = write("again.yaml", stringify(writePeerFile(peer)));
  const poor = write("poor.json", json(writePeerFile({ ...peer, facts: {} })));
  const renewed = write("renewed.json", json(writePeerFile({ ...peer, client: clientOf(caOf("c2"), "remote", 1) })));
  const otherId = write("other-id.json", json(writePeerFile({ ...peer, facts: { ...peer.facts, id: 9 } })));
  assert.deepEqual(await codes(one, again), []);
  assert.deepEqual(await codes(one, one), []);
  for (const paths of [
    [one, poor],
    [poor, one],
  ]) {
    const { peers, findings } = await readPeers(paths);
    assert.deepEqual(findings, []);
    assert.deepEqual(
      peers,
      [{ peer: readPeerFile(writePeerFile(peer), "").peers[0], source: one, layout: "clustermesh-secrets" }],
      "the file with more facts",
    );
  }
  for (const other of [renewed, otherId]) {
    const { findings } = await readPeers([one, other]);
    assert.deepEqual(
      findings.map(({ code, source, key }) => [code, source, key]),
      [["name-duplicate", other, "c2"]],
    );
    assert.ok(findings[0]?.message.includes(one), "both are named");
  }
  // Within one file too.
  const list = write(
    "list.json",
    json({ kind: "List", items: [c2, writePeerFile({ ...peer, endpoints: ["https://c2.mesh.cilium.io:1"] })] }),
  );
  assert.deepEqual(await codes(list), ["name-duplicate"]);
});
