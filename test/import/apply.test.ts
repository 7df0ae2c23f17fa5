import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1DaemonSet, V1Secret } from "@kubernetes/client-node";
import { importPeers, type TargetSource } from "../../lib/import/import.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import { ApiError, daemonSets, type KubernetesApi, secrets } from "../../lib/kube/api.ts";
import { openCluster } from "../../lib/kube/open.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { encode, type KubernetesObject } from "../../lib/sandbox/object.ts";
import { UserError } from "../../lib/util/errors.ts";
import { describe, type SandboxedCluster, startCluster } from "../support/cluster.ts";
import { OPTIONS, peerOf } from "../support/targets.ts";

const NAMESPACE = "kube-system";
const NAME = "cilium-clustermesh";

/** Imports, and gives what became of it; every warning fails. */
async function importInto(
  cluster: SandboxedCluster,
  peers: SourcedPeer[],
  options: {
    restarts?: "none" | "deployments" | "all";
    may?: boolean;
    findings?: Finding[];
    prune?: boolean;
    drop?: boolean;
    api?: KubernetesApi;
  } = {},
) {
  const asked: { removes: boolean; withAgents: string[] | undefined }[] = [];
  const announced: string[] = [];
  const { restarts = "all", may, findings = [], prune = false, drop, api = cluster.api } = options;
  const result = await importPeers(
    [
      {
        source: "target",
        open: () => api,
        read: (api) => readTarget(api, "target", { warn: (line) => assert.fail(line) }),
      },
    ],
    async () => ({ peers, findings }),
    {
      plan: { ...OPTIONS, restarts, prune },
      endpoints: new Map(),
      resolve: async () => [],
      dryRun: "none",
      warn: () => {},
      announce: (_, { verb, kind, name }) => announced.push(`${verb} ${kind} ${name}`),
      proposeAgents: may !== undefined,
      confirm: async ({ removes, withAgents }) => {
        asked.push({ removes, withAgents: withAgents?.map(({ source }) => source) });
        if (removes && drop === false) return "abort";
        return may ? "restart-agents" : "write";
      },
    },
  );
  return { result, asked, announced };
}

function start(t: Parameters<typeof startCluster>[0], version = "1.20") {
  return startCluster(t, describe({ version, kvstoremesh: false, authMode: "legacy" }));
}

/** An import closes what it was given. */
async function reopened({ kubeconfig }: SandboxedCluster): Promise<KubernetesApi> {
  return (await openCluster({ kubeconfig })).api;
}

function stored(cluster: SandboxedCluster): V1Secret {
  return cluster.server.store.read("Secret", NAMESPACE, NAME) as unknown as V1Secret;
}

/** Lets somebody else act just before the first request of this method. */
function justBefore(cluster: SandboxedCluster, method: string, act: () => void): void {
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

test("what another writer did between reading and writing stays: the target is read and planned again", async (t) => {
  const cluster = await start(t);
  cluster.server.store.put(foreignSecret());
  justBefore(cluster, "PATCH", () =>
    cluster.change("Secret", NAME, (object) => {
      (object as { data?: Record<string, string> }).data = encode({ theirs: "changed" });
    }),
  );
  const { result, announced } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.ok("reports" in result);
  const [report] = result.reports;
  assert.equal(report?.state, "done", report?.state === "failed" ? report.error.message : "");
  assert.equal(report?.writes, 1);
  assert.equal(report?.state === "done" && report.plan.outcomes.get("c9"), "added");
  assert.deepEqual(announced, [`merge-patch Secret ${NAME}`, `merge-patch Secret ${NAME}`]);
  assert.equal(Buffer.from(stored(cluster).data?.theirs ?? "", "base64").toString(), "changed");
  assert.equal(stored(cluster).data?.c9 !== undefined, true);
});

test("a race of two creates ends in a merge", async (t) => {
  const cluster = await start(t);
  justBefore(cluster, "POST", () => cluster.server.store.put(foreignSecret()));
  const { result, announced } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.equal("reports" in result && result.reports[0]?.state, "done");
  assert.deepEqual(announced, [`create Secret ${NAME}`, `merge-patch Secret ${NAME}`]);
  assert.deepEqual(Object.keys(stored(cluster).data ?? {}).includes("theirs"), true);
});

test("with KVStoreMesh, whatever way an import and a prune run into each other, a peer stands in both Secrets or none", async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const cluster = await startCluster(t, describe({ version: "1.20", kvstoremesh: true, authMode: "legacy" }));
    await importInto(cluster, [peerOf("c8", 8)], { api: await reopened(cluster) });
    if (seed % 2) await importInto(cluster, [peerOf("c7", 7)], { api: await reopened(cluster) });
    inRandomOrder(cluster, seed);
    const reports = await Promise.all([
      importInto(cluster, [peerOf("c9", 9)], { api: await reopened(cluster) }),
      importInto(cluster, [peerOf("c8", 8)], { api: await reopened(cluster), prune: true }),
    ]);
    const [agents, fetched] = [NAME, "cilium-kvstoremesh"].map((name) => {
      const { data = {} } = cluster.server.store.read("Secret", NAMESPACE, name) as unknown as V1Secret;
      return ["c7", "c8", "c9"].filter((peer) => data[peer] !== undefined);
    });
    const states = reports.map(({ result }) => ("reports" in result ? result.reports[0]?.state : "refused"));
    assert.equal(states[0], "done", `seed ${seed}`);
    assert.equal(agents?.includes("c8"), true, `seed ${seed}`);
    // A prune that finds a peer which it was not told to drop says so and fails, with c7 dropped where it is first.
    const left = states[1] === "failed" ? fetched?.filter((peer) => peer !== "c7" || agents?.includes(peer)) : fetched;
    assert.deepEqual(agents, left, `seed ${seed}`);
  }
});

