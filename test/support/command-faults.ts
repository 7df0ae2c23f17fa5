/**
 * Faults at every request of every command that writes, kills at random moments, and many at once: each object is the
 * complete old or new one, existing peers are kept, and one run without faults reaches the goal.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeFiles, readEntries, writePeerFile } from "../../lib/peer/secret.ts";
import { node, programPath, run } from "./programs.ts";
import { withoutRealServers } from "./real.ts";
import type { Fault } from "./relay.ts";
import { peerDataOf, type RelayedClusters, type State, secretsOf, startRelayedClusters } from "./relayed-clusters.ts";
import { peerOf } from "./targets.ts";

const FAULTS: Fault[] = [
  "refused",
  "reset",
  "reset after",
  "truncated",
  "another certificate",
  "slow",
  409,
  429,
  500,
  503,
];
/** The faults at reads. Successive reads get different ones, so that the reads of a command meet all of them. */
const AT_READS: Fault[] = ["refused", "reset", "truncated", "another certificate", 500];
const FAULTS_PER_READ = 1;
/** Real API servers get the same requests, so fewer faults suffice. */
const FAULTS_PER_WRITE = { sandbox: FAULTS.length, real: 5 };

/** How a command is called, and whether the two clusters are connected before. */
const COMMANDS: Record<string, { args: string[]; connected: boolean }> = {
  import: { args: ["import", "--context", "c1", "new.json"], connected: false },
  connect: { args: ["connect", "c1", "c2", "--yes"], connected: false },
  disconnect: { args: ["disconnect", "c2", "--context", "c1", "--yes"], connected: true },
  rotate: { args: ["rotate", "c2", "--context", "c1", "--yes"], connected: true },
};

const KILLS = { sandbox: 60, real: 20 };

/** Selects faults for the n-th request of a command, so that successive requests, and each of several commands, get different ones. */
function selectFaults(faults: readonly Fault[], command: number, n: number, count: number): Fault[] {
  const first = 3 * command + n * count;
  return Array.from({ length: count }, (_, i) => faults[(first + i) % faults.length] ?? assert.fail());
}

