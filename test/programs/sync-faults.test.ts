/**
 * `sync` while clusters change and their API servers fail at random: every object is whole, no peer is withdrawn at any time,
 * everything is converged within one interval after the last fault, and no object is written more often than changes justify.
 * SEED repeats the choices of a run; how they meet the processes is up to the machine.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";
import { type FaultyCluster, type FaultyMesh, tokenOf } from "../support/faulty-mesh.ts";
import { run } from "../support/programs.ts";
import { chooseSeed, createRandom } from "../support/random.ts";
import { startRelay } from "../support/relay.ts";
import { assertHealthy, format, OBJECTS, startScene } from "../support/sync-scene.ts";
import { peerOf } from "../support/targets.ts";

const SHIFT_CLOCK = fileURLToPath(new URL("../support/shift-clock.cjs", import.meta.url));

const seed = chooseSeed();

/** Writes a clock that is off by some hours; returns the variables for a sync that has it. */
function shiftClock(path: string, hours: number): NodeJS.ProcessEnv {
  writeFileSync(path, String(hours * 3_600_000));
  return { NODE_OPTIONS: `--require ${SHIFT_CLOCK}`, CLOCK_SHIFT: path };
}

describe(`sync under faults, SEED=${seed}`, { concurrency: 2 }, () => {
  test("random changes and faults, two syncs at once, and twenty imports by hand", async (t) => {
    const scene = await startScene(t, 5, { users: ["sync", "rival"], seed });
    const { mesh, changes, faults } = scene;
    const random = createRandom(seed + 1);
    const syncs = [await scene.sync("sync"), await scene.sync("rival")];
    const hands: Promise<{ code: number | null; stderr: string }>[] = [];
    const peers = Array.from({ length: 20 }, (_, i) => `p${i}`);
    for (let step = 0; step < 60; step++) {
      const what = random.below(5) < 2 ? await faults.injectOne(["sync", "rival"]) : changes.makeOne();
      if (process.env.VERBOSE) t.diagnostic(what);
      const peer = peers[step / 3];
      if (peer !== undefined) hands.push(importByHand(mesh, peer, step));
      await sleep(100 + random.below(500));
      if (step % 12 === 11) await faults.mend();
    }
    for (const { code, stderr } of await Promise.all(hands)) assert.equal(code, 0, stderr);
    await faults.mend();
    const seconds = await scene.untilConvergedInTime();
    assertHealthy(...syncs);
    scene.assertCareful("sync", "rival");
    for (const { ledger } of mesh.clusters.slice(0, 2)) {
      const present = ledger.peersIn("cilium-clustermesh");
      assert.deepEqual(
        peers.filter((name) => !present.includes(name)),
        [],
      );
    }
    const restarts = syncs.flatMap(({ events }) => events.filter(({ event }) => event === "watch-restarted"));
    t.diagnostic(`faults: ${format(faults.injected)}`);
    t.diagnostic(`converged ${seconds.toFixed(1)} s after the last fault; ${restarts.length} watches restarted`);
  });

  test("each fault, with changes of the cluster that it hits and of another one", async (t) => {
    const scene = await startScene(t, 4, { users: ["sync"], seed });
    const { mesh, changes, faults } = scene;
    const [first, second] = mesh.clusters;
    assert.ok(first && second);
    const sync = await scene.sync("sync");
    const inject: Record<string, () => string> = {
      "connection cut": () => faults.cut(first),
      "watches cut": () => faults.cutWatches(first),
      "compacted while watches were cut": () => faults.compact(first),
      "away: connections refused": () => faults.leave(first, "refused"),
      "away: no packet passes": () => faults.leave(first, "silent"),
      "token expired": () => faults.expireTokens(first, ["sync"]),
      "429 for some requests": () => faults.failRequests(first, 429),
      "503 for some requests": () => faults.failRequests(first, 503),
      "responses lost": () => faults.failRequests(first, "reset after"),
      "responses truncated": () => faults.failRequests(first, "truncated"),
    };
    for (const [fault, start] of Object.entries(inject)) {
      start();
      changes.renewCertificates(first);
      changes.changePort(second);
      await sleep(1_500);
      await faults.mend();
      t.diagnostic(`${fault}: converged ${(await scene.untilConvergedInTime()).toFixed(1)} s after its end`);
    }
    assert.ok(sync.events.some(({ event, reason }) => event === "watch-restarted" && reason === "expired"));
    assertHealthy(sync);
    scene.assertCareful("sync");
  });

  test("kill -9 at 50 random moments", async (t) => {
    const scene = await startScene(t, 4, { users: ["sync"], seed });
    const { changes } = scene;
    const random = createRandom(seed + 2);
    changes.renewCertificates();
    const started = performance.now();
    const sync = await scene.sync("sync");
    await scene.untilConverged();
    const took = performance.now() - started;
    let untouched = 0;
    for (let kill = 0; kill < 50; kill++) {
      await sync.stop("SIGKILL");
      changes.makeOne();
      const position = sync.position;
      sync.start();
      await sleep(took * (0.2 + 0.8 * random.next()));
      if (!sync.events.slice(position).some(({ event }) => event === "written")) untouched++;
    }
    await sync.stop("SIGKILL");
    sync.start();
    const seconds = await scene.untilConverged();
    assertHealthy(sync);
    scene.assertCareful("sync");
    t.diagnostic(`${untouched} of 50 kills before the first write; converged ${seconds.toFixed(1)} s after the last`);
  });

  test("two replicas with one Lease: one writes, and the other takes over, also with clocks that are off", async (t) => {
    const scene = await startScene(t, 3, { users: ["sync", "rival"], seed });
    const { mesh, changes } = scene;
    const replica = ["--all-contexts", "--state=cluster", "--state-context=c1", "--state-namespace=default"];
    const writesOf = (user: string) =>
      mesh.clusters.flatMap(({ ledger }) => OBJECTS.map((object) => ledger.writesOf(user).get(object) ?? 0));
    const first = await scene.sync("sync", replica, shiftClock(join(mesh.dir, "clock-1"), -0.5));
    await first.until("leading", ({ event }) => event === "leading");
    const second = await scene.sync("rival", replica, shiftClock(join(mesh.dir, "clock-2"), 2));
    await second.until("standby", ({ event }) => event === "standby");
    changes.renewCertificates();
    await scene.untilConverged();
    assert.deepEqual(writesOf("rival").filter(Boolean), []);

    const position = second.position;
    first.signal("SIGSTOP");
    const seconds = await secondsUntil(() => second.until("takeover", ({ event }) => event === "leading", position));
    t.diagnostic(`taken over ${seconds.toFixed(1)} s after the leader was stopped`);
    changes.changePort();
    await scene.untilConverged();
    const written = writesOf("sync");
    const resumed = first.position;
    first.signal("SIGCONT");
    await first.until("standby", ({ event }) => event === "standby", resumed);
    changes.renewCertificates();
    await scene.untilConverged();
    assert.deepEqual(writesOf("sync"), written, "a leader that was stopped writes nothing once it is resumed");

    const killed = first.position;
    await second.stop("SIGKILL");
    const after = await secondsUntil(() => first.until("takeover", ({ event }) => event === "leading", killed));
    t.diagnostic(`taken over ${after.toFixed(1)} s after the leader was killed`);
    assert.ok(Math.max(seconds, after) < 30);
    changes.renewCertificates();
    await scene.untilConverged();
    assertHealthy(first);
    scene.assertCareful("sync", "rival");
  });

  test("a clock that is set while it runs", async (t) => {
    const scene = await startScene(t, 3, { users: ["sync"], seed });
    const { mesh, changes, faults } = scene;
    const clock = join(mesh.dir, "clock");
    const [first, second] = mesh.clusters;
    assert.ok(first && second);
    const sync = await scene.sync("sync", undefined, shiftClock(clock, 0));
    for (const hours of [4, -0.5]) {
      const position = sync.position;
      faults.leave(first, "refused");
      changes.renewCertificates(first);
      await sync.until("failure", ({ event, entry }) => event === "member-unreachable" && entry === "c1", position);
      shiftClock(clock, hours);
      sync.signal("SIGUSR2");
      await faults.mend();
      changes.changePort(second);
      const seconds = await scene.untilConvergedInTime();
      t.diagnostic(`set to ${hours} h: converged after ${seconds.toFixed(1)} s`);
    }
    assertHealthy(sync);
    scene.assertCareful("sync");
  });

  test("Secrets of members whose token or server changes, or that are made again", async (t) => {
    const scene = await startScene(t, 4, { users: ["sync"], seed });
    const { mesh, changes } = scene;
    const [management, second, third] = mesh.clusters;
    assert.ok(management && second && third);
    const putSecret = (cluster: FaultyCluster, server = cluster.relay.url) => {
      const access = { server, ca: toBase64(cluster.relay.ca.cert), token: tokenOf(cluster, "sync") };
      management.api.store.put(kubeconfigSecret(cluster.name, kubeconfigOf(access)));
    };
    for (const cluster of mesh.clusters) putSecret(cluster);
    const from = ["--clusters-from=secrets", "--clusters-context=c1", "--clusters-namespace=members"];
    const sync = await scene.sync("sync", from);

    const position = sync.position;
    mesh.expireToken(second, "sync");
    second.relay.cut();
    await sync.until("rejection", ({ event, entry }) => event === "member-unreachable" && entry === "c2", position);
    changes.renewCertificates(second);
    putSecret(second);
    t.diagnostic(`new token: converged after ${(await scene.untilConvergedInTime()).toFixed(1)} s`);

    const moved = await startRelay({ url: third.api.url, ca: third.api.ca.cert });
    t.after(() => moved.stop());
    third.relay.leave("refused");
    changes.renewCertificates(third);
    putSecret({ ...third, relay: moved });
    t.diagnostic(`new server: converged after ${(await scene.untilConvergedInTime()).toFixed(1)} s`);

    management.api.store.remove("Secret", "members", "c2");
    await sync.until("departure", ({ event, entry }) => event === "member-left" && entry === "c2", position);
    changes.renewCertificates(second);
    putSecret(second);
    t.diagnostic(`Secret made again: converged after ${(await scene.untilConvergedInTime()).toFixed(1)} s`);
    assertHealthy(sync);
    scene.assertCareful("sync");
  });
});

async function secondsUntil(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1_000;
}

function toBase64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** Imports a file of another cluster into the first two, as a person does. */
function importByHand({ dir, kubeconfig }: FaultyMesh, name: string, id: number) {
  const path = join(dir, `${name}.json`);
  writeFileSync(path, JSON.stringify(writePeerFile(peerOf(name, 100 + id).peer)));
  return run("clustermesh-secrets", ["import", "--context", "c1", "--context", "c2", path], { kubeconfig });
}
