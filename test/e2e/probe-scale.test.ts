/** Probing a mesh as large as Cilium's usual maximum, some of whose peers do not answer. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { probePeers } from "../../lib/probe/probe.ts";
import { extractPeer, startServingClusters } from "../support/serving-clusters.ts";

test("254 peers of which 20 do not answer take about one timeout, not twenty", async (t) => {
  const peer = await extractPeer(await startServingClusters(t), "cluster2");
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket.on("error", () => {})));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const { port } = silent.address() as { port: number };
  const [alias] = peer.hostAliases;
  const one = alias ? { ...peer, hostAliases: [{ ...alias, ips: alias.ips.slice(0, 1) }] } : peer;
  const dead = {
    endpoints: [`https://silent.example:${port}`],
    hostAliases: [{ hostname: "silent.example", ips: ["127.0.0.1"] }],
  };
  const peers = Array.from({ length: 254 }, (_, i) => ({
    peer: i % 13 === 0 ? { ...peer, ...dead } : one,
    source: `${i}.json`,
  }));
  const options = { stepTimeout: 10_000, now: new Date(), resolve: async () => [] };
  const started = performance.now();
  await probePeers(
    peers.filter((_, i) => i % 13 !== 0),
    options,
  );
  const without = performance.now() - started;
  const probes = await probePeers(peers, options);
  const together = performance.now() - started - without;
  assert.equal(probes.filter((probe) => probe.findings.some(({ code }) => code === "not-tls")).length, 20);
  // Twenty timeouts behind each other would be 200 s more.
  assert.ok(together < without + 3 * options.stepTimeout, `${together} ms, without the dead ones ${without} ms`);
});
