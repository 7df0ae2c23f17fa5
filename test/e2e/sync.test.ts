/**
 * A real mesh that `sync` keeps connected while its clusters change, each in the way that happens within a year. Cilium's own
 * kvstoremesh runs in every cluster throughout. Prints what docs/sync.md states about reconnects.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { ChangingCluster, issueClient, issueServer } from "../support/changing-cluster.ts";
import { kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";
import { judgeAgents, type Member, type Mesh, startMesh, THREE_CLUSTERS } from "../support/mesh.ts";
import { type MeshObserver, observeMember } from "../support/mesh-observer.ts";
import { withoutRealServers } from "../support/real.ts";
import { removeFolder, temporaryFolder } from "../support/real-process.ts";
import { type LoggedEvent, type SyncProcess, startSyncProcess } from "../support/sync-process.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const GRACE_SECONDS = 4;
/** Intervals in which nothing may be written after a change has settled. */
const QUIET_INTERVALS = 3;
/** Generous: Cilium retries a connection after up to a minute. */
const READY_LIMIT_MS = 90_000;

describe("a real mesh that sync keeps connected", { skip: withoutRealServers() }, () => {
  let mesh: Mesh;
  let first: ChangingCluster;
  let second: ChangingCluster;
  let third: ChangingCluster;
  let sync: SyncProcess;
  let stateFile: string;
  const observers = new Map<ChangingCluster, MeshObserver>();
  const table: string[] = [];

  before(async () => {
    const own = { cluster3: { service: "LoadBalancer", kvstoremesh: false } } as const;
    mesh = await startMesh({ ...THREE_CLUSTERS, key: "ec", own });
    const all = mesh.members.map((member) => new ChangingCluster(member));
    [first, second, third] = all as [ChangingCluster, ChangingCluster, ChangingCluster];
    // Others reach these two by addresses that can be taken away.
    await second.setNodes([await second.addAddress(), await second.addAddress()]);
    await third.setLoadBalancer(await third.addAddress());
    const { api } = first.member;
    await api.create([{ apiVersion: "v1", kind: "Namespace", metadata: { name: "members" } }]);
    await api.create([memberSecret(first.member), memberSecret(second.member)]);
    const times = ["--settle=200ms", "--interval=1s", `--address-grace=${GRACE_SECONDS}s`];
    stateFile = join(temporaryFolder("sync-state"), "state.json");
    const flags = [
      "--clusters-from=secrets",
      "--clusters-namespace=members",
      "--yes",
      `--state-file=${stateFile}`,
      ...times,
    ];
    sync = await startSyncProcess(flags, { kubeconfig: api.kubeconfig });
  });
  after(async () => {
    const head = "| change | written | reconnects of kvstoremesh | not ready |";
    console.log([head, "| --- | --- | --- | --- |", ...table].join("\n"));
    await sync?.close();
    for (const observer of observers.values()) await observer.stop().catch(() => {});
    for (const cluster of [second, third]) await cluster?.stop();
    await mesh?.stop();
    if (stateFile) removeFolder(dirname(stateFile));
  });

  const memberSecret = ({ name, api }: Member) => {
    const ca = Buffer.from(api.ca.cert).toString("base64");
    return kubeconfigSecret(name, kubeconfigOf({ server: api.url, ca, token: "admin-token" }));
  };
  /** Runs Cilium's client in a cluster; in a cluster without KVStoreMesh, in place of its agents. */
  const observe = async (cluster: ChangingCluster, who: "kvstoremesh" | "agents") => {
    observers.set(cluster, await observeMember(cluster.member, who));
  };
  /** Waits until Cilium's client in every observed cluster is ready for the others. */
  const untilReady = async () => {
    const names = [...observers.keys()].map(({ member }) => member.name);
    for (const { member, kvstoremesh } of observers.values()) {
      const peers = names.filter((name) => name !== member.name);
      await kvstoremesh.ready(peers, READY_LIMIT_MS);
    }
  };
  /** Waits until the importers have such a text. */
  const untilWritten = (
    importers: ChangingCluster[],
    read: (importer: ChangingCluster, secret: string) => Promise<string>,
    isExpected: (text: string) => boolean,
  ) =>
    sync.eventually(`${importers.map(({ member }) => member.name).join(" and ")} to be written`, async () => {
      const texts = await Promise.all(importers.map((one) => read(one, configSecret(one))));
      return texts.every(isExpected);
    });
  const config = (peer: string) => (one: ChangingCluster, secret: string) => one.read(secret, peer);
  const certificate = (peer: string) => config(`${peer}.etcd-client.crt`);
  const authorities = (peer: string) => (one: ChangingCluster, secret: string) => one.readAuthorities(secret, peer);
  /** Lets time pass for the ended sync: moves the times of certificates in its state. */
  const passTime = (milliseconds: number) => {
    const state = JSON.parse(readFileSync(stateFile, "utf8"), (key, value) =>
      key === "since" && typeof value === "string" ? new Date(Date.parse(value) - milliseconds).toISOString() : value,
    );
    writeFileSync(stateFile, JSON.stringify(state), { mode: 0o600 });
  };
  /** Restarts the pod of cluster2's clustermesh-apiserver, in which kvstoremesh runs too. */
  const restartPod = async (...certificates: Parameters<ChangingCluster["restartPod"]>) => {
    await observers.get(second)?.stop();
    observers.delete(second);
    await second.restartPod(...certificates);
    await observe(second, "kvstoremesh");
  };
  const configSecret = (cluster: ChangingCluster) => (cluster === third ? "cilium-clustermesh" : "cilium-kvstoremesh");
  const isHeld = (target: string, peer: string, reason: string) => (one: LoggedEvent) =>
    one.event === "held" && one.target === target && one.peer === peer && one.reason === reason;
  const readVersions = () => Promise.all([first, second, third].map((one) => one.versions()));

  /**
   * Makes a change of a cluster; waits until Cilium is ready everywhere and nothing is written any more, and adds a row to the
   * table. Other clusters connect again to this one at most, and no key may be deleted from a cache: connections of pods would
   * break.
   *
   * @param change - makes the change and waits until it is distributed.
   */
  const observing = async (what: string, changed: ChangingCluster, change: () => Promise<void>) => {
    const [start, position, before] = [Date.now(), sync.position, new Map(observers)];
    await change();
    await untilReady();
    const settled = await readVersions();
    await sync.reconciliations(QUIET_INTERVALS * NAMES.length);
    assert.deepEqual(await readVersions(), settled, `${what}: nothing is written once it is distributed`);

    const { name } = changed.member;
    const written = sync.events.slice(position).filter(({ event }) => event === "written");
    const others = written.filter(({ target }) => target !== name);
    assert.deepEqual([...new Set(others.flatMap(({ peers }) => peers))], others.length > 0 ? [name] : [], what);
    // Without those that were started during the change.
    const running = [...observers].flatMap(([cluster, one]) => (before.get(cluster) === one ? [one] : []));
    const describeAll = <T extends { peer: string }>(of: (one: MeshObserver) => T[], describe: (found: T) => string) =>
      running.flatMap((one) =>
        of(one).map((found) => {
          assert.equal(found.peer, name, `${what}: only ${name} has changed`);
          return `${one.member.name} (${describe(found)})`;
        }),
      );
    const reconnects = describeAll(
      (one) => one.reconnects(start),
      ({ reason }) => reason,
    );
    const gaps = describeAll(
      (one) => one.gaps(start),
      ({ fromMs, toMs = Date.now() }) => `${toMs - fromMs} ms`,
    );
    const cells = [written.map(({ target, object }) => `${target} ${object}`), reconnects, gaps];
    table.push(`| ${what} | ${cells.map((texts) => texts.join(", ") || "none").join(" | ")} |`);
    const withdrawn = [...observers.values()].flatMap((one) => one.withdrawn());
    assert.deepEqual(withdrawn, [], what);
  };

  test("the listed clusters are connected", async () => {
    await sync.eventually("cluster1 and cluster2 to be written", async () => {
      const configs = [
        await first.read("cilium-kvstoremesh", "cluster2"),
        await second.read("cilium-kvstoremesh", "cluster1"),
      ];
      return configs.every((text) => text !== "");
    });
    await observe(first, "kvstoremesh");
    await observe(second, "kvstoremesh");
    await untilReady();
  });

  test("a cluster joins when its Secret is added", async () => {
    await observing("a cluster joins", third, async () => {
      await first.member.api.create([memberSecret(third.member)]);
      await untilWritten([first, second], config("cluster3"), (text) => text !== "");
      await untilWritten([third], config("cluster1"), (text) => text !== "");
      await untilWritten([third], config("cluster2"), (text) => text !== "");
      await observe(third, "agents");
    });
  });

  test("a certificate is renewed under the same CA", async () => {
    await observing("client certificate renewed", second, async () => {
      const client = issueClient(second.member.pki.ca);
      await second.setCertificates({ client });
      await untilWritten([first, third], certificate("cluster2"), (text) => text === client.cert);
    });
  });

  test("a CA is changed in its steps", async () => {
    const next = makeCa({ cn: "Cilium CA", key: "ec" });
    const both = second.member.pki.ca.cert + next.cert;
    const [client, server] = [issueClient(next), issueServer(next)];
    const hasBundle = (bundle: string) => (text: string) => sortPem(text) === sortPem(bundle);
    await observing("CA changed: both in the bundle", second, async () => {
      await second.setCertificates({ ca: both });
      await untilWritten([first, third], authorities("cluster2"), hasBundle(both));
    });

    await observing("CA changed: certificates issued, etcd not restarted yet", second, async () => {
      const position = sync.position;
      await second.setCertificates({ client, server });
      for (const target of ["cluster1", "cluster3"]) {
        await sync.until(`cluster2 to be held in ${target}`, isHeld(target, "cluster2", "ca-order"), position);
      }
      for (const one of [first, third]) {
        assert.notEqual(await one.read(configSecret(one), "cluster2.etcd-client.crt"), client.cert);
      }
    });

    await observing("CA changed: etcd restarted", second, async () => {
      await restartPod(both, server, next);
      await untilWritten([first, third], certificate("cluster2"), (text) => text === client.cert);
    });

    await observing("CA changed: old one removed, etcd restarted", second, async () => {
      const position = sync.position;
      await second.setCertificates({ ca: next.cert });
      await sync.until("the old CA to be kept", isHeld("cluster1", "cluster2", "ca-order"), position);
      assert.equal(await sync.stop(), 0);
      passTime(5 * 60_000);
      sync.start();
      await untilWritten([first, third], authorities("cluster2"), hasBundle(next.cert));
      await restartPod(next.cert, server, next);
    });
    Object.assign(second.member.pki, { ca: next, server, remote: client });
  });

  test("a node is replaced", async () => {
    const [gone, stays] = second.addresses;
    assert.ok(gone && stays);
    await observing("node replaced", second, async () => {
      const position = sync.position;
      const added = await second.addAddress();
      await second.removeAddress(gone);
      await second.removeNode(gone);
      await second.addNode(added);
      const hold = await sync.until("the grace period", isHeld("cluster1", "cluster2", "address-grace"), position);
      assert.ok(Date.parse(hold.until) - Date.parse(hold.time) > (GRACE_SECONDS - 1) * 1_000, hold.message);
      assert.ok((await first.read("cilium-kvstoremesh", "cluster2")).includes(gone.address));
      await untilWritten(
        [first, third],
        config("cluster2"),
        (text) => text.includes(added.address) && text.includes(stays.address) && !text.includes(gone.address),
      );
      assert.ok(Date.now() >= Date.parse(hold.until), "not before the end of the grace period");
    });
  });

  test("a load balancer gets another address", async () => {
    const [gone] = third.addresses;
    assert.ok(gone);
    await observing("load balancer moved", third, async () => {
      const added = await third.addAddress();
      await third.removeAddress(gone);
      await third.setLoadBalancer(added);
      const isMoved = (text: string) => text.includes(added.address) && !text.includes(gone.address);
      await untilWritten([first, second], config("cluster3"), isMoved);
    });
  });

  test("KVStoreMesh is turned on", async () => {
    await observing("KVStoreMesh turned on", third, async () => {
      await observers.get(third)?.stop();
      observers.delete(third);
      await third.enableKvstoreMesh();
      for (const peer of ["cluster1", "cluster2"]) {
        await sync.eventually(`${peer} to be written`, async () => {
          const [copy, agents] = [
            await third.read("cilium-kvstoremesh", peer),
            await third.read("cilium-clustermesh", peer),
          ];
          return copy !== "" && agents.includes("clustermesh-apiserver.kube-system.svc");
        });
      }
      await observe(third, "kvstoremesh");
      await untilReady();
      const peers = [first.member, second.member];
      assert.deepEqual(await judgeAgents(third.member, peers), ["cluster1", "cluster2"]);
    });
  });

  test("it ends with SIGTERM, and has logged no error", async () => {
    assert.equal(await sync.stop(), 0);
    assert.equal(sync.output, "");
    assert.deepEqual(
      sync.events.filter(({ level }) => level === "error"),
      [],
    );
  });
});

/** The certificates of a bundle in any order. */
function sortPem(bundle: string): string {
  const certificates = bundle.match(/-----BEGIN CERTIFICATE-----[\w\s+/=]*-----END CERTIFICATE-----/g) ?? [];
  return certificates.sort().join("\n");
}
