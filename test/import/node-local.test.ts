/** Node-local peers, such as that of Submariner in cilium-clustermesh, in every kind of plan. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { resolveOverride } from "../../lib/import/plan/endpoint-override.ts";
import { type Plan, type PlanOptions, plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, type Peer } from "../../lib/peer/peer.ts";
import { UserError } from "../../lib/util/errors.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { caOf, clientOf, DAY, freshClient } from "../support/material.ts";
import { entriesOf, recordsOf, usersOf } from "../support/plans.ts";
import { configText, LOCAL, OPTIONS, peerOf, secretOf, targetOf, textsOf } from "../support/targets.ts";

const c2 = peerOf("c2", 2);
const c3 = peerOf("c3", 3);
const OWN_CACHE = "https://clustermesh-apiserver.kube-system.svc:2379";
const URL = "https://127.0.0.1:12379";
/** With another order of fields and other file names than ours. */
const SUBMARINER = {
  submariner: configText(URL, ["submariner-ca.pem", "submariner-client.pem", "submariner-client.key"]),
  "submariner-ca.pem": caOf("submariner").cert,
  "submariner-client.pem": clientOf(caOf("submariner")).cert,
  "submariner-client.key": clientOf(caOf("submariner")).key,
};

const run = (target: Target, peers: (typeof c2)[], options: Partial<PlanOptions> = {}): Plan =>
  plan(target, peers, { ...OPTIONS, restarts: "all", ...options });
const codes = ({ findings }: Plan) => findings.map(({ code, key }) => `${code} ${key}`);
const brief = ({ changes }: Plan) => changes.map(({ verb, kind, name }) => `${verb} ${kind} ${name}`);
const endpointsIn = (secret: Target["agentsSecret"]) =>
  Object.fromEntries(entriesOf(secret).map(({ name, config }) => [name, config?.endpoints]));
/** What a Secret has of Submariner, in bytes. */
const submarinerIn = (secret: Target["agentsSecret"]) =>
  Object.fromEntries(Object.entries(textsOf(secret)).filter(([key]) => key in SUBMARINER));

/** A target that reaches c2 and c3, into which Submariner merged its peer then. */
function withSubmariner(version = "1.20", kvstoreMesh = true): Target {
  const empty = targetOf(version, { kvstoreMesh });
  const joined = applyPlan(empty, run(empty, [c2, c3]));
  const files = { ...textsOf(joined.agentsSecret), ...SUBMARINER };
  return { ...joined, agentsSecret: secretOf(files, joined.agentsSecret?.metadata?.annotations ?? {}) };
}

/** As `--migrate` of earlier versions left it: the config where kvstoremesh reads, and agents led to the copy. */
function moved(version = "1.18", kvstoreMesh = true): Target {
  const target = withSubmariner(version, true);
  const { submariner, ...files } = SUBMARINER;
  const agents = textsOf(target.agentsSecret);
  for (const key of Object.keys(files)) delete agents[key];
  agents.submariner = configText(OWN_CACHE, LOCAL);
  const fetched = { ...textsOf(target.kvstoremeshSecret), submariner, ...files };
  const noted = (secret: Target["agentsSecret"]) => secret?.metadata?.annotations ?? {};
  return {
    ...targetOf(version, { kvstoreMesh }),
    users: target.users,
    agentsSecret: secretOf(agents, noted(target.agentsSecret)),
    kvstoremeshSecret: secretOf(fetched, noted(target.kvstoremeshSecret), KVSTOREMESH_SECRET),
  };
}

