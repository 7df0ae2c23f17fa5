/** Commands that `sync` prints, saves and reports: each can be pasted, whatever the clusters come from. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { CoreV1Event } from "@kubernetes/client-node";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import { emptyState, type SyncState } from "../../lib/sync/state.ts";
import { formatState } from "../../lib/sync/state-text.ts";
import { resolveSecretFlags } from "../../scripts/cli/cluster-secrets.ts";
import { describeCluster } from "../support/cluster.ts";
import { accessOf, kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";
import { pasteCommand, run } from "../support/programs.ts";
import { startStateServer } from "../support/sync-store.ts";

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "sync-remedies-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Two clusters that Secrets describe by other names, of which one has to be restarted to resolve the name of the other. */
async function startMembers(t: TestContext) {
  const old = describeCluster({ name: "old", id: 1, version: "1.18.5" });
  const current = describeCluster({ name: "current", id: 2, version: "1.20.2" });
  const sandbox = await startSandbox({ clusters: [{ description: old }, { description: current }] });
  t.after(() => sandbox.stop());
  const [first] = sandbox.clusters;
  assert.ok(first);
  for (const name of ["old", "current"]) {
    first.api.store.put(kubeconfigSecret(`my-${name}`, kubeconfigOf(accessOf(sandbox, name))));
  }
  return { kubeconfig: sandbox.kubeconfig, store: first.api.store };
}

test("a command for clusters of Secrets has their flags in the log, the state and Events, and connects them", async (t) => {
  const { kubeconfig, store } = await startMembers(t);
  const folder = temporaryFolder(t);
  const options = { cwd: folder, env: { HOME: folder, NO_COLOR: "1" } };
  const secrets = ["--clusters-from=secrets", "--clusters-namespace=members", `--kubeconfig=${kubeconfig}`];
  const sync = (...args: string[]) =>
    run("clustermesh-secrets", ["sync", "--once", "--yes", "--state-file=s.json", ...secrets, ...args], options);
  const flags = `--clusters-from=secrets --clusters-context=old --clusters-namespace=members --kubeconfig=${kubeconfig}`;
  const command = `clustermesh-secrets connect ${flags} my-old my-current`;

  const text = await sync();
  assert.equal(text.code, 3, text.stderr);
  assert.ok(text.stderr.includes(` [restart]; ${command}\n`), text.stderr);
  const json = await sync("--log-format=json");
  const held = json.stderr.split("\n").flatMap((line) => (line.includes('"event":"held"') ? [JSON.parse(line)] : []));
  assert.deepEqual(
    held.map(({ remedy, message }) => [remedy, message.endsWith(`; ${command}`)]),
    [[command, true]],
  );
  const messages = (store.all("Event") as unknown as CoreV1Event[]).map(({ message = "" }) => message);
  // Users of other clusters read Events, which therefore name no path of this machine.
  const published = command.replace(` --kubeconfig=${kubeconfig}`, "");
  assert.ok(
    messages.some((message) => message.endsWith(`[restart]; ${published}`)),
    messages.join("\n"),
  );
  const status = await run("clustermesh-secrets", ["status", "--sync", "--state-file=s.json"], options);
  assert.ok(status.stdout.includes(`\n  ${command}\n`), status.stdout);
  const report = await run("clustermesh-secrets", ["status", "--sync", "--state-file=s.json", "-o", "json"], options);
  assert.equal(JSON.parse(report.stdout).held[0].remedy, command);

  const pasted = await pasteCommand(`${command} --yes`, { folder, kubeconfig: "/nonexistent" });
  assert.equal(pasted.code, 0, pasted.stderr);
  assert.equal((await sync()).code, 0);
});

test("the Secrets are selected without the defaults of the process; no context leads to the cluster of a pod", async (t) => {
  const folder = temporaryFolder(t);
  const env = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443", HOME: folder };
  for (const [file, content] of [
    ["token", "t"],
    ["namespace", "mesh"],
  ] as const)
    writeFileSync(join(folder, file), content);
  const source = { env, serviceAccount: folder };
  const args = { "clusters-from": "secrets" } as Parameters<typeof resolveSecretFlags>[0];
  const named = { ...args, "clusters-namespace": "members" };
  assert.deepEqual(await resolveSecretFlags(args, source), { ...args, "clusters-namespace": "mesh" });
  assert.deepEqual(await resolveSecretFlags(named, source), named);
  const { "clusters-from": _, ...contexts } = args;
  assert.deepEqual(await resolveSecretFlags(contexts as typeof args, source), contexts);

  const kubeconfig = join(folder, "kubeconfig");
  const access = { server: "https://10.0.0.2", ca: "", token: "x" };
  writeFileSync(kubeconfig, kubeconfigOf(access));
  assert.deepEqual(await resolveSecretFlags({ ...named, kubeconfig }, source), {
    ...{ ...named, kubeconfig },
    "clusters-context": "admin@cluster",
  });
  writeFileSync(kubeconfig, kubeconfigOf(access).replaceAll("admin@cluster", "in-cluster"));
  assert.deepEqual(await resolveSecretFlags({ ...named, kubeconfig }, source), {
    ...{ ...named, kubeconfig },
    "clusters-context": "in-cluster",
  });
});

test("status --sync adds the context by which it reads the state of a sync in a pod, and no other flag", async (t) => {
  const { server, kubeconfig } = await startStateServer(t);
  const flags = "--clusters-from=secrets --clusters-namespace=mesh";
  const since = "2026-01-01T00:00:00.000Z";
  const held = (peer: string, remedy: string) => ({
    target: "c1",
    peer,
    reason: "restart" as const,
    since,
    message: peer,
    remedy,
  });
  const outside = `clustermesh-secrets connect --clusters-from=secrets --clusters-context=hub c1 c2`;
  const state: SyncState = {
    ...emptyState("--clusters-from=secrets"),
    members: [{ entry: "c1" }],
    held: [
      held("c2", `clustermesh-secrets connect ${flags} c1 c2`),
      held("c3", `extract-secret ${flags} --context c1`),
      held("c4", outside),
      held("c5", "kubectl --context c1 get pods"),
    ],
  };
  const metadata = { name: "clustermesh-secrets-sync", namespace: "mesh" };
  const data = { "state.json": formatState(state) };
  server.store.put({ apiVersion: "v1", kind: "ConfigMap", metadata, data });
  const args = ["status", "--sync", `--kubeconfig=${kubeconfig}`, "--state-context=a", "--state-namespace=mesh"];
  const added = `--clusters-context=a --kubeconfig=${kubeconfig} ${flags}`;
  const expected = [
    `clustermesh-secrets connect ${added} c1 c2`,
    `extract-secret ${added} --context c1`,
    outside,
    "kubectl --context c1 get pods",
  ];
  const text = await run("clustermesh-secrets", args);
  assert.equal(text.code, 3, text.stderr);
  assert.deepEqual(text.stdout.match(/(?<=^ {2})\S.*/gm), expected);
  const { held: reported } = JSON.parse((await run("clustermesh-secrets", [...args, "-o", "json"])).stdout);
  assert.deepEqual(
    reported.map(({ remedy }: { remedy: string }) => remedy),
    expected,
  );
});
