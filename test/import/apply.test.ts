import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1DaemonSet, V1Secret } from "@kubernetes/client-node";
import { applyImport } from "../../lib/import/apply.ts";
import type { PlanOptions } from "../../lib/import/plan/plan.ts";
import { type PreparedImport, prepareImport, removalsOf } from "../../lib/import/prepare.ts";
import { readTarget, readTargets } from "../../lib/import/read-target.ts";
import { ApiError, daemonSets, secrets } from "../../lib/kube/api.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { encode, type KubernetesObject } from "../../lib/sandbox/object.ts";
import { UserError } from "../../lib/util/errors.ts";
import { describeCluster, startCluster, type TestCluster } from "../support/cluster.ts";
import { caOf, clientOf } from "../support/material.ts";
import { type ImportRunOptions, runImport } from "../support/run-import.ts";
import { OPTIONS, peerOf } from "../support/targets.ts";

const NAMESPACE = "kube-system";
const NAME = "cilium-clustermesh";

/** Imports into the current state of a cluster. */
async function importInto(
  { api }: TestCluster,
  peers: SourcedPeer[],
  {
    restarts = "all",
    prune = false,
    ...options
  }: ImportRunOptions & Pick<Partial<PlanOptions>, "restarts" | "prune"> = {},
) {
  const { target, warnings } = await readTarget(api, "target");
  assert.deepEqual(warnings, []);
  return runImport([{ api, target, peers }], { plan: { ...OPTIONS, restarts, prune }, ...options });
}

function start(t: Parameters<typeof startCluster>[0], version = "1.20") {
  return startCluster(t, describeCluster({ version, kvstoremesh: false, authMode: "legacy" }));
}

function stored(cluster: TestCluster): V1Secret {
  return cluster.server.store.read("Secret", NAMESPACE, NAME) as unknown as V1Secret;
}

/** Runs another client's change just before the first request with this method. */
function justBefore(cluster: TestCluster, method: string, act: () => void): void {
  let done = false;
  cluster.server.onRequest = (request) => {
    if (!done && request.method === method) {
      done = true;
      act();
    }
    return undefined;
  };
}

function foreignSecret(): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: NAME, namespace: NAMESPACE },
    type: "Opaque",
    data: encode({ theirs: "stays" }),
  } as KubernetesObject;
}

test("changes of another client between read and write are kept: the target is read and planned again", async (t) => {
  const cluster = await start(t);
  cluster.server.store.put(foreignSecret());
  justBefore(cluster, "PATCH", () =>
    cluster.change("Secret", NAME, (object) => {
      (object as { data?: Record<string, string> }).data = encode({ theirs: "changed" });
    }),
  );
  const { reports, changes } = await importInto(cluster, [peerOf("c9", 9)]);
  const [report] = reports ?? [];
  assert.equal(report?.state, "done", report?.state === "failed" ? report.error.message : "");
  assert.equal(report?.writes, 1);
  assert.equal(report?.state === "done" && report.plan.outcomes.get("c9"), "added");
  assert.deepEqual(changes, [`merge-patch Secret ${NAME}`, `merge-patch Secret ${NAME}`]);
  assert.equal(Buffer.from(stored(cluster).data?.theirs ?? "", "base64").toString(), "changed");
  assert.equal(stored(cluster).data?.c9 !== undefined, true);
});

test("two concurrent creates are merged", async (t) => {
  const cluster = await start(t);
  justBefore(cluster, "POST", () => cluster.server.store.put(foreignSecret()));
  const { reports, changes } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.equal(reports?.[0]?.state, "done");
  assert.deepEqual(changes, [`create Secret ${NAME}`, `merge-patch Secret ${NAME}`]);
  assert.deepEqual(Object.keys(stored(cluster).data ?? {}).includes("theirs"), true);
});

