import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import type { Peer } from "../../lib/peer/peer.ts";
import { type PeerProbe, type ProbeOptions, probePeers } from "../../lib/probe/probe.ts";
import type { PkiOptions } from "../../lib/sandbox/chart.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import type { CertificateFact } from "../../lib/x509/expiry.ts";
import { extractPeer, startServingClusters } from "../support/serving-clusters.ts";

async function probe(peer: Peer, options: Partial<ProbeOptions> = {}): Promise<PeerProbe> {
  const resolve = async () => Promise.reject(Object.assign(new Error(), { code: "ENOTFOUND" }));
  const all = { stepTimeout: 2_000, now: new Date(), resolve, ...options };
  const [found] = await probePeers([{ peer, source: "a.json" }], all);
  assert.ok(found);
  return found;
}

const codes = ({ findings }: PeerProbe) => findings.map(({ code }) => code);

async function start(t: TestContext): Promise<{ sandbox: Sandbox; peer: Peer; second: Sandbox["clusters"][number] }> {
  const sandbox = await startServingClusters(t);
  const second = sandbox.clusters[1];
  assert.ok(second);
  return { sandbox, peer: await extractPeer(sandbox, "cluster2"), second };
}

/** The peer with its name mapped to a port on 127.0.0.1. */
function onLoopback(peer: Peer, port: number): Peer {
  const [{ hostname } = { hostname: "" }] = peer.hostAliases;
  return { ...peer, endpoints: [`https://${hostname}:${port}`], hostAliases: [{ hostname, ips: ["127.0.0.1"] }] };
}

test("probes every address in all steps, and reads the cluster config and counts", async (t) => {
  const { peer } = await start(t);
  const { addresses, findings } = await probe(peer);
  assert.deepEqual(findings, []);
  for (const one of addresses) {
    assert.deepEqual(
      one.steps.map(({ step, ok }) => [step, ok]),
      ["tcp", "tls", "client", "user", "heartbeat", "config", "synced"].map((step) => [step, true]),
    );
    assert.deepEqual([one.id, one.user, one.roles], [2, "remote", ["remote"]]);
    assert.deepEqual(one.counts, { nodes: addresses.length, identities: 1, endpoints: 1, services: 1 });
  }
});

test("warns once about an expiring server certificate that several addresses present", async (t) => {
  const notAfter = new Date(Date.now() + 20.5 * 86_400_000);
  const clusters = (await servingClusters()).map((one) => ({ ...one, pki: { ...one.pki, notAfter } as PkiOptions }));
  const sandbox = await startSandbox({ clusters });
  t.after(() => sandbox.stop());
  const peer = await extractPeer(sandbox, "cluster2");
  const options = {
    remedyFor: ({ name }: Peer, { use }: CertificateFact) => `renew the ${use} certificate of ${name}`,
  };
  const { addresses, findings } = await probe(peer, options);
  const until = notAfter.toISOString().slice(0, 10);
  for (const { server } of addresses) assert.deepEqual([server?.expires, server?.daysLeft], [until, 20]);
  const served = findings.filter(({ code }) => code === "server-certificate-expires");
  assert.deepEqual(
    served.map(({ message, remedy }) => [message, remedy]),
    [[`the server certificate expires in 20 days, on ${until}`, "renew the server certificate of cluster2"]],
  );
  assert.ok(!codes(await probe(peer, { expiresWithin: 20 * 86_400_000 })).includes("server-certificate-expires"));
});

test("reports problems with heartbeat, cluster config, leader and synchronization", async (t) => {
  const { peer, second } = await start(t);
  const state = second.etcd?.state;
  assert.ok(state);
  const good = { ...state };
  const cases: [Partial<typeof state>, string][] = [
    [{ heartbeat: undefined }, "heartbeat-missing"],
    [{ heartbeat: new Date(Date.now() - 121_000).toISOString() }, "heartbeat-stale"],
    [{ heartbeat: "yesterday" }, "heartbeat-stale"],
    [{ clusterConfig: undefined }, "cluster-config-missing"],
    [{ clusterConfig: "{" }, "cluster-config-missing"],
    [{ clusterConfig: '{"id":9}' }, "id-differs"],
    [{ leader: false }, "etcd-unavailable"],
    [{ synced: ["cilium/state/nodes/v1"] }, "not-synchronized"],
  ];
  for (const [change, code] of cases) {
    Object.assign(state, good, change);
    assert.deepEqual([...new Set(codes(await probe(peer)))], [code], JSON.stringify(change));
  }
  Object.assign(state, good, { heartbeat: new Date(Date.now() - 100_000).toISOString() });
  assert.deepEqual(codes(await probe(peer)), [], "a heartbeat less than two minutes old is valid");
});