test("a node-local peer is left unchanged by imports, prunes, migrations and disconnects of others", () => {
  const renewed = peerOf("c2", 2, { client: clientOf(caOf("c2"), "remote", 1) });
  const other = { text: "10.9.9.9:2379", endpoints: ["https://c2.mesh.cilium.io:2379"], hostAliases: [] };
  const calls: [what: string, peers: (typeof c2)[], options: Partial<PlanOptions>][] = [
    ["import", [c2, peerOf("c4", 4)], {}],
    ["rotate", [renewed], {}],
    ["--migrate", [], { migrate: true }],
    ["--migrate with a file", [renewed], { migrate: true }],
    ["--tls=peer", [renewed], { tls: "peer", migrate: true }],
    ["--prune", [c2], { prune: true }],
    ["--endpoint of another", [], { endpoints: new Map([["c2", other]]) }],
    ["disconnect another", [], { remove: new Set(["c2", "c3"]) }],
  ];
  for (const [version, kvstoreMesh] of [
    ["1.20", true],
    ["1.18", true],
    ["1.20", false],
    ["1.13", false],
  ] as const) {
    for (const [call, peers, options] of calls) {
      const what = `${call}, ${version}, KVStoreMesh ${kvstoreMesh}`;
      const target = withSubmariner(version, kvstoreMesh);
      const planned = run(target, peers, options);
      const after = applyPlan(target, planned);
      assert.deepEqual(submarinerIn(after.agentsSecret), SUBMARINER, what);
      assert.equal(endpointsIn(after.kvstoremeshSecret).submariner, undefined, what);
      assert.ok(!usersOf(after).includes("remote-submariner: remote"), what);
      assert.deepEqual(
        codes(planned).filter((one) => one.endsWith(" submariner")),
        [],
        what,
      );
      assert.deepEqual(planned.kept, options.prune ? ["submariner"] : [], what);
      assert.equal(planned.outcomes.get("submariner"), undefined, what);
    }
  }
});

test("after an upgrade that enables KVStoreMesh, --migrate moves only the other peers", () => {
  const { agentsSecret, users } = withSubmariner("1.15", false);
  const target = targetOf("1.18", { kvstoreMesh: true, agentsSecret, users });
  const planned = run(target, [], { migrate: true });
  assert.deepEqual(
    [...planned.outcomes],
    [
      ["c2", "moved"],
      ["c3", "moved"],
    ],
  );
  const after = applyPlan(target, planned);
  assert.deepEqual(submarinerIn(after.agentsSecret), SUBMARINER);
  assert.deepEqual(endpointsIn(after.agentsSecret), { c2: [OWN_CACHE], c3: [OWN_CACHE], submariner: [URL] });
  assert.deepEqual(Object.keys(endpointsIn(after.kvstoremeshSecret)), ["c2", "c3"]);
});

test("files shared with a removed peer are kept, for any notation of their path", () => {
  for (const path of ["shared.pem", "./shared.pem", "..data/shared.pem", "../clustermesh//shared.pem"]) {
    const files = {
      c9: configText("https://c9.mesh.cilium.io:2379", ["shared.pem", "c9.crt", "c9.key"]),
      "c9.crt": "x",
      "c9.key": "x",
      "shared.pem": caOf("c9").cert,
      submariner: configText(URL, [path, "s.crt", "s.key"]),
    };
    const target = targetOf("1.20", { agentsSecret: secretOf(files) });
    const after = applyPlan(target, run(target, [c2], { prune: true }));
    const { submariner, "shared.pem": shared } = files;
    assert.deepEqual(textsOf(after.agentsSecret).submariner, submariner);
    assert.equal(textsOf(after.agentsSecret)["shared.pem"], shared, path);
    assert.equal(textsOf(after.agentsSecret)["c9.crt"], undefined);
  }
});

test("a node-local peer is disconnected by name, with its files", () => {
  for (const target of [withSubmariner(), withSubmariner("1.20", false), moved()]) {
    const planned = run(target, [], { remove: new Set(["submariner"]) });
    assert.deepEqual([...planned.outcomes], [["submariner", "dropped"]]);
    const after = applyPlan(target, planned);
    for (const secret of [after.agentsSecret, after.kvstoremeshSecret]) assert.deepEqual(submarinerIn(secret), {});
    assert.deepEqual(Object.keys(endpointsIn(after.agentsSecret)), ["c2", "c3"]);
  }
});

