/** The list of the members of `sync`: contexts in a file, and Secrets that cannot be read for a while. */
import assert from "node:assert/strict";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { labelledSecrets, type MemberAccess } from "../support/documented-secrets.ts";
import { type ListedCluster, startMemberMesh, untilConnected, untilRenewed } from "../support/member-mesh.ts";
import { removeFolder, temporaryFolder } from "../support/real-process.ts";
import { isAbout, startSyncProcess } from "../support/sync-process.ts";

const FLAGS = ["--yes", "--settle=100ms", "--interval=1s", "--prune-after=0.02m"];

test("while the Secrets cannot be listed, nothing is removed, and clusters are kept connected", async (t) => {
  const mesh = await startMemberMesh(t, 3);
  const [first, second, third] = mesh.clusters as [ListedCluster, ListedCluster, ListedCluster];
  const secrets = mesh.clusters.flatMap(({ name, access }) => labelledSecrets(name, access));
  mesh.put(secrets);
  const { kubeconfig } = mesh;
  const flags = ["--clusters-from=secrets", "--clusters-namespace=members", ...FLAGS];
  const sync = await startSyncProcess(flags, { kubeconfig });
  t.after(() => sync.close());
  await untilConnected(sync, mesh.clusters);
  mesh.failManagement(403);
  mesh.remove(secrets);
  await sync.until("the failure", ({ event }) => event === "list-failed");
  await untilRenewed(sync, first, [second, third]);
  await sync.reconciliations(9);
  await untilRenewed(sync, second, [first, third]);
  mesh.put(secrets);
  mesh.failManagement(undefined);
  await sync.reconciliations(9);
  await untilRenewed(sync, third, [first, second]);
  const changes = sync.events.filter(({ event }) => event === "member-left" || event === "member-joined");
  assert.deepEqual(changes, []);
  assert.equal(await sync.stop(), 0);
});

/** A kubeconfig whose contexts have the names of the clusters. */
function kubeconfigOf(clusters: readonly { name: string; access: MemberAccess }[]): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": clusters[0]?.name,
    contexts: clusters.map(({ name }) => ({ name, context: { cluster: name, user: name } })),
    clusters: clusters.map(({ name, access: { server, ca } }) => ({
      name,
      cluster: { server, "certificate-authority-data": ca },
    })),
    users: clusters.map(({ name, access }) => ({ name, user: access.credentials })),
  });
}

/** Replaces a file as editors do. */
function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function makeFolder(t: TestContext): string {
  const folder = temporaryFolder("sync-list");
  t.after(() => removeFolder(folder));
  return folder;
}

test("contexts of a file are added and removed, and the kubeconfig is read again", async (t) => {
  const mesh = await startMemberMesh(t, 3);
  const [first, second, third] = mesh.clusters as [ListedCluster, ListedCluster, ListedCluster];
  const folder = makeFolder(t);
  const [kubeconfig, file] = [join(folder, "kubeconfig"), join(folder, "mesh.txt")];
  const writeKubeconfig = () => replaceFile(kubeconfig, kubeconfigOf(mesh.clusters));
  writeKubeconfig();
  writeFileSync(file, "cluster1\ncluster2\n");
  const sync = await startSyncProcess([`--contexts-file=${file}`, ...FLAGS], { kubeconfig });
  t.after(() => sync.close());
  await untilConnected(sync, [first, second]);

  await t.test("a context is added", async () => {
    replaceFile(file, "# new:\ncluster3\ncluster1\ncluster2\n");
    await untilConnected(sync, mesh.clusters);
  });

  await t.test("credentials in the kubeconfig are replaced", async () => {
    const since = sync.position;
    const revoke = second.renewCredentials();
    writeKubeconfig();
    await sync.eventually("the new credentials to be used", () => second.lastUser() === "user-2");
    revoke();
    await untilRenewed(sync, second, [first, third]);
    await untilRenewed(sync, first, [second, third]);
    assert.deepEqual(sync.events.slice(since).filter(isAbout("member-unreachable", "cluster2")), []);
  });

  await t.test("a context that does not exist changes nothing", async () => {
    const since = sync.position;
    replaceFile(file, "cluster1\ncluster2\nclutser3\n");
    const failed = await sync.until("the failure", ({ event }) => event === "list-failed", since);
    assert.match(failed.error, /clutser3/);
    await untilRenewed(sync, third, [first, second]);
    replaceFile(file, readFileSync(file, "utf8").replace("clutser3", "cluster3"));
    await sync.reconciliations(6);
    assert.deepEqual(sync.events.slice(since).filter(isAbout("member-left", "cluster3")), []);
  });

  await t.test("a context is removed: after --prune-after, its cluster is removed from the others", async () => {
    replaceFile(file, "cluster1\ncluster2\n");
    await sync.until("cluster3 to leave", isAbout("member-left", "cluster3"));
    await untilConnected(sync, [first, second]);
    assert.deepEqual(third.peers(), ["cluster1", "cluster2"]);
  });
  assert.equal(await sync.stop(), 0);
});