test("reports problems with certificates, users and names, and another cluster behind the address", async (t) => {
  const { sandbox, peer, second } = await start(t);
  const own = (cn: string) => issue(second.pki.ca, { cn, usage: "client", key: "ec" });
  const foreign = makeCa({ cn: "Cilium CA", key: "ec" });
  const other = await extractPeer(sandbox, "cluster3");
  const at = (endpoint: string): Partial<Peer> => ({
    endpoints: [endpoint],
    hostAliases: ["other.example", ...peer.hostAliases.map(({ hostname }) => hostname)].map((hostname) => ({
      hostname,
      ips: peer.hostAliases.flatMap(({ ips }) => ips),
    })),
  });
  const { port } = new URL(peer.endpoints[0] ?? "");
  const cases: [Peer, string][] = [
    [{ ...peer, ca: { pem: foreign.cert } }, "server-ca-unknown"],
    [{ ...peer, client: issue(foreign, { cn: "remote", usage: "client", key: "ec" }) }, "client-refused"],
    [{ ...peer, client: own("remote-nobody") }, "user-unknown"],
    [{ ...peer, ...at(`https://nowhere.invalid:${port}`) }, "name-not-resolved"],
    [{ ...peer, ...at(`https://other.example:${port}`), facts: {} }, "endpoint-not-covered"],
    // The third cluster's peer, with the CA of the second and the address of its etcd.
    [{ ...other, ...at(peer.endpoints[0] ?? ""), ca: peer.ca, client: peer.client }, "other-cluster"],
  ];
  for (const [changed, code] of cases) {
    const found = codes(await probe(changed));
    assert.ok(found.includes(code as (typeof found)[number]), `${code}: ${found.join(", ")}`);
  }
});

test("probes a peer without a key with the importer's own certificates, and reports it without them", async (t) => {
  const { peer } = await start(t);
  const keyless: Peer = { ...peer, ca: "importer", client: "importer" };
  assert.deepEqual(codes(await probe(keyless)), ["peer-without-key"]);
  const own = { ca: (peer.ca as { pem: string }).pem, client: peer.client as Exclude<Peer["client"], "importer"> };
  assert.deepEqual(codes(await probe(keyless, { own })), []);
});

test("reports servers that send plain text, close the connection or hang as not-tls", async (t) => {
  const { peer } = await start(t);
  const behaviours: [(socket: Socket) => void, string][] = [
    [(socket) => socket.end("220 mail.example ESMTP\r\n"), "not-tls"],
    [(socket) => socket.destroy(), "not-tls"],
    [() => {}, "not-tls"],
  ];
  for (const [behave, code] of behaviours) {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket.on("error", () => {}));
      behave(socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const changed = onLoopback(peer, port);
    assert.deepEqual(codes(await probe(changed, { stepTimeout: 300 })), [code]);
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});

test("one unreachable address of several is a warning, all of them are an error", async (t) => {
  const { peer, second } = await start(t);
  const dead = "127.0.0.1";
  const [alias] = peer.hostAliases;
  if (!alias || alias.ips.includes(dead)) return t.skip("this machine has one loopback address");
  const both = { ...peer, hostAliases: [{ ...alias, ips: [dead, ...alias.ips] }] };
  const partly = await probe(both);
  assert.deepEqual(codes(partly), ["address-unreachable"]);
  assert.equal(partly.addresses.length, alias.ips.length + 1);
  await second.nodePorts?.stop();
  const none = await probe(both);
  assert.deepEqual(codes(none), ["connection-refused"], "addresses with the same failure are one finding");
  assert.equal(none.addresses.length, alias.ips.length + 1);
  const [only] = none.findings;
  assert.match(only?.message ?? "", /^each of 127\.0\.0\.1:\d+.* and \S+ \(\S+\) /);
  for (const ip of [dead, ...alias.ips]) assert.ok(only?.message.includes(`${ip}:`), only?.message);
});

test("skips a peer that is reachable only from the same node, even if it is invalid otherwise", async () => {
  const broken: Peer = {
    name: "submariner",
    endpoints: ["https://127.0.0.1:12379"],
    hostAliases: [],
    ca: { pem: "" },
    client: { cert: "", key: "" },
    facts: {},
  };
  assert.deepEqual(await probe(broken), {
    name: "submariner",
    source: "a.json",
    addresses: [],
    skipped: "node-local",
    findings: [],
  });
});
