/** What an etcd that is not trusted can do to the programs that probe it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Peer } from "../../lib/peer/peer.ts";
import { createEtcdClient } from "../../lib/probe/etcd-client.ts";
import { type PeerProbe, probePeers } from "../../lib/probe/probe.ts";
import { styleFor } from "../../lib/render/style.ts";
import { showProbe } from "../../lib/render/verify.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { parseEndpoint } from "../../lib/util/address.ts";
import { extractPeer, startServingClusters } from "../support/serving-clusters.ts";

const FORGED = "\nerror: forged\u001b[2J\u202e";

async function probe(peer: Peer): Promise<PeerProbe> {
  const [found] = await probePeers([{ peer, source: "a.json" }], {
    stepTimeout: 5_000,
    now: new Date(),
    resolve: async () => [],
  });
  assert.ok(found);
  return found;
}

test("text of an etcd cannot add a line to the output, or control the terminal", async (t) => {
  const sandbox = await startServingClusters(t);
  const state = sandbox.clusters[1]?.etcd?.state;
  assert.ok(state);
  const peer = await extractPeer(sandbox, "cluster2");
  const good = { ...state };
  const config = (capabilities: unknown, id: unknown = 2) => JSON.stringify({ id, capabilities });
  const cases: Partial<typeof state>[] = [
    { heartbeat: FORGED },
    { clusterConfig: FORGED },
    { clusterConfig: "null" },
    { clusterConfig: config(null) },
    { clusterConfig: config({ maxConnectedClusters: FORGED }) },
    { clusterConfig: config({ maxConnectedClusters: { a: FORGED } }) },
    { clusterConfig: config({}, FORGED) },
    { synced: [FORGED] },
    { users: () => `users:\n- name: remote\n  role: ${JSON.stringify(FORGED)}\n` },
  ];
  for (const change of cases) {
    Object.assign(state, good, change);
    for (const line of showProbe(await probe(peer), styleFor({}, {}))) {
      assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}]/u, JSON.stringify(change));
    }
  }
});

test("an answer of more than 4 MiB is refused", async (t) => {
  const sandbox = await startServingClusters(t);
  const state = sandbox.clusters[1]?.etcd?.state;
  assert.ok(state);
  state.heartbeat = "x".repeat(5 * 1_048_576);
  const { findings } = await probe(await extractPeer(sandbox, "cluster2"));
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["etcd-unavailable"],
  );
  assert.match(findings[0]?.message ?? "", /larger than max/);
});

test("an etcd with a certificate of another CA is asked nothing, even with NODE_TLS_REJECT_UNAUTHORIZED=0", async (t) => {
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  t.after(() => {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  });
  const sandbox = await startServingClusters(t);
  const peer = await extractPeer(sandbox, "cluster2");
  const ca = makeCa({ cn: "other" }).cert;
  const { findings, addresses } = await probe({ ...peer, ca: { pem: ca } });
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["certificate-not-signed", "server-ca-unknown"],
  );
  assert.ok(addresses.every(({ failed, roles }) => failed === "tls" && roles === undefined));
  // The probe connects twice: to describe the certificate, and by gRPC, which verifies it again.
  const { host, port } = parseEndpoint(peer.endpoints[0] ?? "") ?? { host: "", port: 0 };
  assert.ok(peer.client !== "importer");
  const ip = peer.hostAliases[0]?.ips[0] ?? "";
  const etcd = createEtcdClient({ endpoint: "", host, ip, port }, { ca, ...peer.client }, 5_000);
  t.after(() => etcd.close());
  await assert.rejects(etcd.get("cilium/.heartbeat"), /is not available/);
});