/** Holds what is asked of the two Secrets, and lets one at a time go on. */
function inRandomOrder(cluster: SandboxedCluster, seed: number): void {
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

test("a workload whose aliases were changed meanwhile is read again, and both changes stand", async (t) => {
  const cluster = await start(t, "1.18");
  justBefore(cluster, "PATCH", () =>
    cluster.change("DaemonSet", "cilium", (object) => {
      const { spec } = object as unknown as V1DaemonSet;
      if (spec?.template.spec) spec.template.spec.hostAliases = [{ ip: "192.0.2.1", hostnames: ["theirs.example"] }];
    }),
  );
  const { result } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.equal("reports" in result && result.reports[0]?.state, "done");
  const names = (cluster.server.store.read("DaemonSet", NAMESPACE, "cilium") as unknown as V1DaemonSet).spec?.template
    .spec?.hostAliases;
  assert.deepEqual(
    names?.map(({ hostnames }) => hostnames),
    [["theirs.example"], ["c9.mesh.cilium.io"]],
  );
});

test("a write that is refused ends that target, and says what was written before", async (t) => {
  const cluster = await start(t, "1.18");
  cluster.server.onRequest = ({ method, path }) =>
    method === "POST" && path.includes("/secrets")
      ? { status: 422, body: { kind: "Status", code: 422, reason: "Invalid", message: "no" } }
      : undefined;
  const { result } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.ok("reports" in result);
  const [report] = result.reports;
  assert.equal(report?.state, "failed");
  assert.equal(report?.state === "failed" && report.error instanceof ApiError, true);
  assert.equal(report?.writes, 1, "the workload's aliases come before the Secret");
});

test("a finding of severity error in the files or in the plan writes nothing", async (t) => {
  const cluster = await start(t);
  const bad: Finding = { code: "unreadable", severity: "error", source: "a.json", message: "no such file" };
  for (const [peers, findings] of [
    [[peerOf("c9", 9)], [bad]],
    [[peerOf("c9", 2)], []],
  ] as [SourcedPeer[], Finding[]][]) {
    const { result, announced } = await importInto(await start(t), peers, { findings });
    assert.equal("refused" in result, true);
    assert.deepEqual(announced, []);
  }
  assert.deepEqual(
    cluster.server.requests.filter(({ method }) => method !== "GET"),
    [],
  );
});

test("agents are restarted only where that was said or is answered", async (t) => {
  for (const [may, patched] of [
    [false, false],
    [true, true],
  ] as const) {
    const cluster = await start(t, "1.18");
    const { result, asked, announced } = await importInto(cluster, [peerOf("c9", 9)], { restarts: "deployments", may });
    assert.deepEqual(asked, [{ removes: false, withAgents: ["target"] }]);
    assert.equal(announced.includes("json-patch DaemonSet cilium"), patched);
    const [report] = "reports" in result ? result.reports : [];
    assert.equal(report?.state === "done" && report.plan.missing.length, patched ? 0 : 1);
  }
});

test("what was held back until agents may be restarted is judged once they may", async (t) => {
  const cluster = await start(t, "1.18");
  const { result: first } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.ok("reports" in first);
  cluster.change("Secret", NAME, ({ metadata }) => {
    metadata.labels = { "app.kubernetes.io/managed-by": "Helm" };
  });
  const hostname = "c9.other.example";
  const moved = peerOf("c9", 9, {
    endpoints: [`https://${hostname}:2379`],
    hostAliases: [{ hostname, ips: ["10.0.0.9"] }],
  });
  const { result, announced } = await importInto(cluster, [moved], {
    restarts: "deployments",
    may: true,
    api: await reopened(cluster),
  });
  assert.deepEqual("refused" in result && result.refused.map(({ code }) => code), ["owned-by-other"]);
  assert.deepEqual(announced, []);
});

test("pruning asks before it takes back a user, too", async (t) => {
  const cluster = await startCluster(t, describe({ version: "1.20", kvstoremesh: false, authMode: "migration" }));
  assert.ok("reports" in (await importInto(cluster, [peerOf("c8", 8), peerOf("c9", 9)])).result);
  cluster.change("Secret", NAME, (object) => {
    delete (object as { data?: Record<string, string> }).data?.c8;
  });
  const { result, announced } = await importInto(cluster, [peerOf("c9", 9)], {
    prune: true,
    drop: false,
    api: await reopened(cluster),
  });
  assert.deepEqual(result, { refused: [] });
  assert.deepEqual(announced, []);
  const done = await importInto(cluster, [peerOf("c9", 9)], { prune: true, drop: true, api: await reopened(cluster) });
  assert.equal(done.announced.at(-1), "merge-patch ConfigMap clustermesh-remote-users");
});

test("a target that cannot be read fails for itself", async (t) => {
  const cluster = await start(t);
  cluster.remove("Deployment", "clustermesh-apiserver");
  const { result } = await importInto(cluster, [peerOf("c9", 9)]);
  assert.ok("reports" in result);
  const [report] = result.reports;
  assert.equal(report?.state === "failed" && report.error instanceof UserError, true);
});

test("two sources that lead to one cluster: it is written once, reported once, and that is said", async (t) => {
  const cluster = await start(t);
  const source = async (name: string): Promise<TargetSource> => {
    const { api } = await openCluster({ kubeconfig: cluster.kubeconfig });
    return { source: name, open: () => api, read: (api) => readTarget(api, name, { warn: assert.fail }) };
  };
  const gone: TargetSource = {
    source: "gone",
    open: () => {
      throw new UserError("there is no way", 2);
    },
    read: () => assert.fail(),
  };
  const sources = [await source("one"), gone, await source("another")];
  const [warned, announced]: [Finding[], string[]] = [[], []];
  const result = await importPeers(sources, async () => ({ peers: [peerOf("c9", 9)], findings: [] }), {
    plan: OPTIONS,
    endpoints: new Map(),
    resolve: async () => [],
    dryRun: "none",
    warn: (findings) => warned.push(...findings),
    announce: (source, { verb, kind, name }) => announced.push(`${source}: ${verb} ${kind} ${name}`),
  });
  assert.deepEqual(
    warned.map(({ code, severity, source, message }) => [code, severity, source, message]),
    [["same-cluster", "warning", "another", "reaches the same cluster as one, which is written once"]],
  );
  assert.deepEqual(announced, [`one: create Secret ${NAME}`]);
  assert.ok("reports" in result);
  assert.deepEqual(
    result.reports.map(({ source, state, writes }) => [source, state, writes]),
    [
      ["one", "done", 1],
      ["gone", "failed", 0],
    ],
  );
  for (const { open } of [sources[0], sources[2]] as TargetSource[]) {
    await assert.rejects(open().get(secrets, NAMESPACE, NAME), /closed/, "no connection is left open");
  }
});

test("the API's typed writes carry our field manager", async (t) => {
  const cluster = await start(t);
  await cluster.api.create(secrets, NAMESPACE, { metadata: { name: "x" } }, { dryRun: true });
  await cluster.api.jsonPatch(daemonSets, NAMESPACE, "cilium", [], { dryRun: true });
  const queries = cluster.server.requests.filter(({ method }) => method !== "GET").map(({ path }) => path);
  for (const path of queries) assert.match(path, /fieldManager=clustermesh-secrets&dryRun=All/);
  assert.equal(queries.length, 2);
});
