/** The members of `sync` from Secrets, as Argo CD, Cluster API and people write them: they are added, changed and removed while it runs. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { serve } from "../support/api-server.ts";
import { argoSecret, kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";
import { argoCdSecrets, clusterApiSecrets, labelledSecrets, type SecretsOf } from "../support/documented-secrets.ts";
import {
  type ListedCluster,
  type MemberMesh,
  startMemberMesh,
  untilConnected,
  untilRenewed,
} from "../support/member-mesh.ts";
import { isAbout, type LoggedEvent, type SyncProcess, startSyncProcess } from "../support/sync-process.ts";

const TIMES = ["--settle=100ms", "--interval=1s"];

interface Source {
  from: string;
  secretsOf: SecretsOf;
  /** How clusters authenticate: Cluster API writes client certificates. */
  credentials: "token" | "certificate";
  /** A Secret that would run a command, and lead to a server, if it were trusted. */
  hostile(server: string, command: string): KubernetesObject;
}

const HOSTILE = "hostile";
const ACCESS = { ca: "", token: "token" };
const execOf = (command: string) => ({
  exec: { apiVersion: "client.authentication.k8s.io/v1", interactiveMode: "Never", command },
});

const SOURCES: Source[] = [
  {
    from: "argocd",
    secretsOf: argoCdSecrets,
    credentials: "token",
    hostile: (server, command) =>
      argoSecret("cluster-hostile", HOSTILE, { server, ...ACCESS }, { execProviderConfig: { command } }),
  },
  {
    from: "cluster-api",
    secretsOf: clusterApiSecrets,
    credentials: "certificate",
    hostile: (server, command) => {
      const kubeconfig = kubeconfigOf({ server, ...ACCESS }, { user: execOf(command) });
      const secret = kubeconfigSecret(`${HOSTILE}-kubeconfig`, kubeconfig, {
        "cluster.x-k8s.io/cluster-name": HOSTILE,
      });
      return { ...secret, type: "cluster.x-k8s.io/secret", data: { value: secret.data.kubeconfig } };
    },
  },
  {
    from: "secrets",
    secretsOf: labelledSecrets,
    credentials: "token",
    hostile: (server, command) =>
      kubeconfigSecret(HOSTILE, kubeconfigOf({ server, ...ACCESS }, { user: execOf(command) })),
  },
];

/** Starts a sync of the clusters in these Secrets, which is ended after the test. */
async function syncSecrets(t: TestContext, { kubeconfig }: MemberMesh, from: string, ...args: string[]) {
  const flags = [`--clusters-from=${from}`, "--clusters-namespace=members", "--yes", ...TIMES, ...args];
  const sync = await startSyncProcess(flags, { kubeconfig });
  t.after(() => sync.close());
  return sync;
}

/** Asserts that nothing is written during some reconciliations of each cluster. */
async function assertUnchanged(sync: SyncProcess, clusters: readonly ListedCluster[], count = 2 * clusters.length) {
  const read = () => clusters.map(({ name, versions }) => `${name} ${versions()}`);
  const before = read();
  await sync.reconciliations(count);
  assert.deepEqual(read(), before);
}

for (const { from, secretsOf, credentials, hostile } of SOURCES) {
  test(`${from}: clusters join, get other credentials and leave; a hostile Secret stops none of them`, async (t) => {
    const mesh = await startMemberMesh(t, 3, credentials);
    const [first, second, third] = mesh.clusters as [ListedCluster, ListedCluster, ListedCluster];
    const put = (cluster: ListedCluster) => mesh.put(secretsOf(cluster.name, cluster.access));
    const decoy = await serve(t, "h2", (_, response) => response.end("{}"));
    put(first);
    put(second);
    const sync = await syncSecrets(t, mesh, from);
    await untilConnected(sync, [first, second]);

    await t.test("joined by adding a Secret", async () => {
      put(third);
      await untilConnected(sync, mesh.clusters);
      await sync.until("cluster3 to join", isAbout("member-joined", "cluster3"));
    });

    await t.test("a hostile Secret is refused", async () => {
      const folder = join(mesh.kubeconfig, "..", "executed");
      mesh.put([hostile(decoy.url, `touch ${folder}`)]);
      const refused = await sync.until("a refusal", isAbout("member-unreachable", HOSTILE));
      assert.match(refused.error, /not permitted in a Secret/);
      await untilRenewed(sync, first, [second, third]);
      assert.equal(decoy.connections(), 0);
      assert.equal(existsSync(folder), false);
    });

    await t.test("credentials that are replaced before they are revoked", async () => {
      const since = sync.position;
      const revoke = second.renewCredentials();
      put(second);
      await sync.eventually("the new credentials to be used", () => second.lastUser() === "user-2");
      revoke();
      await untilRenewed(sync, second, [first, third]);
      await untilRenewed(sync, first, [second, third]);
      const failed = sync.events.slice(since).filter(isAbout("member-unreachable", "cluster2"));
      assert.deepEqual(failed, []);
    });

    await t.test("credentials that are revoked first", async () => {
      const since = sync.position;
      third.renewCredentials()();
      const failed = await sync.until("the refusal", isAbout("member-unreachable", "cluster3"), since);
      assert.match(
        failed.error,
        credentials === "token" ? /rejected the credentials \(401\)/ : /not allowed|forbidden/,
      );
      // The others go on.
      await untilRenewed(sync, first, [second]);
      put(third);
      await sync.until("cluster3 to be reached", isAbout("member-reachable", "cluster3"), since);
      await untilRenewed(sync, third, [first, second]);
      await untilRenewed(sync, second, [first, third]);
    });

    await t.test("without its Secret, a cluster stays a peer of the others", async () => {
      const since = sync.position;
      const before = mesh.clusters.map(({ versions }) => versions());
      mesh.remove(secretsOf("cluster3", third.access));
      await sync.until("cluster3 to leave", isAbout("member-left", "cluster3"), since);
      await assertUnchanged(sync, [first, second]);
      assert.deepEqual(
        mesh.clusters.map(({ versions }) => versions()),
        before,
      );
      put(third);
      await sync.until("cluster3 to join", isAbout("member-joined", "cluster3"), since);
      await untilRenewed(sync, third, [first, second]);
    });
    assert.equal(await sync.stop(), 0);
    assert.equal(sync.output, "");
  });
}

