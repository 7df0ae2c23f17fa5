/** The state after an upgrade, and its migration with --migrate. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Plan, plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { isOwnCache } from "../../lib/peer/etcd-config.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, type Peer } from "../../lib/peer/peer.ts";
import { readEntries } from "../../lib/peer/secret.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { caOf, clientOf } from "../support/material.ts";
import { entriesOf, filesOf, recordsOf, usersOf } from "../support/plans.ts";
import { COMMON, configText, LOCAL, OPTIONS, peerOf, secretOf, targetOf, textsOf } from "../support/targets.ts";

const c2 = peerOf("c2", 2);
const c3 = peerOf("c3", 3);
const OWN_CACHE = "https://clustermesh-apiserver.kube-system.svc:2379";

const imported = (target: Target, ...peers: (typeof c2)[]) =>
  applyPlan(target, plan(target, peers, { ...OPTIONS, restarts: "all" }));
const migrate = (target: Target, options: Partial<typeof OPTIONS> = {}): Plan =>
  plan(target, [], { ...OPTIONS, migrate: true, ...options });
const brief = ({ changes }: Plan) => changes.map(({ verb, kind, name }) => `${verb} ${kind} ${name}`);
const codes = ({ findings }: Plan) => findings.map(({ code, key }) => `${code} ${key}`);
const endpointsIn = (secret: Target["agentsSecret"]) =>
  Object.fromEntries(entriesOf(secret).map(({ name, config }) => [name, config?.endpoints]));
/** Migrates, and checks that a second migration changes nothing. */
function migrated(target: Target, options: Partial<typeof OPTIONS> = {}): Target {
  const after = applyPlan(target, migrate(target, options));
  assert.deepEqual(brief(migrate(after, options)), []);
  return after;
}

test("KVStoreMesh enabled by an upgrade: peers are moved before agents read the copy", () => {
  const before = imported(targetOf("1.15"), c2, c3);
  const target = targetOf("1.16", { kvstoreMesh: true, agentsSecret: before.agentsSecret, users: before.users });
  const planned = migrate(target);
  assert.deepEqual(brief(planned), [
    "json-patch Deployment clustermesh-apiserver",
    "create Secret cilium-kvstoremesh",
    "merge-patch Secret cilium-clustermesh",
  ]);
  assert.deepEqual(
    [...planned.outcomes],
    [
      ["c2", "moved"],
      ["c3", "moved"],
    ],
  );
  assert.deepEqual(codes(planned), []);
  const after = migrated(target);
  assert.deepEqual(endpointsIn(after.agentsSecret), { c2: [OWN_CACHE], c3: [OWN_CACHE] });
  assert.deepEqual(
    entriesOf(after.kvstoremeshSecret).map(({ name, peer }) => [name, peer?.endpoints, peer?.client]),
    entriesOf(before.agentsSecret).map(({ name, peer }) => [name, peer?.endpoints, peer?.client]),
  );
  assert.deepEqual(recordsOf(after.kvstoremeshSecret), recordsOf(before.agentsSecret));
  assert.equal(recordsOf(after.agentsSecret), undefined);
  assert.deepEqual(Object.keys(textsOf(after.agentsSecret)), ["c2", "c3"], "no key stays behind");
});

test("KVStoreMesh disabled: agents get the peers' configs before the other Secret is emptied", () => {
  const before = imported(targetOf("1.17", { kvstoreMesh: true }), c2, c3);
  const { agentsSecret, kvstoremeshSecret } = before;
  const target = targetOf("1.18", { agentsSecret, kvstoremeshSecret, users: before.users });
  const planned = migrate(target, { restarts: "all" });
  assert.deepEqual(brief(planned), [
    "json-patch DaemonSet cilium",
    "merge-patch Secret cilium-clustermesh",
    "merge-patch Secret cilium-kvstoremesh",
  ]);
  const after = migrated(target, { restarts: "all" });
  assert.deepEqual(textsOf(after.kvstoremeshSecret), {});
  assert.deepEqual(endpointsIn(after.agentsSecret), endpointsIn(kvstoremeshSecret));
  assert.deepEqual(recordsOf(after.agentsSecret), recordsOf(kvstoremeshSecret));
});

test("1.16 to 1.17: agents read the copy with the local files", () => {
  const before = imported(targetOf("1.16", { kvstoreMesh: true }), c2);
  const { agentsSecret, kvstoremeshSecret, users } = before;
  const target = targetOf("1.17", { kvstoreMesh: true, agentsSecret, kvstoremeshSecret, users, resolvers: [] });
  assert.deepEqual(brief(migrate(target)), ["merge-patch Secret cilium-clustermesh"]);
  const config = textsOf(migrated(target).agentsSecret).c2 ?? "";
  for (const file of LOCAL) assert.ok(config.includes(file), `${file} in ${config}`);
});