test("an imported peer of that name keeps the existing config, is granted its user, and is reported", () => {
  const target = targetOf("1.20", {
    kvstoreMesh: true,
    agentsSecret: secretOf({ ...SUBMARINER, c2: SUBMARINER.submariner }),
  });
  const planned = run(target, [c2, c3]);
  assert.deepEqual(planned.kept, ["c2"]);
  assert.deepEqual([...planned.outcomes].sort(), [
    ["c2", "unchanged"],
    ["c3", "added"],
  ]);
  assert.deepEqual(planned.granted.sort(), ["remote-c2", "remote-c3"]);
  const after = applyPlan(target, planned);
  assert.equal(textsOf(after.agentsSecret).c2, SUBMARINER.submariner);
  assert.deepEqual(Object.keys(endpointsIn(after.kvstoremeshSecret)), ["c3"]);
  assert.deepEqual(brief(run(after, [c2, c3])), []);
  const replaced = applyPlan(after, run(after, [c2], { endpoints: new Map([["c2", null]]) }));
  assert.deepEqual(endpointsIn(replaced.agentsSecret).c2, [OWN_CACHE], "--endpoint c2= names it");
});

test("its cluster id is not required, and it counts as a peer", () => {
  const target = withSubmariner();
  assert.deepEqual(codes(run(target, [peerOf("c4", 4)])), []);
  const many = Array.from({ length: 252 }, (_, i) => peerOf(`d${i}`, i + 4));
  assert.deepEqual(codes(run(target, many)), ["too-many-peers undefined"]);
});

test("a peer moved to KVStoreMesh is moved back: first to the agents, then out of the other Secret", () => {
  for (const [version, kvstoreMesh] of [
    ["1.18", true],
    ["1.20", true],
    ["1.20", false],
  ] as const) {
    const target = moved(version, kvstoreMesh);
    assert.deepEqual(submarinerIn(applyPlan(target, run(target, [peerOf("c4", 4)])).kvstoremeshSecret), SUBMARINER);
    assert.deepEqual(run(target, [c2], { prune: true }).kept, ["submariner"]);
    const planned = run(target, [], { migrate: true });
    assert.equal(planned.outcomes.get("submariner"), "moved");
    assert.deepEqual(
      codes(planned).filter((one) => one.endsWith(" submariner")),
      [],
    );
    const secrets = brief(planned).filter((one) => one.includes("Secret"));
    assert.deepEqual(secrets.slice(-2), [
      `merge-patch Secret ${AGENTS_SECRET}`,
      `merge-patch Secret ${KVSTOREMESH_SECRET}`,
    ]);
    for (const tls of ["peer", "common"] as const) {
      const client = (of: Plan) => textsOf(applyPlan(target, of).agentsSecret)["submariner.etcd-client.crt"];
      assert.equal(client(run(target, [], { migrate: true, tls })), client(planned), `--tls=${tls} is for others`);
    }
    const between = applyPlan(target, planned, planned.changes.length - 1);
    assert.deepEqual(endpointsIn(between.agentsSecret).submariner, [URL]);
    const after = applyPlan(target, planned);
    const entry = entriesOf(after.agentsSecret).find(({ name }) => name === "submariner");
    assert.deepEqual(entry?.peer?.endpoints, [URL]);
    assert.deepEqual(entry?.peer?.client, clientOf(caOf("submariner")));
    assert.deepEqual(submarinerIn(after.kvstoremeshSecret), {});
    assert.ok(!usersOf(after).includes("remote-submariner: remote"));
    assert.deepEqual(brief(run(after, [], { migrate: true })), []);

    // Interrupted before the last write, another run completes, and leaves what agents have.
    const again = run(between, [], { migrate: true });
    assert.deepEqual(brief(again), [`merge-patch Secret ${KVSTOREMESH_SECRET}`]);
    assert.deepEqual(textsOf(applyPlan(between, again).agentsSecret), textsOf(after.agentsSecret));
  }
});

