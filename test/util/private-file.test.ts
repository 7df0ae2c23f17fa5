import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { replaceFile, writeOrdinaryFile, writePrivateFile, writePublicFile } from "../../lib/util/private-file.ts";

const modeOf = (path: string) => statSync(path).mode & 0o777;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "private-file-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test("a file is never readable by others, not even before it has its name", async (t) => {
  const dir = folder(t);
  const path = join(dir, "key.json");
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  let temporary = "";
  await replaceFile(path, "key", async (given) => {
    temporary = given;
    assert.deepEqual([modeOf(given), readFileSync(given, "utf8")], [0o600, "key"]);
  });
  assert.notEqual(temporary, path);
  assert.deepEqual([modeOf(path), readFileSync(path, "utf8")], [0o600, "key"]);
  assert.deepEqual(readdirSync(dir), ["key.json"]);
});

test("a file that others can read is replaced by one that only its owner can read", async (t) => {
  const path = join(folder(t), "key.json");
  writeFileSync(path, "old");
  chmodSync(path, 0o666);
  const { ino } = statSync(path);
  await writePrivateFile(path, "key");
  assert.deepEqual([modeOf(path), readFileSync(path, "utf8")], [0o600, "key"]);
  assert.notEqual(statSync(path).ino, ino, "whoever has the old file open does not get the key");
});

test("a failed write leaves the old file and no temporary file", async (t) => {
  const dir = folder(t);
  const path = join(dir, "key.json");
  writeFileSync(path, "old");
  await assert.rejects(
    replaceFile(path, "key", () => Promise.reject(new Error("stopped"))),
    /stopped/,
  );
  assert.equal(readFileSync(path, "utf8"), "old");
  assert.deepEqual(readdirSync(dir), ["key.json"]);
});

test("an ordinary file keeps its mode, and a new one has that of the umask; a public one has 0644", async (t) => {
  const dir = folder(t);
  const umask = process.umask(0o027);
  t.after(() => process.umask(umask));
  const [existing, created, shared] = ["existing", "created", "shared"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const mode of [0o600, 0o664]) {
    writeFileSync(existing, "old");
    chmodSync(existing, mode);
    await writeOrdinaryFile(existing, "new");
    assert.deepEqual([modeOf(existing), readFileSync(existing, "utf8")], [mode, "new"]);
  }
  await writeOrdinaryFile(created, "new");
  assert.equal(modeOf(created), 0o640);
  await writePublicFile(shared, "new");
  assert.equal(modeOf(shared), 0o644);
});