test("--prune-after removes a cluster that left, but not if the list was lost", async (t) => {
  const mesh = await startMemberMesh(t, 5);
  const secretOf = ({ name, access }: ListedCluster) => labelledSecrets(name, access);
  const [first, second, ...others] = mesh.clusters as [ListedCluster, ListedCluster, ...ListedCluster[]];
  mesh.put(mesh.clusters.flatMap(secretOf));
  const sync = await syncSecrets(t, mesh, "secrets", "--prune-after=0.05m");
  await untilConnected(sync, mesh.clusters);

  await t.test("one of five leaves: it is removed from the others, and keeps its own peers", async () => {
    const before = first.versions();
    mesh.remove(secretOf(first));
    const left = await sync.until("cluster1 to leave", isAbout("member-left", "cluster1"));
    assert.equal(left.keptBecause, undefined);
    await untilConnected(sync, [second, ...others]);
    assert.equal(first.versions(), before);
    assert.deepEqual(first.peers(), ["cluster2", "cluster3", "cluster4", "cluster5"]);
  });

  await t.test("it returns", async () => {
    mesh.put(secretOf(first));
    await untilConnected(sync, mesh.clusters);
  });

  await t.test("more than half of them leave, then all: nothing is removed, also after a restart", async () => {
    const since = sync.position;
    const before = mesh.clusters.map(({ versions }) => versions());
    const versions = () => mesh.clusters.map((cluster) => cluster.versions());
    mesh.remove(others.flatMap(secretOf));
    const left = await sync.until("cluster5 to leave", isAbout("member-left", "cluster5"), since);
    assert.match(left.keptBecause, /members left the list at once/);
    await assertUnchanged(sync, [first, second], 8);
    mesh.remove([first, second].flatMap(secretOf));
    await sync.until("cluster1 to leave", isAbout("member-left", "cluster1"), since);
    assert.equal(await sync.stop(), 0);
    mesh.put([first, second].flatMap(secretOf));
    sync.start();
    await assertUnchanged(sync, [first, second], 8);
    assert.deepEqual(versions(), before);
    mesh.put(others.flatMap(secretOf));
    await untilRenewed(sync, first, [second, ...others]);
    await untilRenewed(sync, others[0] as ListedCluster, [first, second]);
  });
});

test("two Secrets for one cluster are one member, also after one of them is gone", async (t) => {
  const mesh = await startMemberMesh(t, 2);
  const [first, second] = mesh.clusters as [ListedCluster, ListedCluster];
  mesh.put([first, second].flatMap(({ name, access }) => labelledSecrets(name, access)));
  const sync = await syncSecrets(t, mesh, "secrets", "--prune-after=0.05m");
  await untilConnected(sync, mesh.clusters);
  const again = labelledSecrets("again", first.access);
  const position = sync.position;
  mesh.put(again);
  await sync.until("the other Secret to be listed", isAbout("member-joined", "again"));
  await assertUnchanged(sync, mesh.clusters);
  mesh.remove(labelledSecrets("cluster1", first.access));
  await sync.until("the first Secret to be gone", isAbout("member-left", "cluster1"));
  await untilRenewed(sync, first, [second]);
  await untilRenewed(sync, second, [first]);
  assert.deepEqual(
    sync.events.slice(position).filter(({ event }) => event === "held"),
    [],
  );
});

for (const [what, twin] of [
  ["name", { name: "cluster2", id: 7 }],
  ["id", { name: "cluster7", id: 2 }],
] as const) {
  test(`two clusters with one ${what} are both held, and the others are connected`, async (t) => {
    const mesh = await startMemberMesh(t, 3);
    const [first, second, third] = mesh.clusters as [ListedCluster, ListedCluster, ListedCluster];
    const other = await mesh.startCluster(twin);
    const secret = labelledSecrets("twin", other.access);
    mesh.put(mesh.clusters.flatMap(({ name, access }) => labelledSecrets(name, access)));
    const sync = await syncSecrets(t, mesh, "secrets");
    await untilConnected(sync, mesh.clusters);
    const since = sync.position;
    mesh.put(secret);
    const isHeld = (target: string) => (event: LoggedEvent) =>
      event.event === "held" && event.target === target && event.reason === "duplicate";
    await sync.until("cluster2 to be held", isHeld("cluster2"), since);
    await sync.until("its twin to be held", isHeld(twin.name), since);
    const before = second.versions();
    await untilRenewed(sync, first, [third]);
    second.renewCertificate();
    await assertUnchanged(sync, mesh.clusters, 8);
    assert.equal(second.versions(), before);
    assert.deepEqual(other.peers(), []);
    assert.deepEqual(third.peers(), ["cluster1", "cluster2"]);

    mesh.remove(secret);
    await sync.until(
      "cluster2 to be released",
      ({ event, target, reason }) => event === "released" && target === "cluster2" && reason === "duplicate",
      since,
    );
    await untilRenewed(sync, first, [second, third]);
    await untilRenewed(sync, second, [first, third]);
  });
}
