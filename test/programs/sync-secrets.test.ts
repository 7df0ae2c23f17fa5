/** What `sync` as built logs, stores and serves contains neither keys nor tokens. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import type { FaultyMesh } from "../support/faulty-mesh.ts";
import { run } from "../support/programs.ts";
import { type SyncPair, startPair } from "../support/sync-pair.ts";

/** The tokens and private keys of a mesh, in each form in which a text may contain them, by what they are. */
function listSecrets({ clusters }: FaultyMesh): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name, api, pki, users } of clusters) {
    for (const { token } of users) if (token) found.set(`${name} token ${token}`, token);
    const issuers = Object.entries(pki).map(([part, { key }]) => [part, key] as const);
    const secrets = (api.store.all("Secret") as unknown as V1Secret[]).flatMap(({ metadata, data = {} }) =>
      Object.entries(data).map(([key, value]) => [`${metadata?.name} ${key}`, decode(value)] as const),
    );
    for (const [where, text] of [...issuers, ...secrets]) {
      for (const [, body = ""] of text.matchAll(/PRIVATE KEY-----\s+([^-]+)-----END/g)) {
        // The first line of a short key is the same for all.
        const der = body.replaceAll(/\s/g, "");
        found.set(`${name} ${where} in PEM`, der.slice(40, 80));
        found.set(`${name} ${where} in hex`, Buffer.from(der, "base64").toString("hex").slice(60, 120));
        const lines = body.trim().split("\n");
        // Base64 of a text depends on where it starts.
        for (const shift of [0, 1, 2]) {
          const inner = Buffer.from(`${" ".repeat(shift)}${lines[1] ?? ""}`).toString("base64");
          found.set(`${name} ${where} in base64, shifted by ${shift}`, inner.slice(4, 44));
        }
      }
    }
  }
  return found;
}

const decode = (text: string): string => Buffer.from(text, "base64").toString("utf8");

/** Lets clusters fail in ways whose messages could quote keys and tokens. */
function spoil({ mesh }: SyncPair): void {
  const [first, second] = mesh.clusters;
  assert.ok(first && second);
  const secret = first.api.store.read("Secret", "kube-system", "cilium-clustermesh") as V1Secret | undefined;
  const data = {
    ...secret?.data,
    foreign: toBase64(`endpoints: [\n${second.pki.ca.key}`),
    c2: toBase64(first.pki.remote.key),
  };
  first.api.store.put({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "cilium-clustermesh", namespace: "kube-system" },
    data,
  });
}

const toBase64 = (text: string): string => Buffer.from(text).toString("base64");

function assertClean(texts: Record<string, string>, secrets: Map<string, string>): void {
  assert.ok(secrets.size > 20);
  for (const [where, text] of Object.entries(texts)) {
    assert.notEqual(text, "", where);
    for (const [what, secret] of secrets) assert.ok(!text.includes(secret), `${where} contains the ${what}: ${text}`);
    assert.ok(!text.includes("PRIVATE KEY"), where);
  }
}

describe("the outputs of sync contain no keys", { concurrency: true }, () => {
  test("with the state in a file: JSON log, state, status, metrics and Events", async (t) => {
    const pair = await startPair(t, 3);
    const { mesh, folder } = pair;
    const [first, , third] = mesh.clusters;
    assert.ok(first && third);
    spoil(pair);
    const file = join(folder, "state.json");
    const sync = await pair.start("--all-contexts", `--state-file=${file}`, "--debug");
    await sync.until("a write", ({ event, target }) => event === "written" && target === "c2");
    const secrets = listSecrets(mesh);
    mesh.expireToken(third, "sync");
    third.relay.cut();
    await sync.until("the rejection", ({ event, entry }) => event === "member-unreachable" && entry === "c3");
    const metrics = await (await fetch(`http://${sync.listen}/metrics`)).text();
    assert.equal(await sync.stop(), 0);
    const status = await run("clustermesh-secrets", ["status", "--sync", `--state-file=${file}`, "-o", "json"]);
    const events = mesh.clusters.flatMap(({ api }) => api.store.all("Event"));
    const log = sync.events.map((event) => JSON.stringify(event)).join("\n");
    const state = readFileSync(file, "utf8");
    assertClean({ log, state, metrics, status: status.stdout, events: JSON.stringify(events) }, secrets);
    for (const { time, level, event, message } of sync.events) {
      assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.ok(["info", "warning", "error"].includes(level), level);
      assert.match(event, /^[a-z-]+$/);
      assert.ok(message !== "" && !message.includes("\n"), message);
    }
    const plain = sync.output.split("\n").filter((line) => line !== "" && !/^ *\d+ ms {2}loaded$/.test(line));
    assert.deepEqual(plain, [], "each line is an object");
  });

  test("with the state in a cluster: text log, ConfigMap, Lease and Events", async (t) => {
    const pair = await startPair(t);
    const { mesh, kubeconfig } = pair;
    spoil(pair);
    const flags = ["--state=cluster", "--state-context=c1", "--state-namespace=default", "--debug"];
    const args = ["sync", "--all-contexts", "--once", "--yes", ...flags];
    const { stdout, stderr } = await run("clustermesh-secrets", args, { kubeconfig });
    assert.equal(stdout, "");
    assert.match(stderr, /c1: wrote secret\//);
    const read = (kind: string) => {
      const found = mesh.clusters[0]?.api.store.read(kind, "default", "clustermesh-secrets-sync");
      assert.ok(found, kind);
      return JSON.stringify(found);
    };
    const events = JSON.stringify(mesh.clusters.flatMap(({ api }) => api.store.all("Event")));
    assertClean({ log: stderr, state: read("ConfigMap"), lease: read("Lease"), events }, listSecrets(mesh));
  });
});