test("a peer that is moved back is not checked, and the agents' config takes precedence", () => {
  const dates = { notBefore: new Date(Date.now() - 9 * DAY), notAfter: new Date(Date.now() - DAY) };
  const expired = freshClient(caOf("submariner"), dates);
  const target = moved();
  const files = { ...textsOf(target.kvstoremeshSecret), "submariner-client.pem": expired.cert };
  const planned = run({ ...target, kvstoremeshSecret: secretOf(files, {}, KVSTOREMESH_SECRET) }, [], { migrate: true });
  assert.deepEqual([planned.outcomes.get("submariner"), codes(planned)], ["moved", []]);

  const direct = applyPlan(targetOf("1.15"), run(targetOf("1.15"), [c2])).agentsSecret;
  const fetched = secretOf({ ...SUBMARINER, c2: SUBMARINER.submariner }, {}, KVSTOREMESH_SECRET);
  const both = targetOf("1.18", { kvstoreMesh: true, agentsSecret: direct, kvstoremeshSecret: fetched });
  for (const plans of [run(both, [], { migrate: true }), run(both, [c2])]) {
    assert.deepEqual(plans.kept, []);
    assert.deepEqual(endpointsIn(applyPlan(both, plans).kvstoremeshSecret).c2, c2.peer.endpoints);
    assert.deepEqual(endpointsIn(applyPlan(both, plans).agentsSecret).c2, [OWN_CACHE]);
  }
});

const tunnel = (text = "127.0.0.1:15379") => ({ text, endpoints: [`https://${text}`], hostAliases: [] });
const named = (given: ReturnType<typeof tunnel> | null) => ({ endpoints: new Map([["c2", given]]) });

test("--endpoint NAME=127.0.0.1:PORT adds the peer to the agents alone, now and in later imports", () => {
  for (const [version, kvstoreMesh] of [
    ["1.18", true],
    ["1.20", true],
    ["1.20", false],
  ] as const) {
    const empty = targetOf(version, { kvstoreMesh });
    const joined = applyPlan(empty, run(empty, [c2, c3]));
    for (const target of [empty, joined]) {
      const planned = run(target, [c2], named(tunnel()));
      assert.deepEqual(codes(planned), []);
      const after = applyPlan(target, planned);
      assert.deepEqual(endpointsIn(after.agentsSecret).c2, ["https://127.0.0.1:15379"]);
      assert.equal(endpointsIn(after.kvstoremeshSecret).c2, undefined);
      assert.match(recordsOf(after.agentsSecret) ?? "", /"c2":\{"id":2,"max":255,"endpoint":"127\.0\.0\.1:15379"\}/);
      assert.ok(usersOf(after).includes("remote-c2: remote"), "its cluster connects to this one too");

      const again = run(after, [c2]);
      assert.deepEqual([brief(again), [...again.keptOverrides]], [[], [["c2", "127.0.0.1:15379"]]]);
      const renewed = peerOf("c2", 2, { client: clientOf(caOf("c2"), "remote", 2) });
      const rotated = applyPlan(after, run(after, [renewed]));
      assert.deepEqual(entriesOf(rotated.agentsSecret)[0]?.peer?.client, renewed.peer.client);
      assert.deepEqual(endpointsIn(rotated.agentsSecret).c2, ["https://127.0.0.1:15379"]);
      assert.equal(endpointsIn(rotated.kvstoremeshSecret).c2, undefined);

      assert.deepEqual(brief(run(after, [], { migrate: true })), []);
      assert.deepEqual(run(after, [c3], { prune: true }).kept, ["c2"]);
      const back = applyPlan(after, run(after, [c2], named(null)));
      assert.deepEqual(endpointsIn(back.agentsSecret).c2, kvstoreMesh ? [OWN_CACHE] : c2.peer.endpoints);
      assert.deepEqual(endpointsIn(back.kvstoremeshSecret).c2, kvstoreMesh ? c2.peer.endpoints : undefined);
    }
  }
});