test("with KVStoreMesh, any interleaving of an import and a prune leaves a peer in both Secrets or in neither", async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const cluster = await startCluster(t, describeCluster({ version: "1.20", kvstoremesh: true, authMode: "legacy" }));
    await importInto(cluster, [peerOf("c8", 8)]);
    if (seed % 2) await importInto(cluster, [peerOf("c7", 7)]);
    inRandomOrder(cluster, seed);
    const runs = await Promise.all([
      importInto(cluster, [peerOf("c9", 9)]),
      importInto(cluster, [peerOf("c8", 8)], { prune: true }),
    ]);
    const [agents, fetched] = [NAME, "cilium-kvstoremesh"].map((name) => {
      const { data = {} } = cluster.server.store.read("Secret", NAMESPACE, name) as unknown as V1Secret;
      return ["c7", "c8", "c9"].filter((peer) => data[peer] !== undefined);
    });
    const states = runs.map(({ reports }) => reports?.[0]?.state);
    assert.equal(states[0], "done", `seed ${seed}`);
    assert.equal(agents?.includes("c8"), true, `seed ${seed}`);
    // A prune that finds an additional peer to remove is refused; if the prune is first, c7 is removed.
    const left = states[1] === "failed" ? fetched?.filter((peer) => peer !== "c7" || agents?.includes(peer)) : fetched;
    assert.deepEqual(agents, left, `seed ${seed}`);
  }
});

/** Holds the requests for the two Secrets, and releases them one at a time. */
function inRandomOrder(cluster: TestCluster, seed: number): void {
  const held: (() => void)[] = [];
  let [state, timer] = [seed, undefined as NodeJS.Timeout | undefined];
  const release = () => {
    state = (state * 48_271) % 2_147_483_647;
    held.splice(state % held.length, 1)[0]?.();
    if (held.length > 0) timer = setTimeout(release, 5);
  };
  cluster.server.onRequest = ({ path }) =>
    /\/secrets(\?|\/cilium-)/.test(path)
      ? new Promise((resolve) => {
          held.push(() => resolve(undefined));
          clearTimeout(timer);
          timer = setTimeout(release, 5);
        })
      : undefined;
}

test("a workload whose host aliases changed is read again, and both changes are kept", async (t) => {
  const cluster = await start(t, "1.18");
  justBefore(cluster, "PATCH", () =>
    cluster.change("DaemonSet", "cilium", (object) => {
      const { spec } = object as unknown as V1DaemonSet;
      if (spec?.template.spec) spec.template.spec.hostAliases = [{ ip: "192.0.2.1", hostnames: ["theirs.example"] }];
    }),
  );
  const { reports } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.equal(reports?.[0]?.state, "done");
  const names = (cluster.server.store.read("DaemonSet", NAMESPACE, "cilium") as unknown as V1DaemonSet).spec?.template
    .spec?.hostAliases;
  assert.deepEqual(
    names?.map(({ hostnames }) => hostnames),
    [["theirs.example"], ["c9.mesh.cilium.io"]],
  );
});

test("a failed write stops its target, and the report counts the earlier writes", async (t) => {
  const cluster = await start(t, "1.18");
  cluster.server.onRequest = ({ method, path }) =>
    method === "POST" && path.includes("/secrets")
      ? { status: 422, body: { kind: "Status", code: 422, reason: "Invalid", message: "no" } }
      : undefined;
  const { reports } = await importInto(cluster, [peerOf("c9", 9)]);
  const [report] = reports ?? [];
  assert.equal(report?.state, "failed");
  assert.equal(report?.state === "failed" && report.error instanceof ApiError, true);
  assert.equal(report?.writes, 1, "the workload's aliases are written before the Secret");
});

test("a finding of severity error in the files or in the plan writes nothing", async (t) => {
  const bad: Finding = { code: "unreadable", severity: "error", source: "a.json", message: "no such file" };
  for (const [peers, findings, code] of [
    [[peerOf("c9", 9)], [bad], "unreadable"],
    [[peerOf("c9", 2)], [], "id-of-target"],
  ] as [SourcedPeer[], Finding[], string][]) {
    const cluster = await start(t);
    const { reports, refused, changes } = await importInto(cluster, peers, { findings });
    assert.equal(reports, undefined);
    assert.deepEqual(
      refused.map((one) => one.code),
      [code],
    );
    assert.deepEqual(changes, []);
    assert.deepEqual(
      cluster.server.requests.filter(({ method }) => method !== "GET"),
      [],
    );
  }
});

