/** Reports of the built programs on certificates that expire soon. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { freshClient } from "../support/material.ts";
import { run } from "../support/programs.ts";
import { peerOf } from "../support/targets.ts";

const inDays = (days: number) => new Date(Date.now() + days * 86_400_000 + 3_600_000);
const date = (days: number) => inDays(days).toISOString().slice(0, 10);

describe("a CA that expires in 20 days", () => {
  let dir: string;
  const inspect = (...args: string[]) => run("clustermesh-secrets", ["inspect", "c2.json", ...args], { cwd: dir });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "expiry-"));
    const ca = makeCa({ cn: "c2 CA", notAfter: inDays(20) });
    const { peer } = peerOf("c2", 2, { ca: { pem: ca.cert }, client: freshClient(ca, { notAfter: inDays(400) }) });
    await writeFile(join(dir, "c2.json"), JSON.stringify(writePeerFile(peer)));
    await writeFile(join(dir, "empty.json"), "");
  });
  after(async () => {
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("inspect warns with the date, the remaining days and a remedy", async () => {
    const { code, stdout } = await inspect();
    assert.equal(code, 0, stdout);
    assert.ok(stdout.includes(`CN=c2 CA, EC prime256v1, until ${date(20)} (20 days)`), stdout);
    assert.ok(stdout.includes(`the CA CN=c2 CA expires in 20 days, on ${date(20)} [ca-expires]`), stdout);
    assert.ok(stdout.includes("clustermesh-secrets rotate c2 --trust NEW-CA.crt"), stdout);
    assert.equal((await inspect("--fail-on=warning")).code, 3);
  });

  test("--expires-within sets the threshold", async () => {
    assert.equal((await inspect("--fail-on=warning", "--expires-within=20d")).code, 0);
    assert.match((await inspect("--expires-within=500d")).stdout, /\[certificate-expires\]/);
    for (const program of ["inspect", "verify", "status"]) {
      const { code, stderr } = await run("clustermesh-secrets", [program, "c2.json", "--expires-within=30"], {
        cwd: dir,
      });
      assert.deepEqual(
        [code, stderr],
        [2, 'error: invalid duration "30" for --expires-within (examples: 30d, 36h, 90m)\n'],
        program,
      );
    }
  });

  test("JSON contains dates and remaining days", async () => {
    const { stdout } = await inspect("-o", "json");
    const [{ ca, client, findings }] = JSON.parse(stdout).peers;
    assert.deepEqual([ca[0].expires, ca[0].daysLeft, client.expires, client.daysLeft], [date(20), 20, date(400), 400]);
    assert.match(ca[0].validFrom, /^\d{4}-\d\d-\d\d$/);
    assert.deepEqual([findings[0].certificate.expires, findings[0].certificate.daysLeft], [date(20), 20]);
  });

  test("the summary counts invalid files apart from peers that would connect", async () => {
    const both = await inspect("empty.json");
    assert.equal(both.code, 2);
    assert.match(both.stdout, /\nerror: 1 file could not be inspected; 1 other peer would connect\n$/);
    const alone = await run("clustermesh-secrets", ["inspect", "empty.json"], { cwd: dir });
    assert.equal(alone.code, 2);
    assert.match(alone.stdout, /\nerror: 1 file could not be inspected\n$/);
    assert.doesNotMatch(both.stdout + alone.stdout, /\d of \d would connect/);
  });
});

describe("a server certificate that expires in 20 days", () => {
  let sandbox: Sandbox;
  before(async () => {
    const clusters = defaultClusters().map((one, i) =>
      i === 1 ? { ...one, pki: { key: "ec" as const, notAfter: inDays(20) } } : one,
    );
    sandbox = await startSandbox({ clusters });
  });
  after(async () => {
    await sandbox?.stop();
  });
  const status = (...args: string[]) =>
    run("clustermesh-secrets", ["status", "cluster2", ...args], { kubeconfig: sandbox.kubeconfig });

  test("status warns with the date and the remaining days", async () => {
    const { stdout } = await status("-o", "wide");
    const message = `cluster2: the server certificate expires in 20 days, on ${date(20)} [server-certificate-expires]`;
    assert.ok(stdout.includes(message), stdout);
    assert.match(stdout, /^ {2}.*clustermesh-secrets rotate cluster2 --all-contexts$/m);
    assert.ok(stdout.includes(`server until ${date(20)} (20 days)`), stdout);
    const { clusters } = JSON.parse((await status("-o", "json")).stdout);
    const server = clusters[0].certificates.find(({ use }: { use: string }) => use === "server");
    assert.deepEqual([server.expires, server.daysLeft], [date(20), 20]);
    assert.doesNotMatch((await status("--expires-within=20d")).stdout, /expires/);
  });
});