test("a peer moves to its tunnel and back, and agents always have a config", () => {
  const empty = targetOf("1.20", { kvstoreMesh: true });
  const joined = applyPlan(empty, run(empty, [c2]));
  const there = run(joined, [c2], named(tunnel()));
  assert.deepEqual(brief(there), [`merge-patch Secret ${AGENTS_SECRET}`, `merge-patch Secret ${KVSTOREMESH_SECRET}`]);
  const between = applyPlan(joined, there, 1);
  assert.deepEqual(endpointsIn(between.kvstoremeshSecret).c2, c2.peer.endpoints);
  assert.deepEqual(brief(run(between, [c2])), [`merge-patch Secret ${KVSTOREMESH_SECRET}`], "another run completes");
  const tunnelled = applyPlan(joined, there);
  const back = run(tunnelled, [c2], named(null));
  assert.deepEqual(brief(back), [`merge-patch Secret ${KVSTOREMESH_SECRET}`, `merge-patch Secret ${AGENTS_SECRET}`]);
  assert.deepEqual(endpointsIn(applyPlan(tunnelled, back, 1).agentsSecret).c2, ["https://127.0.0.1:15379"]);
});

test("with KVStoreMesh a node-local peer uses the target's files as its agents mount them", () => {
  const ofOneCa: Partial<Peer> = { ca: { pem: caOf("own").cert }, client: clientOf(caOf("own")) };
  const peer = peerOf("c2", 2, ofOneCa);
  const clientIn = (target: Target) =>
    entriesOf(applyPlan(target, run(target, [peer], named(tunnel()))).agentsSecret)[0]?.peer?.client;
  assert.equal(clientIn(targetOf("1.18", { kvstoreMesh: true })), "importer");
  const other = targetOf("1.18", { kvstoreMesh: true, agentsCommon: { ca: caOf("other").cert } });
  assert.deepEqual(clientIn(other), peer.peer.client);
});

test("a loopback address in --endpoint is written unchanged if the certificate covers it", async () => {
  const resolve = async () => ["127.0.0.1"];
  const out = (given: string[], serverNames?: string[]) =>
    resolveOverride({ ...c2.peer, facts: { ...c2.peer.facts, ...(serverNames && { serverNames }) } }, given, resolve);
  assert.deepEqual(await out(["127.0.0.1:15379"]), { ...tunnel(), warnings: [] });
  assert.deepEqual((await out(["[::1]:15379"])).endpoints, ["https://[::1]:15379"]);
  assert.deepEqual((await out(["localhost:15379"], ["localhost"])).endpoints, ["https://localhost:15379"]);
  const refused: [given: string[], message: RegExp][] = [
    [["127.0.0.2:15379"], /certificate of cluster "c2" does not cover 127\.0\.0\.2, only/],
    [["localhost:15379"], /does not cover localhost/],
    [["127.0.0.1:15379", "10.0.0.1:15379"], /mixes loopback addresses with others/],
    [["127.0.0.1"], /must be HOST:PORT/],
  ];
  for (const [given, message] of refused) {
    await assert.rejects(
      out(given),
      (error) => error instanceof UserError && error.exitCode === 2 && message.test(error.message),
    );
  }
  const aliased = await out(["c2.mesh.cilium.io:15379", "127.0.0.1:15379"]);
  assert.deepEqual(aliased.endpoints, ["https://c2.mesh.cilium.io:15379"], "a name is a name");
});

test("no workload gets a host alias for localhost", () => {
  const aliases = [{ hostname: "localhost", ips: ["127.0.0.1"] }];
  const target = targetOf("1.18", { kvstoreMesh: true, aliases });
  const planned = run(target, [c2], named(tunnel("localhost:15379")));
  assert.deepEqual(endpointsIn(applyPlan(target, planned).agentsSecret).c2, ["https://localhost:15379"]);
  assert.deepEqual(
    brief(planned).filter((one) => !/Secret|ConfigMap/.test(one)),
    [],
  );
});