test("agents are restarted only if requested or confirmed", async (t) => {
  for (const restarts of [false, true]) {
    const cluster = await start(t, "1.18");
    const { prepared, reports, changes } = await importInto(cluster, [peerOf("c9", 9)], {
      restarts: "deployments",
      proposeAgents: true,
      confirm: (one) => (restarts ? one.withAgents : one),
    });
    assert.deepEqual(removalsOf(prepared), { peers: false, users: false });
    assert.deepEqual(
      prepared.withAgents?.targets.map(({ source }) => source),
      ["target"],
    );
    assert.equal(changes.includes("json-patch DaemonSet cilium"), restarts);
    const [report] = reports ?? [];
    assert.equal(report?.state === "done" && report.plan.missing.length, restarts ? 0 : 1);
  }
});

test("peers held back until an agent restart are checked when the restart is allowed", async (t) => {
  const cluster = await start(t, "1.18");
  assert.ok((await importInto(cluster, [peerOf("c9", 9)])).reports);
  own(cluster);
  const hostname = "c9.other.example";
  const moved = peerOf("c9", 9, {
    endpoints: [`https://${hostname}:2379`],
    hostAliases: [{ hostname, ips: ["10.0.0.9"] }],
  });
  const { refused, changes } = await importInto(cluster, [moved], {
    restarts: "deployments",
    proposeAgents: true,
    confirm: ({ withAgents }) => withAgents,
  });
  assert.deepEqual(
    refused.map(({ code }) => code),
    ["owned-by-other"],
  );
  assert.deepEqual(changes, []);
});

test("pruning requires confirmation to revoke a user", async (t) => {
  const cluster = await startCluster(
    t,
    describeCluster({ version: "1.20", kvstoremesh: false, authMode: "migration" }),
  );
  assert.ok((await importInto(cluster, [peerOf("c8", 8), peerOf("c9", 9)])).reports);
  cluster.change("Secret", NAME, (object) => {
    delete (object as { data?: Record<string, string> }).data?.c8;
  });
  const confirm = (answer: boolean) => (prepared: PreparedImport) => {
    assert.deepEqual(removalsOf(prepared), { peers: false, users: true });
    return answer ? prepared : undefined;
  };
  const declined = await importInto(cluster, [peerOf("c9", 9)], { prune: true, confirm: confirm(false) });
  assert.deepEqual([declined.reports, declined.changes], [undefined, []]);
  const done = await importInto(cluster, [peerOf("c9", 9)], { prune: true, confirm: confirm(true) });
  assert.equal(done.changes.at(-1), "merge-patch ConfigMap clustermesh-remote-users");
});

/** Marks the config Secret as Helm's. */
function own(cluster: TestCluster): void {
  cluster.change("Secret", NAME, ({ metadata }) => {
    metadata.labels = { "app.kubernetes.io/managed-by": "Helm" };
    metadata.annotations = { ...metadata.annotations, "meta.helm.sh/release-name": "cilium" };
  });
}

/** Changes of another client between the two steps, and the resulting refusal. */
const MEANWHILE: [what: string, options: Partial<PlanOptions>, act: (cluster: TestCluster) => void, RegExp][] = [
  [
    "a peer that would be removed",
    { prune: true },
    (cluster) =>
      cluster.change("Secret", NAME, (object) => {
        const { data = {} } = object as unknown as V1Secret;
        Object.assign(data, { c7: data.c9 });
      }),
    /^the target changed since it was read, and the import would now also remove c7\n {2}review the changes and rerun$/,
  ],
  [
    "a user that would be revoked",
    { prune: true },
    (cluster) =>
      cluster.change("ConfigMap", "clustermesh-remote-users", (object) => {
        object.metadata.annotations = { "clustermesh-secrets/users": "c7,c9" };
        Object.assign(object, {
          data: { "users.yaml": "users:\n- {name: remote-c7, role: remote}\n- {name: remote-c9, role: remote}\n" },
        });
      }),
    /^the target changed since it was read, and the import would now also revoke remote-c7\n {2}review the changes and rerun$/,
  ],
  [
    "a workload that would be restarted",
    { restarts: "all" },
    (cluster) =>
      cluster.change("DaemonSet", "cilium", (object) => {
        delete (object as unknown as V1DaemonSet).spec?.template.spec?.hostAliases;
      }),
    /^the target changed since it was read, and the import would now also restart daemonset\/cilium\n {2}review the changes and rerun$/,
  ],
  [
    "an owner that it would be taken from",
    { takeOwnership: true },
    own,
    /^the target changed since it was read, and the import would now also take over secret\/cilium-clustermesh from Helm release cilium\n {2}review the changes and rerun$/,
  ],
];
for (const [what, options, act, message] of MEANWHILE) {
  for (const how of ["a conflict", "time"]) {
    test(`a new plan with additional disruptions is refused, after ${how}: ${what}`, async (t) => {
      const cluster = await startCluster(
        t,
        describeCluster({ version: "1.18", kvstoremesh: false, authMode: "migration" }),
      );
      await importInto(cluster, [peerOf("c9", 9)]);
      const before = structuredClone(stored(cluster).data);
      const renewed = peerOf("c9", 9, { client: clientOf(caOf("c9"), "remote", 1) });
      const { reports } = await importInto(cluster, [renewed], {
        plan: { ...OPTIONS, ...options },
        confirm: (prepared) => {
          act(cluster);
          // After any change, the Secret has another version.
          cluster.change("Secret", NAME, () => {});
          return how === "time" ? { ...prepared, preparedAt: prepared.preparedAt - 11_000 } : prepared;
        },
      });
      const [report] = reports ?? [];
      assert.ok(report?.state === "failed", JSON.stringify(report));
      assert.equal(report.error.exitCode, 2);
      assert.match(report.error.message, message);
      assert.equal(report.writes, 0);
      assert.equal(stored(cluster).data?.c9, before?.c9);
    });
  }
}

