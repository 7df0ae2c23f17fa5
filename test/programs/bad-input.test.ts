/** import-secrets with invalid files: one or two lines, exit code 2, nothing written. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { V1Secret } from "@kubernetes/client-node";
import { stringify } from "yaml";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { measureCost } from "../support/cost.ts";
import { caOf, clientOf, freshClient, intermediateOf } from "../support/material.ts";
import { run } from "../support/programs.ts";
import { peerOf } from "../support/targets.ts";

const TELL_CPU = fileURLToPath(new URL("../support/report-cpu.cjs", import.meta.url));
const DAY = 86_400_000;
const base64 = (text: string | Buffer) => Buffer.from(text).toString("base64");
const c2 = peerOf("c2", 2).peer;
const good = writePeerFile(c2);
const text = JSON.stringify(good, null, 2);
const client = clientOf(caOf("c2"));
/** The valid file with other values for some keys. */
const withData = (data: Record<string, string | Buffer>): V1Secret => ({
  ...good,
  data: { ...good.data, ...Object.fromEntries(Object.entries(data).map(([key, value]) => [key, base64(value)])) },
});
const config = Buffer.from(good.data?.c2 ?? "", "base64").toString();
const renamed = (name: string): V1Secret => {
  const { c2: existing, ...data } = good.data ?? {};
  return { ...good, metadata: { name: "cilium-clustermesh" }, data: { ...data, [name]: existing ?? "" } };
};

const annotated = (annotation: string, value: string): V1Secret => ({
  ...good,
  metadata: { annotations: { ...good.metadata?.annotations, [`clustermesh-secrets/${annotation}`]: value } },
});

