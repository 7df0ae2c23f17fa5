/** What `sync` has written itself is not read again, and what others write meanwhile is. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1Secret } from "@kubernetes/client-node";
import { secrets } from "../../lib/kube/api.ts";
import { existingOf } from "../../lib/mesh/member.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { ClusterWatch } from "../../lib/sync/cluster-watch.ts";
import { ConfigHistory } from "../../lib/sync/config-history.ts";
import { readForSync } from "../../lib/sync/read-member.ts";
import type { WrittenVersion } from "../../lib/sync/write-plan.ts";
import { ParseCache } from "../../lib/util/parse-cache.ts";
import { type MemberOptions, startJoinedMesh } from "../support/joined-mesh.ts";
import { waitFor } from "../support/real-process.ts";
import { startSync } from "../support/running-sync.ts";

const NAME = "cilium-clustermesh";

/** The Secret of a connected cluster, and a way to change it as anybody does. */
async function startTarget(t: TestContext, options: MemberOptions = {}) {
  const mesh = await startJoinedMesh(t, [{ version: "1.20.2", ...options }, { version: "1.20.2" }]);
  const { api } = await mesh.connectTo("c1");
  const store = mesh.sandbox.clusters[0]?.api.store ?? assert.fail();
  const write = (change: (secret: V1Secret & KubernetesObject) => void): WrittenVersion => {
    mesh.change<V1Secret & KubernetesObject>("c1", "Secret", NAME, change);
    const { resourceVersion = "" } = store.read("Secret", "kube-system", NAME)?.metadata ?? {};
    return { kind: "Secret", name: NAME, resourceVersion };
  };
  const label = (value: string) =>
    write((secret) => {
      secret.metadata.labels = { ...secret.metadata.labels, changed: value };
    });
  const read = async () => {
    const options = { addresses: 3, resolve: async () => [], cache: new ParseCache(), now: new Date() };
    return (await readForSync(api, "c1", options)).member;
  };
  return { api, write, label, read };
}

test("a watch defers what it sees during a write, and reports what others wrote", async (t) => {
  const { api, label } = await startTarget(t);
  let changes = 0;
  const watch = new ClusterWatch({ api, onChange: () => changes++, onRestart: () => {} });
  t.after(() => watch.close());
  watch.update([{ resource: secrets, name: NAME, namespace: "kube-system", part: "any" }]);
  const seen = async (count: number) => {
    await waitFor("a change", () => changes >= count);
    await sleep(100);
    assert.equal(changes, count);
  };
  await seen(1);

  await watch.write(async () => {
    const ours = label("ours");
    await seen(1);
    return { versions: [ours] };
  });
  await seen(1);
  label("theirs");
  await seen(2);

  const {
    versions: [last],
  } = await watch.write(async () => {
    label("theirs, before");
    const ours = label("ours again");
    await seen(2);
    return { versions: [ours] };
  });
  await seen(3);

  // The event of a write may arrive after its response.
  const next = `${Number(last?.resourceVersion) + 1}`;
  await watch.write(async () => ({ versions: [{ kind: "Secret", name: NAME, resourceVersion: next }] }));
  assert.equal(label("ours, seen later").resourceVersion, next);
  await seen(3);

  const failure = watch.write(async () => {
    label("theirs, during a write that fails");
    await seen(3);
    throw new Error("no answer");
  });
  await assert.rejects(failure, /no answer/);
  await seen(4);
  label("theirs, after it");
  await seen(5);
});

test("a config is as old as our write only if no other client wrote since", async (t) => {
  const { write, read } = await startTarget(t);
  const change = (last: number) =>
    write((secret) => {
      const config = `endpoints:\n- https://172.18.9.${last}:2379\n`;
      secret.data = { ...secret.data, c2: Buffer.from(config).toString("base64") };
    });
  const history = new ConfigHistory();
  change(1);
  history.note("c1", await read());

  history.noteWrite("c1", ["c2"], [change(2)]);
  const written = performance.now();
  await sleep(10);
  history.note("c1", await read());
  assert.ok(history.since("c1", "c2") <= written, "the config is that of our write");

  history.noteWrite("c1", ["c2"], [change(3)]);
  change(4);
  await sleep(10);
  const later = performance.now();
  history.note("c1", await read());
  assert.ok(history.since("c1", "c2") >= later, "the config may be that of somebody else");
});

test("a config is as old as the last change of its URL, its CA, its certificate or its key", async (t) => {
  const { write, read } = await startTarget(t, { kvstoremesh: false });
  const history = new ConfigHistory();
  const note = async () => history.note("c1", await read());
  const replace = (key: string | undefined, change: (text: string) => string) =>
    write((secret) => {
      const text = Buffer.from(secret.data?.[key ?? ""] ?? "", "base64").toString();
      assert.notEqual(change(text), text);
      secret.data = { ...secret.data, [key ?? ""]: Buffer.from(change(text)).toString("base64") };
    });
  const { keys } = existingOf(await read()).agents.entries.get("c2") ?? assert.fail();
  await note();
  const first = history.since("c1", "c2");
  await sleep(10);
  await note();
  assert.equal(history.since("c1", "c2"), first);
  const other = issue(makeCa({ cn: "other" }), { cn: "remote", usage: "client" });
  const changes: [string | undefined, (text: string) => string][] = [
    ["c2", (text) => text.replace(/https:.*/, "https://172.18.9.1:2379")],
    [keys.ca, (text) => text + makeCa({ cn: "another" }).cert],
    [keys.cert, () => other.cert],
    [keys.key, () => other.key],
  ];
  for (const [key, change] of changes) {
    const before = performance.now();
    replace(key, change);
    await note();
    assert.ok(history.since("c1", "c2") >= before, key);
  }
});

test("a target is not read again after a write, and has everything nevertheless", async (t) => {
  const mesh = await startJoinedMesh(t, [{ version: "1.20.2" }, { version: "1.20.2" }]);
  const clusters = await Promise.all(["c1", "c2"].map((name) => mesh.connectTo(name)));
  const sync = await startSync(t, clusters, { settle: 300, recheck: 60_000 });
  const [c1] = mesh.sandbox.clusters.map(({ api }) => api);
  assert.ok(c1);
  // The clusters are connected already.
  await sleep(1_000);
  mesh.rotate("c2");
  await sync.until(() => sync.events.some((one) => one.kind === "written" && one.target === "c1"), "a write");
  await sleep(200);
  c1.requests.length = 0;
  await sleep(1_000);
  const reads = c1.requests.filter(({ path }) => !path.includes("watch="));
  assert.deepEqual(
    reads.map(({ method, path }) => `${method} ${path}`),
    [],
  );
});