test("an import prepared more than 10 s ago is planned again before the first write", async (t) => {
  const readsAfter = async (age: number) => {
    const cluster = await start(t);
    let before = 0;
    const { reports } = await importInto(cluster, [peerOf("c9", 9)], {
      confirm: (prepared) => {
        before = cluster.server.requests.length;
        return { ...prepared, preparedAt: Date.now() - age };
      },
    });
    assert.equal(reports?.[0]?.state, "done");
    return cluster.server.requests.slice(before).map(({ method }) => method);
  };
  assert.deepEqual(await readsAfter(0), ["POST"]);
  assert.deepEqual(new Set((await readsAfter(11_000)).slice(0, -1)), new Set(["GET"]));
});

test("a change is reported before it is made, and made when the next event is requested", async (t) => {
  const cluster = await start(t);
  const { target } = await readTarget(cluster.api, "target");
  const prepared = await prepareImport([{ api: cluster.api, target, peers: [peerOf("c9", 9)] }], {
    plan: OPTIONS,
    resolve: async () => [],
  });
  const events = applyImport(prepared);
  const { value: first } = await events.next();
  assert.equal(first?.kind, "change");
  assert.equal(cluster.server.store.read("Secret", NAMESPACE, NAME), undefined);
  const { value: second } = await events.next();
  assert.equal(second?.kind, "written");
  assert.notEqual(cluster.server.store.read("Secret", NAMESPACE, NAME), undefined);
  const { value: third } = await events.next();
  assert.equal(third?.kind === "report" && third.report.writes, 1);
  assert.equal((await events.next()).done, true);
});

test("an unreadable target does not affect others, and two contexts of one cluster are one target", async (t) => {
  const cluster = await start(t);
  const gone = {
    source: "gone",
    get api(): never {
      throw new UserError("there is no way", 2);
    },
  };
  const { api } = cluster;
  const read = await readTargets([{ source: "one", api }, gone, { source: "another", api }], {});
  assert.deepEqual(
    read.targets.map(({ target }) => target.source),
    ["one"],
  );
  assert.deepEqual(
    read.failed.map(({ source, error }) => [source, error.message]),
    [["gone", "there is no way"]],
  );
  assert.deepEqual(
    read.findings.map(({ code, severity, source, message }) => [code, severity, source, message]),
    [["same-cluster", "warning", "another", "skipped: same cluster as context one"]],
  );
});

test("the API's typed writes carry our field manager", async (t) => {
  const cluster = await start(t);
  await cluster.api.create(secrets, NAMESPACE, { metadata: { name: "x" } }, { dryRun: true });
  await cluster.api.jsonPatch(daemonSets, NAMESPACE, "cilium", [], { dryRun: true });
  const queries = cluster.server.requests.filter(({ method }) => method !== "GET").map(({ path }) => path);
  for (const path of queries) assert.match(path, /fieldManager=clustermesh-secrets&dryRun=All/);
  assert.equal(queries.length, 2);
});