test("users are granted if they are managed after the upgrade", () => {
  const { agentsSecret } = imported(targetOf("1.20", { takesUsers: false }), c2, c3);
  const target = targetOf("1.20", { agentsSecret });
  assert.deepEqual(brief(migrate(target)), ["create ConfigMap clustermesh-remote-users"]);
  assert.deepEqual(usersOf(migrated(target)), ["remote-c2: remote", "remote-c3: remote"]);
  assert.deepEqual(brief(migrate(target, { users: false })), []);
});

test("1.20: host aliases are copied from the workloads to the configs", () => {
  const config = configText("https://c2.mesh.cilium.io:2379", COMMON);
  const target = targetOf("1.20", {
    agentsSecret: secretOf({ c2: config }),
    aliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.0.0.2"] }],
    takesUsers: false,
  });
  assert.deepEqual(brief(migrate(target)), ["merge-patch Secret cilium-clustermesh"]);
  const [entry] = entriesOf(migrated(target).agentsSecret);
  assert.deepEqual(entry?.config?.hostAliases, target.aliases);
  // Cilium reads them from the config since 1.20.
  assert.deepEqual(brief(migrate({ ...target, facts: { ...target.facts, version: "1.19.1" } })), []);
});

test("KVStoreMesh enabled before 1.20: the agents' host aliases are added to the workload that reads the configs", () => {
  const target = targetOf("1.16", {
    kvstoreMesh: true,
    agentsSecret: secretOf({ c2: configText("https://c2.mesh.cilium.io:2379", COMMON) }),
    aliases: [{ hostname: "c2.mesh.cilium.io", ips: ["10.0.0.2"] }],
  });
  const planned = migrate(target);
  assert.deepEqual(codes(planned), []);
  const after = migrated(target);
  assert.deepEqual(after.resolvers[0]?.hostAliases, [{ ip: "10.0.0.2", hostnames: ["c2.mesh.cilium.io"] }]);
  // If the workload may not be patched, a working connection is kept, also by an import of the peer.
  for (const planned of [
    migrate(target, { restarts: "none" }),
    plan(target, [c2], { ...OPTIONS, restarts: "none", users: false }),
  ]) {
    assert.equal(planned.missing.length, 1);
    assert.deepEqual([...planned.outcomes], [["c2", "held"]]);
    assert.deepEqual(
      brief(planned).filter((change) => change.includes("Secret")),
      [],
    );
  }
});

test("KVStoreMesh enabled, a peer in both Secrets: the agents' config is not replaced by one that cannot connect", () => {
  const direct = imported(targetOf("1.15"), c2).agentsSecret;
  const turned = (kvstoremeshSecret: Target["kvstoremeshSecret"]) =>
    targetOf("1.20", { kvstoreMesh: true, agentsSecret: direct, kvstoremeshSecret, takesUsers: false });
  const copied = (files: Record<string, string>) => secretOf(files, {}, KVSTOREMESH_SECRET);
  const files = ["c2-ca.crt", "c2.crt", "c2.key"] as const;
  const { ca, client } = c2.peer as Peer & { ca: { pem: string }; client: { cert: string; key: string } };
  const tls = { "c2-ca.crt": ca.pem, "c2.crt": client.cert, "c2.key": client.key };

  for (const broken of [
    copied({ c2: configText("https://c2.example:2379", files), ...tls, "c2-ca.crt": "" }),
    copied({ c2: configText("https://c2.example:2379", files), "c2-ca.crt": ca.pem }),
  ]) {
    const after = migrated(turned(broken));
    assert.deepEqual(endpointsIn(after.kvstoremeshSecret), { c2: c2.peer.endpoints });
    assert.deepEqual(endpointsIn(after.agentsSecret), { c2: [OWN_CACHE] });
  }
  // Both can connect: ambiguous.
  const other = turned(copied({ c2: configText("https://old.example:2379", files), ...tls }));
  assert.deepEqual(codes(migrate(other)), ["existing-unusable c2"]);
  const after = migrated(other);
  assert.deepEqual(textsOf(after.agentsSecret), textsOf(other.agentsSecret));
  assert.deepEqual(textsOf(after.kvstoremeshSecret), textsOf(other.kvstoremeshSecret));
  assert.deepEqual(endpointsIn(migrated(turned(undefined)).agentsSecret), { c2: [OWN_CACHE] });
});

test("a config with unsupported fields is left unchanged and reported", () => {
  const text = `${configText("https://c2.mesh.cilium.io:2379", COMMON)}insecure-skip-tls-verify: true\ndial-timeout: 5s\n`;
  const target = targetOf("1.20", { agentsSecret: secretOf({ c2: text }), takesUsers: false });
  const planned = migrate(target);
  assert.deepEqual(brief(planned), []);
  assert.deepEqual(codes(planned), ["config-fields-ignored c2"]);
  assert.match(planned.findings[0]?.message ?? "", /unsupported fields: dial-timeout, insecure-skip-tls-verify$/);
  const endpoints = new Map([["c2", { url: "https://x:1", hostAliases: [] }]]);
  const given = plan(target, [], { ...OPTIONS, endpoints: endpoints as never });
  assert.deepEqual(codes(given), ["endpoint-needs-file c2"]);
});

