/** Files that are something else are recognized, with one finding and a command that can be pasted. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, test } from "node:test";
import { readPeers } from "../../lib/import/peer-files.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { CALL, FORMS, type Form, good, json, packets, sopsSecret, TOKEN } from "../support/foreign-files.ts";

const dir = mkdtempSync(join(tmpdir(), "foreign files-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function write({ name, content }: Pick<Form, "name" | "content">): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

/** The words of a command, as a shell divides it. */
function wordsOf(command: string): string[] {
  const words = spawnSync("sh", ["-c", `printf '%s\\0' ${command.split(" | ")[0]?.replace(" < ", " ")}`]);
  assert.equal(words.status, 0, command);
  return words.stdout.toString().split("\0").slice(0, -1);
}

function check(findings: Finding[], { title, code, message, remedy }: Form, source: string, file: string): void {
  assert.deepEqual(
    findings.map((one) => [one.code, one.severity, one.source, one.key, one.message]),
    [[code, "error", source, undefined, message]],
    title,
  );
  assert.equal(
    findings[0]?.remedy,
    remedy.replace("FILE", () => file),
    title,
  );
  assert.ok(!JSON.stringify(findings).includes(TOKEN), title);
  assert.ok(!JSON.stringify(findings).includes("c2VjcmV0LWtleQ"), title);
}

for (const one of FORMS) {
  test(`${one.title}: one finding, and a command`, async () => {
    const path = write(one);
    const { peers, findings } = await readPeers([path], { call: CALL });
    assert.deepEqual(peers, []);
    check(findings, one, path, `'${path}'`);
    // The folder's name has a space in it.
    if (one.remedy.includes("FILE")) assert.ok(wordsOf(findings[0]?.remedy ?? "").includes(path), findings[0]?.remedy);
  });
}

test("for standard input the remedy has a placeholder for the file, and the format for sops", async () => {
  for (const one of FORMS) {
    const { findings } = await readPeers(["-"], { stdin: Readable.from([Buffer.from(one.content)]), call: CALL });
    const sops = one.remedy.startsWith("sops ");
    const remedy = findings[0]?.remedy ?? "";
    if (sops)
      assert.match(remedy, /^sops decrypt --input-type (json|yaml|binary) --output-type \1 FILE \| /, one.title);
    check(findings, sops ? { ...one, remedy } : one, "standard input", "FILE");
  }
});

test("a valid file, a Secret with a field named sops, and content that resembles other kinds are read as before", async () => {
  const table: [content: string | Buffer, codes: string[]][] = [
    [json(good), []],
    [json({ ...good, sops: "x" }), []],
    [json({ ...good, metadata: { ...good.metadata, annotations: { note: "{{ .Values.x }} ENC[AES256_GCM,x]" } } }), []],
    [json({ kind: "Application", apiVersion: "app.k8s.io/v1" }), ["not-a-secret"]],
    [json({ kind: "ConfigMap", apiVersion: "v1", metadata: { name: "other" } }), ["not-a-secret"]],
    [json({ clustermesh: "x" }), ["not-a-secret"]],
    [json({ clusters: [], contexts: [] }), ["not-a-secret"]],
    ["a: {b: [}\n", ["unreadable"]],
    // Not OpenPGP: no such version, longer than the file, text.
    [packets("85018c07", 0x200), ["not-a-secret"]],
    [packets("85ffff03", 0x20), ["not-a-secret"]],
    [packets("a30103", 0x20), ["not-a-secret"]],
    [Buffer.from("Ãa: 1\n"), ["not-a-secret"]],
  ];
  for (const [content, codes] of table) {
    const { findings } = await readPeers([write({ name: "like.json", content })]);
    assert.deepEqual(
      findings.map(({ code }) => code),
      codes,
      String(content).slice(0, 60),
    );
  }
});

test("names that a shell or a terminal would trip over are quoted", async () => {
  const names = ["it's.json", "$(x).json", "a;b.json", "tab\there.json", "line\nbreak.json", "é.json", "‮.json"];
  for (const name of names) {
    const path = write({ name, content: json(sopsSecret) });
    const [one] = (await readPeers([path])).findings;
    const ran = spawnSync("bash", ["-c", `sops() { printf '%s\\0' "$@"; }; import-secrets() { cat; }; ${one?.remedy}`]);
    assert.deepEqual(ran.stdout.toString().split("\0").slice(0, -1), ["decrypt", path], one?.remedy);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.doesNotMatch(one?.remedy ?? "", /[\u0000-\u001f\u202e]/);
  }
  const deep = Array.from({ length: 12 }, () => "Abcdefghijklmnopqrstuvwxyz0123456789").join("");
  const path = write({ name: `${deep.slice(0, 200)}.json`, content: json(sopsSecret) });
  assert.equal((await readPeers([path])).findings[0]?.remedy, `sops decrypt '${path}' | import-secrets -`);
});