/** Registers the tests, on two clusters of the sandbox or on two real ones. */
export function testFaults(on: "sandbox" | "real"): void {
  describe(`faults, kills and crowds: ${on}`, { skip: on === "real" ? withoutRealServers() : false }, () => {
    let mesh: RelayedClusters;
    let initial: State;
    const go = (args: string[]) => run("clustermesh-secrets", args, { kubeconfig: mesh.kubeconfig, cwd: mesh.dir });
    const file = (name: string, id: number) => {
      writeFileSync(join(mesh.dir, `${name}.json`), JSON.stringify(writePeerFile(peerOf(name, id).peer)));
      return `${name}.json`;
    };
    const finish = async (...args: string[]) => {
      const { code, stderr } = await go(args);
      assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
    };

    before(async () => {
      mesh = await startRelayedClusters(on);
      file("new", 7);
      await finish("import", "--context", "c1", "--context", "c2", file("c9", 9));
      initial = await mesh.state();
    });
    after(() => mesh?.stop());

    /** Every Secret is whole, agents are led to nothing that is not fetched, and `stays` is there. */
    async function assertWhole(when: string, stays = ["c9"]): Promise<State> {
      const state = await mesh.state();
      for (const [i, objects] of state.entries()) {
        const names = secretsOf(objects).map((secret, which) => {
          const { files, findings } = decodeFiles(secret ?? {}, { source: String(which) });
          const entries = readEntries({ files }, {}, String(which));
          assert.deepEqual([...findings, ...entries.flatMap((entry) => entry.findings)], [], `${when}: c${i + 1}`);
          return entries.map((entry) => entry.name);
        });
        const [fetched = [], agents = []] = names;
        for (const name of agents) assert.ok(fetched.includes(name), `${when}: c${i + 1}'s agents look for ${name}`);
        for (const name of stays) assert.ok(agents.includes(name), `${when}: c${i + 1} lost ${name}`);
      }
      return state;
    }

    for (const [index, [command, { args, connected }]] of Object.entries(COMMANDS).entries()) {
      test(`${command}: faults at each request`, async (t) => {
        const relay = mesh.relays[0] ?? assert.fail();
        await mesh.restore(initial);
        if (connected) await finish("connect", "c1", "c2", "--yes");
        if (command === "rotate") await mesh.rotate();
        const start = await mesh.state();
        const methods: string[] = [];
        relay.onRequest = (method) => void methods.push(method);
        await finish(...args);
        const goal = peerDataOf(await mesh.state());
        // Concurrent requests arrive in any order, so a fault is injected at the n-th read or write.
        const reads = methods.filter((method) => method === "GET").length;
        const aims = [
          ...Array.from({ length: reads }, (_, n) =>
            selectFaults(AT_READS, index, n, FAULTS_PER_READ).map((fault) => ({ read: true, n, fault })),
          ),
          ...Array.from({ length: methods.length - reads }, (_, n) =>
            selectFaults(FAULTS, index, n, FAULTS_PER_WRITE[on]).map((fault) => ({ read: false, n, fault })),
          ),
        ].flat();
        for (const { read, n, fault } of aims) {
          const when = `${command}: ${fault} at ${read ? "read" : "write"} ${n + 1}`;
          await mesh.restore(start);
          let seen = 0;
          relay.onRequest = (method) => ((method === "GET") === read && seen++ === n ? fault : undefined);
          const hit = await go(args);
          relay.onRequest = undefined;
          assert.ok([0, 1, 2, 3].includes(hit.code ?? -1), `${when}: ${hit.stderr}`);
          assert.doesNotMatch(hit.stderr, /this is a bug|^ {4}at /m, when);
          await assertWhole(when);
          await relay.mend();
          await finish(...args);
          assert.equal(peerDataOf(await mesh.state()), goal, when);
        }
        t.diagnostic(`${aims.length} faults at ${methods.length} requests`);
      });
    }

    test(`killed at ${KILLS[on]} random moments`, async (t) => {
      await mesh.restore(initial);
      const started = performance.now();
      await finish("connect", "c1", "c2", "--yes");
      const took = performance.now() - started;
      const goal = peerDataOf(await mesh.state());
      let within = 0;
      for (let i = 0; i < KILLS[on]; i++) {
        await mesh.restore(initial);
        const child = spawn(node, [programPath("clustermesh-secrets"), "connect", "c1", "c2", "--yes"], {
          env: { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: mesh.kubeconfig },
          stdio: "ignore",
        });
        const ended = new Promise((resolve) => child.on("close", resolve));
        // Most writes are in the last third.
        await sleep(took * (0.4 + 0.7 * ((i * 37) % 100) * 0.01));
        child.kill("SIGKILL");
        await ended;
        // What the server had taken is done before it is looked at.
        await sleep(20);
        if (peerDataOf(await assertWhole(`kill ${i}`)) !== goal) within++;
      }
      await finish("connect", "c1", "c2", "--yes");
      assert.equal(peerDataOf(await mesh.state()), goal);
      t.diagnostic(`${KILLS[on]} kills, ${within} of them before the end`);
      assert.ok(within > KILLS[on] / 10, `only ${within} happened before the end`);
    });

    test("twenty at once, connects and imports: no peer is lost", async (t) => {
      await mesh.restore(initial);
      const peers = Array.from({ length: 12 }, (_, i) => `p${i}`);
      const files = peers.map((name, i) => file(name, 20 + i));
      const all = await Promise.all([
        ...files.map((path) => go(["import", "--context", "c1", "--context", "c2", path])),
        ...Array.from({ length: 8 }, () => go(["connect", "c1", "c2", "--yes"])),
      ]);
      for (const { code, stderr } of all) assert.equal(code, 0, stderr);
      const [first = [], second = []] = await assertWhole("twenty at once", ["c9", ...peers]);
      assert.ok(
        secretsOf(first).every((secret) => secret?.data?.c2),
        "and they know each other",
      );
      assert.ok(
        secretsOf(second).every((secret) => secret?.data?.c1),
        "and they know each other",
      );
      t.diagnostic(`${all.length} commands at once, ${peers.length} peers and each other`);
    });
  });
}