/** Contents of a file, and the expected message. */
const table: [title: string, content: string | Buffer | V1Secret, expected: RegExp][] = [
  ["an empty file", "", /the file is empty/],
  ["a truncated file", text.slice(0, 700), /neither JSON nor YAML/],
  ["UTF-16, little-endian", Buffer.from(`\uFEFF${text}`, "utf16le"), /UTF-16/],
  ["UTF-16, big-endian", Buffer.from(`\uFEFF${text}`, "utf16le").swap16(), /UTF-16/],
  ["NUL bytes", text.replace("Opaque", "Opa\0que"), /NUL/],
  [
    "invalid UTF-8",
    Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xfe, 0xfd])]),
    /no text in UTF-8|neither JSON nor YAML/,
  ],
  ["a YAML bomb", bomb(), /neither JSON nor YAML|cannot be resolved/],
  ["deep nesting in JSON", `${"[".repeat(200_000)}${"]".repeat(200_000)}`, /no Kubernetes object/],
  ["deep nesting in YAML", `a: ${"[".repeat(200_000)}`, /neither JSON nor YAML/],
  [
    "deep nesting by indentation",
    Array.from({ length: 3_000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"),
    /no Secret|neither JSON/,
  ],
  ["a prototype's key as an object", '{"__proto__":{"kind":"Secret","data":{}}}', /not a Secret/],
  [
    "the same key twice in JSON",
    text.replace('"data": {', `"data": {"c2": "${base64("endpoints:\n- https://x:1\n")}",`),
    /duplicate key/,
  ],
  ["the same key twice in YAML", `${stringify(good)}kind: Secret\n`, /neither JSON nor YAML|duplicate key/],
  ["another object", "apiVersion: v1\nkind: ConfigMap\ndata: {}\n", /contains a ConfigMap, not a Secret/],
  ["a Secret without peers", stringify({ ...good, data: { x: base64("y") } }), /contains no etcd config/],
  [
    "a value that is not base64",
    JSON.stringify({ ...good, data: { ...good.data, "c2.crt": "%%" } }),
    /not valid base64/,
  ],
  ["a name with terminal escapes", renamed("\u001b[2Jx"), /invalid cluster name "\\u001b\[2Jx"|\\x1b\[2J/],
  [
    "a name with a line break",
    renamed("c2\nerror: forged"),
    /\(c2\\nerror: forged\): invalid cluster name "c2\\nerror: forged":/,
  ],
  ["a name with invisible characters", renamed("c2\u2028\u202e\u200bx"), /c2\\n\\u202e\\u200bx/],
  ["a very long name", renamed("c".repeat(100_000)), /"c{100,}… \(99,\d+ more characters\) …c+": at most 32 of/],
  [
    "20,000 names in the server certificate",
    annotated("server-names", Array.from({ length: 20_000 }, (_, i) => `n${i}.example`).join(",")),
    /does not cover c2\.mesh\.cilium\.io, only n0\.example.* \(\d+,\d+ more characters\)/,
  ],
  [
    "a name of the server certificate with a line break",
    annotated("server-names", "a\nerror: forged"),
    /only a\\nerror/,
  ],
  ...["-1", "abc", "1.5", "0x10", "99999999999", ""].flatMap((value): [string, V1Secret, RegExp][] => [
    [
      `the id ${JSON.stringify(value)}`,
      annotated("cluster-id", value),
      /invalid cluster id ".*": .* 1 to 511 \[id-invalid\]/,
    ],
    [
      `the maximum ${JSON.stringify(value)}`,
      annotated("max-connected-clusters", value),
      /invalid max-connected-clusters ".*": must be 255 or 511 \[maximum-differs\]/,
    ],
  ]),
  ["an invalid name", renamed("C_2"), /invalid cluster name "C_2"/],
  ["a name that is too long", renamed("c".repeat(33)), /invalid cluster name/],
  ["an encrypted key", withData({ "c2.key": encrypted("pkcs8") }), /encrypted/],
  ["an encrypted key in the traditional format", withData({ "c2.key": encrypted("sec1") }), /encrypted/],
  [
    "a key of another pair",
    withData({ "c2.key": clientOf(caOf("c2"), "remote", 3).key }),
    /does not match the client certificate/,
  ],
  [
    "a certificate in place of the key",
    withData({ "c2.key": client.cert }),
    /the key file contains no PEM private key/,
  ],
  ["a key that is not PEM", withData({ "c2.key": "-----BEGIN" }), /the key file contains no PEM private key/],
  ["a certificate that is not valid yet", withData(future()), /not valid before/],
  ["a certificate that has expired", withData(past()), /expired on/],
  ["a chain in the wrong order", withData(backwards()), /not the first certificate in its file/],
  [
    "a certificate of another CA",
    withData({ "c2.crt": clientOf(caOf("c9")).cert, "c2.key": clientOf(caOf("c9")).key }),
    /not signed by/,
  ],
  ["a CA file without a certificate", withData({ "c2-ca.crt": "" }), /CA file contains no certificate/],
  ["a CA that is a key", withData({ "c2-ca.crt": client.key }), /the CA file/],
  ["a config that is not YAML", withData({ c2: `${config}\t: [` }), /the config is not YAML/],
  ["a config without endpoints", withData({ c2: "endpoints: []\n" }), /no endpoints|certificate and key/],
  ["an endpoint without TLS", withData({ c2: config.replace("https:", "http:") }), /expected https:\/\/host:port/],
  [
    "an alias with an invalid address",
    withData({ c2: config.replace("10.0.0.2", "10.0.0.02") }),
    /Cilium rejects the config: .* invalid address/,
  ],
  [
    "paths outside the mounted folder",
    withData({ c2: config.replaceAll("/var/lib/cilium/clustermesh/", "/etc/") }),
    /which is not in a Secret/,
  ],
  ["missing files", { ...good, data: { c2: good.data?.c2 ?? "" } }, /missing from the Secret/],
  [
    "an entry for the cluster's own cache",
    withData({ c2: config.replace("c2.mesh.cilium.io:32379", "clustermesh-apiserver.kube-system.svc:2379") }),
    /own KVStoreMesh cache/,
  ],
];

function bomb(): string {
  const levels = ["a: &a [x,x,x,x,x,x,x,x,x]"];
  for (let i = 1; i < 12; i++) {
    const [from, to] = [String.fromCharCode(96 + i), String.fromCharCode(97 + i)];
    levels.push(`${to}: &${to} [${Array(9).fill(`*${from}`).join(",")}]`);
  }
  return `${levels.join("\n")}\n`;
}

function encrypted(type: "pkcs8" | "sec1"): string {
  const options = { format: "pem", type, cipher: "aes-256-cbc", passphrase: "secret" } as const;
  return createPrivateKey(client.key).export(options).toString();
}

function future() {
  const made = freshClient(caOf("c2"), {
    notBefore: new Date(Date.now() + 5 * DAY),
    notAfter: new Date(Date.now() + 9 * DAY),
  });
  return { "c2.crt": made.cert, "c2.key": made.key };
}

function past() {
  const made = freshClient(caOf("c2"), {
    notBefore: new Date(Date.now() - 9 * DAY),
    notAfter: new Date(Date.now() - DAY),
  });
  return { "c2.crt": made.cert, "c2.key": made.key };
}

function backwards() {
  const { cert, key } = clientOf(intermediateOf("c2"));
  const blocks = cert.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/g) ?? [];
  assert.ok(blocks.length > 1, "a chain");
  return { "c2.crt": [...blocks].reverse().join(""), "c2.key": key };
}

describe("import-secrets with invalid files", () => {
  let sandbox: Sandbox;
  let dir: string;
  const imports = (...args: string[]) =>
    run("import-secrets", ["--context", "c1", ...args], { kubeconfig: sandbox.kubeconfig });
  const writes = () => sandbox.clusters[0]?.api.requests.filter(({ method }) => method !== "GET");

  before(async () => {
    const nodes = [{ name: "n", internalIPs: ["172.18.4.2"] }];
    sandbox = await startSandbox({ clusters: [{ description: { name: "c1", id: 1, version: "1.20.2", nodes } }] });
    dir = await mkdtemp(join(tmpdir(), "bad-input-"));
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  async function refused(paths: string[], expected: RegExp, env: NodeJS.ProcessEnv = {}): Promise<void> {
    const args = ["--context", "c1", ...paths];
    const { code, stdout, stderr } = await run("import-secrets", args, { kubeconfig: sandbox.kubeconfig, env });
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, expected);
    assert.match(stderr, /^error: nothing was written because of \d+ errors?\n$/m);
    assert.doesNotMatch(stderr, /^\s+at |this is a bug/m);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.doesNotMatch(stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    const lines = stderr.split("\n").filter((line) => !line.startsWith("warning") && line !== "nothing was written");
    for (const line of lines) assert.ok(line.length < 700, `a line of ${line.length} characters`);
    assert.doesNotMatch(stderr, /^error: forged/m);
    assert.doesNotMatch(stderr, /[\u2028\u200b\u202e]/);
    assert.deepEqual(writes(), []);
  }

  for (const [i, [title, content, expected]] of table.entries()) {
    test(title, async () => {
      const path = join(dir, `${i}.json`);
      await writeFile(
        path,
        typeof content === "string" || Buffer.isBuffer(content) ? content : JSON.stringify(content),
      );
      await refused([path], expected);
    });
  }

  test("a file of 200 MB", async () => {
    const path = join(dir, "huge.json");
    await writeFile(path, "");
    await truncate(path, 200_000_000);
    await refused([path], /file exceeds 64 MiB/);
  });

  test("small files that are expensive to parse", async () => {
    const many = (most: number, line: (i: number) => string) =>
      Array.from({ length: most }, (_, i) => line(i)).join("");
    const fields = `${config}${many(20_000, (i) => `f${i}: 1\n`)}`;
    const note = { ...good, metadata: { annotations: { note: "x".repeat(60_000_000) } } };
    const table: [content: string, expected: RegExp][] = [
      [JSON.stringify({ kind: "List", apiVersion: "v1", items: Array(125_000).fill(1) }), /more than 1,000 objects/],
      ["---\na: 1\n".repeat(300_000), /too large for YAML \(limits: 6 MB, 250,000 tokens\)/],
      [`{${"}\n{".repeat(2_000_000)}`, /more than 1,000,000 values/],
      [`kind: Secret\ndata:\n${many(40_000, (i) => `  k${i}: eA==\n`)}`, /too large for YAML/],
      [JSON.stringify(note), /more than 2 MiB, which Kubernetes rejects/],
      [JSON.stringify(withData({ c2: fields })), /the config is larger than 64 KiB/],
      [JSON.stringify(withData({ "c2-ca.crt": "-----BEGIN CERTIFICATE-----\n".padEnd(9e6, "A") })), /more than 2 MiB/],
      [`a:\n${many(3_000, (i) => `${" ".repeat(i)}- \n`)}`, /neither JSON nor YAML/],
    ];
    const path = join(dir, "small.yaml");
    const cpuTime = join(dir, "cpu-time");
    for (const [content, expected] of table) {
      await writeFile(path, content);
      const measure = measureCost();
      await refused([path], expected, { NODE_OPTIONS: `--require ${TELL_CPU}`, CPU_TIME: cpuTime });
      const cost = Number(await readFile(cpuTime, "utf8")) / measure;
      assert.ok(cost < 250, `${expected}: ${cost}`);
    }
  });

  test("an empty folder, a dangling link and missing files", async () => {
    const folder = join(dir, "folder");
    await mkdir(folder);
    await refused([folder], /the directory has no/);
    await symlink(join(dir, "nowhere"), join(dir, "link.json"));
    await refused([join(dir, "link.json")], /no such file/);
    await refused([join(dir, "missing.json")], /no such file/);
    await refused([join(dir, "missing", "\u001b[2J.json")], /no such file/);
    await refused(
      [join(dir, "missing\nerror: forged\n.json")],
      /missing\\nerror: forged\\n\.json: no such file or directory/,
    );
  });

  test("a pipe without a writer does not block", { skip: process.platform === "win32" }, async () => {
    const fifo = join(dir, "fifo");
    execFileSync("mkfifo", [fifo]);
    await refused([fifo], /timed out waiting for a writer/);
  });

  test("a socket and a device are rejected", { skip: process.platform === "win32" }, async () => {
    const path = join(dir, "socket");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      await refused([path], /is a socket/);
    } finally {
      server.close();
    }
    await refused(["/dev/zero"], /file exceeds 64 MiB/);
    await refused(["/dev/null"], /empty/);
  });

  test("one invalid file among a thousand is reported in a few lines", async () => {
    const folder = join(dir, "thousand");
    await mkdir(folder);
    const paths = await Promise.all(
      Array.from({ length: 1_000 }, async (_, i) => {
        const path = join(folder, `c${i}.json`);
        await writeFile(path, i === 500 ? "{" : JSON.stringify(writePeerFile({ ...c2, name: `c${i + 2}` })));
        return path;
      }),
    );
    const { code, stderr } = await imports(...paths);
    assert.equal(code, 2);
    assert.match(stderr, /c500\.json: is neither JSON nor YAML/);
    assert.match(stderr, /1?,?\d+ peers exceed the limit of 254 \(max-connected-clusters is 255\)/);
    assert.ok(stderr.split("\n").length < 80, `${stderr.split("\n").length} lines`);
    assert.deepEqual(writes(), []);
  });

  test("CRLF, a byte order mark, a repeated file and a __proto__ key are accepted", async () => {
    const crlf = withData({
      "c2-ca.crt": caOf("c2").cert.replaceAll("\n", "\r\n"),
      "c2.crt": client.cert.replaceAll("\n", "\r\n"),
      "c2.key": client.key.replaceAll("\n", "\r\n"),
    });
    const path = join(dir, "crlf.json");
    await writeFile(
      path,
      `\uFEFF${JSON.stringify(crlf, null, 2).replace('"data": {', '"data": {"__proto__": "AA==",').replaceAll("\n", "\r\n")}`,
    );
    const { code, stderr } = await imports("--dry-run=client", path, path);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /would add c2 \(dry run\)/);
  });
});