test("the layout of the old scripts is replaced by ours in one change of the Secret", () => {
  const { ca, client } = c2.peer;
  assert.ok(typeof ca === "object" && typeof client === "object", "with its own certificates");
  const old = secretOf({
    c2: `${configText("https://c2.mesh.cilium.io:2379", ["c2-ca.crt", "c2.crt", "c2.key"])}# by hand\n`,
    "c2-ca.crt": ca.pem,
    "c2.crt": client.cert,
    "c2.key": client.key,
    README: "foreign",
  });
  const target = targetOf("1.20", { agentsSecret: old, takesUsers: false });
  const after = textsOf(migrated(target).agentsSecret);
  const keys = Object.keys(after).sort();
  assert.deepEqual(
    keys.map((key) => key.replace(/^ca-[0-9a-f]{16}/, "ca-HASH")),
    ["README", "c2", "c2.etcd-client.crt", "c2.etcd-client.key", "ca-HASH.crt"],
  );
  assert.equal(after["c2.etcd-client.key"], client.key);
  assert.equal(migrate(target).changes.length, 1);
});

test("existing peers that cannot connect are reported and do not block a migration", () => {
  const { client } = c3.peer as Peer & { client: { cert: string; key: string } };
  const files = {
    c2: configText("https://c2.example:2379", ["c2.etcd-client-ca.crt", "c2.etcd-client.crt", "c2.etcd-client.key"]),
    "c2.etcd-client-ca.crt": "",
    "c2.etcd-client.crt": client.cert,
    "c2.etcd-client.key": client.key,
    c4: configText("https://c4.example:2379", ["c4-ca.crt", "c4.crt", "c4.key"]),
    c5: configText(OWN_CACHE, LOCAL),
    "Not.Legal": configText("https://c6.example:2379", COMMON),
  };
  const target = targetOf("1.20", { kvstoreMesh: true, agentsSecret: secretOf(files), takesUsers: false });
  const planned = migrate(target);
  assert.deepEqual(codes(planned), [
    "existing-unusable Not.Legal",
    "existing-unusable c4",
    "existing-unusable c5",
    "existing-unusable c2",
  ]);
  const messages = planned.findings.map(({ message }) => message).join("\n");
  assert.match(messages, /existing config of c2 cannot connect: the CA file contains no certificate/);
  assert.match(
    messages,
    /existing config of c4 cannot connect: trusted-ca-file refers to c4-ca\.crt, which is missing from the Secret/,
  );
  assert.match(messages, /c5 is missing from secret\/cilium-kvstoremesh: .* only refers to the cache/);
  assert.match(messages, /invalid cluster name "Not\.Legal"/);
  assert.deepEqual([...planned.outcomes], [["c2", "moved"]]);
  const after = migrated(target);
  for (const name of ["c4", "c5", "Not.Legal"]) {
    assert.equal(textsOf(after.agentsSecret)[name], files[name as keyof typeof files], name);
  }
});

test("a migration does not compare cluster ids and maxima", () => {
  const peers = { c2: { id: 1, max: 511 }, c3: { id: 1 } };
  const agentsSecret = secretOf(
    Object.fromEntries(["c2", "c3"].map((name) => [name, configText(`https://${name}.example:2379`, COMMON)])),
    { "clustermesh-secrets/peers": JSON.stringify(peers) },
  );
  assert.deepEqual(codes(migrate(targetOf("1.20", { agentsSecret, takesUsers: false }))), []);
});

test("--tls=common removes the keys of existing peers if the CA is shared", () => {
  const own = caOf("own");
  const ofOneCa = peerOf("c2", 2, { ca: { pem: own.cert }, client: clientOf(own) });
  const target = imported(targetOf("1.20"), ofOneCa);
  const withKeys = applyPlan(target, plan(target, [ofOneCa], { ...OPTIONS, tls: "peer" }));
  assert.ok("c2.etcd-client.key" in textsOf(withKeys.agentsSecret), "the Secret has a key");
  const after = migrated(withKeys, { tls: "common" });
  assert.deepEqual(Object.keys(textsOf(after.agentsSecret)), ["c2"]);
});

test("an import with --migrate writes files and existing peers", () => {
  const before = imported(targetOf("1.15"), c2);
  const target = targetOf("1.20", { kvstoreMesh: true, agentsSecret: before.agentsSecret, users: before.users });
  const planned = plan(target, [c3], { ...OPTIONS, migrate: true });
  assert.deepEqual(
    [...planned.outcomes],
    [
      ["c3", "added"],
      ["c2", "moved"],
    ],
  );
  const after = applyPlan(target, planned);
  assert.deepEqual(
    readEntries({ files: filesOf(after.agentsSecret) }, {}, "").map(({ name, config }) => [
      name,
      isOwnCache(config?.endpoints ?? []),
    ]),
    [
      ["c2", true],
      ["c3", true],
    ],
  );
  assert.deepEqual(brief(plan(target, [c3], OPTIONS)).includes(`merge-patch Secret ${AGENTS_SECRET}`), true);
  assert.equal(after.kvstoremeshSecret?.metadata?.name, KVSTOREMESH_SECRET);
});
