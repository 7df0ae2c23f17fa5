import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import type { V1HostAlias } from "@kubernetes/client-node";
import type { Change } from "../../lib/import/plan/change.ts";
import { type Plan, type PlanOptions, plan } from "../../lib/import/plan/plan.ts";
import { MAX_ANNOTATION_BYTES, MAX_DATA_BYTES } from "../../lib/import/plan/secrets.ts";
import type { Target, Workload } from "../../lib/import/plan/target.ts";
import { isOwnCache } from "../../lib/peer/etcd-config.ts";
import type { FindingCode } from "../../lib/peer/finding-codes.ts";
import { hasErrors } from "../../lib/peer/findings.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, type Peer, versionAtLeast } from "../../lib/peer/peer.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { caOf, clientOf, rsaCaOf, withSerial } from "../support/material.ts";
import { recordsOf, usersConfigMap, usersOf } from "../support/plans.ts";
import {
  COMMON,
  configText,
  LOCAL,
  OPTIONS,
  peerOf,
  secretOf,
  targetOf,
  textsOf,
  VERSIONS,
} from "../support/targets.ts";

const PEERS = "clustermesh-secrets/peers";
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";
const MOUNT = "/var/lib/cilium/clustermesh/";

const c2 = peerOf("c2", 2);
const c3 = peerOf("c3", 3);
const shared = caOf("own");
/** A peer whose CA is the target's, and CN `remote` its certificate's. */
const ofOneCa = (name: string, id: number) => peerOf(name, id, { ca: { pem: shared.cert }, client: clientOf(shared) });

const brief = (change: Change) => `${change.verb} ${change.kind} ${change.name}`;
const codes = ({ findings }: Plan): [FindingCode, string, string | undefined][] =>
  findings.map(({ code, source, key }) => [code, source, key]);
const errors = ({ findings }: Plan) => findings.filter(({ severity }) => severity === "error").map(({ code }) => code);
const run = (target: Target, peers: SourcedPeer[], options: Partial<PlanOptions> = {}) =>
  plan(target, peers, { ...OPTIONS, ...options });
/** Plans, checks that the plan has no errors, and applies it. */
function imported(target: Target, peers: SourcedPeer[], options: Partial<PlanOptions> = {}): Target {
  const planned = run(target, peers, options);
  assert.deepEqual(errors(planned), []);
  return applyPlan(target, planned);
}

test("each version gets the files it reads, with and without KVStoreMesh and users", () => {
  for (const version of VERSIONS) {
    const at = (minimum: string) => versionAtLeast(version, minimum) === true;
    for (const kvstoreMesh of at("1.14") ? [false, true] : [false]) {
      for (const users of [true, false]) {
        const what = `${version} kvstoreMesh=${kvstoreMesh} users=${users}`;
        const target = targetOf(version, { kvstoreMesh });
        const planned = run(target, [c2], { users, restarts: "all" });
        assert.deepEqual(codes(planned), [], what);
        assert.deepEqual(
          planned.changes.map(brief),
          [
            ...(at("1.20")
              ? []
              : [kvstoreMesh ? "json-patch Deployment clustermesh-apiserver" : "json-patch DaemonSet cilium"]),
            ...(kvstoreMesh ? ["create Secret cilium-kvstoremesh"] : []),
            "create Secret cilium-clustermesh",
            ...(users && at("1.14") ? ["create ConfigMap clustermesh-remote-users"] : []),
          ],
          what,
        );
        const after = applyPlan(target, planned);
        const [remote, cache] = kvstoreMesh
          ? [after.kvstoremeshSecret, after.agentsSecret]
          : [after.agentsSecret, undefined];
        const ca = Object.keys(textsOf(remote)).find((key) => key.startsWith("ca-")) ?? "";
        assert.deepEqual(
          textsOf(remote),
          {
            [ca]: caOf("c2").cert,
            "c2.etcd-client.crt": clientOf(caOf("c2")).cert,
            "c2.etcd-client.key": clientOf(caOf("c2")).key,
            c2:
              `endpoints:\n- https://c2.mesh.cilium.io:32379\ntrusted-ca-file: ${MOUNT}${ca}\n` +
              `cert-file: ${MOUNT}c2.etcd-client.crt\nkey-file: ${MOUNT}c2.etcd-client.key\n` +
              "cilium-host-aliases:\n- hostname: c2.mesh.cilium.io\n  ips:\n  - 10.0.0.2\n",
          },
          what,
        );
        const own = at("1.17") ? "local" : "common";
        assert.deepEqual(
          textsOf(cache),
          kvstoreMesh
            ? {
                c2:
                  `endpoints:\n- https://clustermesh-apiserver.kube-system.svc:2379\ntrusted-ca-file: ${MOUNT}${own}-etcd-client-ca.crt\n` +
                  `cert-file: ${MOUNT}${own}-etcd-client.crt\nkey-file: ${MOUNT}${own}-etcd-client.key\n`,
              }
            : {},
          what,
        );
        assert.equal(recordsOf(remote), '{"c2":{"id":2,"max":255}}', what);
        assert.equal(recordsOf(cache), undefined, what);
        const agentsUser = kvstoreMesh && at("1.14") && !at("1.17") ? ["remote-own: remote"] : [];
        assert.deepEqual(usersOf(after), users && at("1.14") ? ["remote-c2: remote", ...agentsUser].sort() : [], what);
        assert.deepEqual(
          planned.granted,
          users && at("1.14") ? ["remote-c2", ...agentsUser.map(() => "remote-own")] : [],
          what,
        );
        assert.deepEqual(
          after.resolvers.map(({ hostAliases }) => hostAliases),
          at("1.20") ? [] : [[{ ip: "10.0.0.2", hostnames: ["c2.mesh.cilium.io"] }]],
          what,
        );
        assert.deepEqual([...planned.outcomes], [["c2", "added"]], what);
        const again = run(after, [c2], { users, restarts: "all" });
        assert.deepEqual([again.changes, [...again.outcomes]], [[], [["c2", "unchanged"]]], what);
      }
    }
  }
});

test("if Cilium's version is unknown, agents get the mounted files, with a warning", () => {
  for (const [localMounted, expected] of [
    [true, "local"],
    [false, "common"],
  ] as const) {
    const { version: _, ...facts } = targetOf("1.18", { kvstoreMesh: true }).facts;
    const target = { ...targetOf("1.18", { kvstoreMesh: true }), facts, localMounted };
    const planned = run(target, [c2]);
    assert.deepEqual(codes(planned), [["version-unknown", "own", undefined]]);
    assert.match(
      textsOf(applyPlan(target, planned).agentsSecret).c2 ?? "",
      new RegExp(`/${expected}-etcd-client-ca.crt`),
    );
  }
});

test("objects are written to Cilium's namespace", () => {
  const after = imported(targetOf("1.20", { kvstoreMesh: true, namespace: "cilium" }), [c2]);
  assert.match(textsOf(after.agentsSecret).c2 ?? "", /https:\/\/clustermesh-apiserver\.cilium\.svc:2379\n/);
  assert.equal(after.users?.metadata?.namespace, "cilium");
});

test("the users ConfigMap is written if a volume mounts it, in any version", () => {
  const none = imported(targetOf("1.18", { takesUsers: false }), [c2]);
  assert.equal(none.users, undefined);
  const some = imported(targetOf("1.13", { takesUsers: true }), [c2]);
  assert.deepEqual(usersOf(some), ["remote-c2: remote"]);
});

test("existing users are kept and not granted again", () => {
  const existing = usersConfigMap("users:\n- name: remote-own\n  role: remote\n- name: remote-c3\n  role: other\n");
  const target = targetOf("1.16", { kvstoreMesh: true, users: existing });
  const planned = run(target, [c2, c3]);
  assert.deepEqual(planned.granted, ["remote-c2"]);
  const after = applyPlan(target, planned);
  assert.deepEqual(usersOf(after), ["remote-own: remote", "remote-c3: other", "remote-c2: remote"]);
  assert.equal(after.users?.metadata?.annotations?.["clustermesh-secrets/users"], "c2");
  // A chart of 1.17 and later lets no remote-<own> in; one before does, also where the file is missing in the ConfigMap.
  assert.deepEqual(usersOf(imported(targetOf("1.16", { kvstoreMesh: true, users: usersConfigMap(undefined) }), [c2])), [
    "remote-c2: remote",
    "remote-own: remote",
  ]);
  assert.deepEqual(usersOf(imported(targetOf("1.17", { kvstoreMesh: true, users: usersConfigMap(undefined) }), [c2])), [
    "remote-c2: remote",
  ]);
});

test("an invalid users file stops the import, unless users are disabled", () => {
  for (const content of ["users: [", "users: *x\n", "text", "- a\n", "users: {}\n"]) {
    const target = targetOf("1.20", { users: usersConfigMap(content) });
    const planned = run(target, [c2]);
    assert.deepEqual(codes(planned), [["users-invalid", "own", "clustermesh-remote-users"]], content);
    assert.match(planned.findings[0]?.remedy ?? "", /--no-users/);
    const without = run(target, [c2], { users: false });
    assert.deepEqual(codes(without), []);
    assert.deepEqual(without.changes.map(brief), ["create Secret cilium-clustermesh"]);
  }
});

test("the target's own file is skipped, and a peer with its name and another id, or the reverse, is an error", () => {
  const own = (name: string, facts: Peer["facts"]) => peerOf(name, 1, { facts });
  const table: [what: string, candidate: SourcedPeer, skipped: boolean, codes: FindingCode[]][] = [
    ["name and id", own("own", { name: "own", id: 1 }), true, []],
    ["the name, and no id", own("own", {}), true, []],
    ["the name, and another id", own("own", { name: "own", id: 2 }), false, ["name-of-target"]],
    ["the id, and another name", own("c9", { name: "c9", id: 1 }), false, ["id-of-target"]],
  ];
  for (const [what, candidate, skipped, expected] of table) {
    const planned = run(targetOf("1.20"), [candidate, c2]);
    assert.equal(planned.skippedSelf, skipped, what);
    assert.deepEqual(
      planned.findings.map(({ code }) => code),
      expected,
      what,
    );
    assert.equal(hasErrors(planned.findings), expected.length > 0);
    assert.equal(planned.outcomes.has("own"), false, what);
  }
  const only = run(targetOf("1.20"), [own("own", {})]);
  assert.deepEqual([only.changes, only.skippedSelf, only.findings], [[], true, []]);
});

test("existing peers are compared by their recorded facts, and peers without a record are reported", () => {
  const existing = {
    c3: configText("https://10.0.0.3:1", COMMON),
    c4: configText("https://10.0.0.4:1", COMMON),
    own: configText("https://10.0.0.1:1", COMMON),
  };
  const of = (annotation: string, kvstoreMesh: boolean) => {
    const secret = secretOf(existing, { [PEERS]: annotation }, kvstoreMesh ? KVSTOREMESH_SECRET : AGENTS_SECRET);
    return targetOf("1.20", { kvstoreMesh, [kvstoreMesh ? "kvstoremeshSecret" : "agentsSecret"]: secret });
  };
  for (const kvstoreMesh of [false, true]) {
    const all = '{"c3":{"id":3,"max":255},"c4":{"id":4,"max":255}}';
    assert.deepEqual(codes(run(of(all, kvstoreMesh), [c2])), []);
    const partly = run(of('{"c3":{"id":3,"max":255}}', kvstoreMesh), [c2]);
    assert.deepEqual(codes(partly), [["id-unknown", "own", "c4"]]);
    assert.deepEqual(
      partly.findings.map(({ existing, message }) => [existing, message]),
      [[true, "cluster id of existing peer c4 is unknown, so duplicates cannot be detected"]],
    );
    // The import compares no facts for the first time, so it reports none: status does.
    const known = '{"c2":{"id":2,"max":255},"c3":{"id":3,"max":255}}';
    assert.deepEqual(codes(run(of(known, kvstoreMesh), [c2])), []);
    assert.deepEqual(codes(run(of("{}", kvstoreMesh), [peerOf("c2", 2, { facts: {} })])), [
      ["id-unknown", "c2-secret.json", "c2"],
    ]);
    assert.deepEqual(codes(run(of(all.replace('"id":3', '"id":2'), kvstoreMesh), [c2])), [
      ["id-duplicate", "c2-secret.json", "c2"],
    ]);
    assert.deepEqual(codes(run(of(all.replace("255", "511"), kvstoreMesh), [c2])), [["maximum-differs", "own", "c3"]]);
    // A peer that is among the files is judged by its file.
    assert.deepEqual(codes(run(of(all.replace('"id":3', '"id":2'), kvstoreMesh), [c2, c3])), []);
  }
});

test("recorded facts are kept if a file lacks them", () => {
  const first = imported(targetOf("1.20"), [c2]);
  const poor = peerOf("c2", 2, { facts: {} });
  const planned = run(first, [poor]);
  assert.deepEqual([planned.changes, planned.findings], [[], []]);
  const moved = imported(first, [{ ...poor, peer: { ...poor.peer, endpoints: ["https://c2.mesh.cilium.io:1"] } }]);
  assert.equal(recordsOf(moved.agentsSecret), '{"c2":{"id":2,"max":255}}');
  const renumbered = imported(first, [peerOf("c2", 9)]);
  assert.equal(recordsOf(renumbered.agentsSecret), '{"c2":{"id":9,"max":255}}');
  // And so with the peer's id, another one is refused.
  assert.deepEqual(codes(run(first, [poor, peerOf("c5", 2)])), [["id-duplicate", "c5-secret.json", "c5"]]);
});

test("a Secret has records of exactly its own peers", () => {
  const existing = secretOf(
    { c3: configText("https://10.0.0.3:1", COMMON) },
    { [PEERS]: '{"c3":{"id":3},"gone":{"id":7}}' },
  );
  assert.equal(
    recordsOf(imported(targetOf("1.20", { agentsSecret: existing }), [c2]).agentsSecret),
    '{"c2":{"id":2,"max":255},"c3":{"id":3}}',
  );
  // With KVStoreMesh, those that agents still reach by themselves stay known (an upgrade to 1.16 leaves them so).
  const mixed = imported(targetOf("1.16", { kvstoreMesh: true, agentsSecret: existing }), [c2]);
  assert.deepEqual(
    [recordsOf(mixed.kvstoremeshSecret), recordsOf(mixed.agentsSecret)],
    ['{"c2":{"id":2,"max":255}}', '{"c3":{"id":3}}'],
  );
  const both = imported(mixed, [c3]);
  assert.deepEqual(
    [recordsOf(both.kvstoremeshSecret), recordsOf(both.agentsSecret)],
    ['{"c2":{"id":2,"max":255},"c3":{"id":3,"max":255}}', undefined],
  );
});

test("a peer that moves to KVStoreMesh is written there before the agents' entry is replaced", () => {
  const before = imported(targetOf("1.15"), [c2, c3]);
  const target = { ...targetOf("1.16", { kvstoreMesh: true }), agentsSecret: before.agentsSecret };
  const planned = run(target, [c2]);
  const secrets = planned.changes.filter(({ kind }) => kind === "Secret").map(brief);
  assert.deepEqual(secrets, ["create Secret cilium-kvstoremesh", "merge-patch Secret cilium-clustermesh"]);
  assert.deepEqual([...planned.outcomes], [["c2", "moved"]]);
  const after = textsOf(applyPlan(target, planned).agentsSecret);
  const old = textsOf(before.agentsSecret);
  assert.equal(isOwnCache([/- (.*)/.exec(after.c2 ?? "")?.[1] ?? ""]), true);
  assert.equal(after.c3, old.c3);
  assert.equal("c2.etcd-client.key" in after, false, "no key stays behind");
  assert.equal(after["c3.etcd-client.key"], old["c3.etcd-client.key"]);
});

test("the first import removes the last-applied annotation of kubectl and reports it", () => {
  for (const kvstoreMesh of [false, true]) {
    const annotations = { [LAST_APPLIED]: "with private keys", "a.example/b": "c" };
    const old = (name: typeof AGENTS_SECRET | typeof KVSTOREMESH_SECRET) =>
      secretOf(textsOf(writePeerFile(c3.peer)), annotations, name);
    const target = targetOf("1.20", {
      kvstoreMesh,
      agentsSecret: old(AGENTS_SECRET),
      ...(kvstoreMesh && { kvstoremeshSecret: old(KVSTOREMESH_SECRET) }),
    });
    const planned = run(target, [c2]);
    assert.deepEqual(planned.cleaned, kvstoreMesh ? [KVSTOREMESH_SECRET, AGENTS_SECRET] : [AGENTS_SECRET]);
    const after = applyPlan(target, planned);
    assert.doesNotMatch(JSON.stringify(after), /with private keys/);
    assert.equal(after.agentsSecret?.metadata?.annotations?.["a.example/b"], "c");
    assert.deepEqual(run(after, [c2]).cleaned, []);
  }
  // Where nothing else changes too.
  const done = imported(targetOf("1.20"), [c2]);
  const noted = { ...done.agentsSecret?.metadata?.annotations, [LAST_APPLIED]: "with private keys" };
  const target: Target = {
    ...done,
    agentsSecret: { ...done.agentsSecret, metadata: { ...done.agentsSecret?.metadata, annotations: noted } },
  };
  const planned = run(target, [c2]);
  assert.deepEqual(planned.changes.map(brief), ["merge-patch Secret cilium-clustermesh"]);
  assert.deepEqual([...planned.outcomes], [["c2", "unchanged"]]);
  assert.deepEqual(run(applyPlan(target, planned), [c2]).changes, []);
});

test("no annotation contains data of the Secret", () => {
  const after = imported(targetOf("1.18", { kvstoreMesh: true }), [c2, c3]);
  for (const secret of [after.agentsSecret, after.kvstoremeshSecret]) {
    assert.doesNotMatch(JSON.stringify(secret?.metadata), /PRIVATE KEY|LS0tLS|BEGIN/);
  }
});

test("a patch has the resourceVersion that was read, and only changed keys", () => {
  const first = imported(targetOf("1.20"), [c2]);
  const [change, ...others] = run(first, [c3]).changes.filter(({ kind }) => kind === "Secret");
  assert.equal(others.length, 0);
  assert.ok(change?.verb === "merge-patch", "a change of the Secret");
  assert.equal(change.patch.metadata.resourceVersion, first.agentsSecret?.metadata?.resourceVersion);
  assert.deepEqual(
    Object.keys(change.patch.data ?? {}).filter((key) => key in (first.agentsSecret?.data ?? {})),
    [],
  );
});

const ALIAS: V1HostAlias = { ip: "10.0.0.2", hostnames: ["c2.mesh.cilium.io"] };
const deployment = (name: string, hostAliases?: V1HostAlias[]): Workload => ({
  kind: "Deployment",
  name,
  hostAliases,
  object: {},
});
const daemonSet = (hostAliases?: V1HostAlias[]): Workload => ({
  kind: "DaemonSet",
  name: "cilium",
  hostAliases,
  object: {},
});

test("before 1.20 workloads get missing host aliases if the options allow their restart", () => {
  const [agents, operator, apiserver] = [
    "DaemonSet cilium",
    "Deployment cilium-operator",
    "Deployment clustermesh-apiserver",
  ];
  const table: [
    what: string,
    resolvers: Workload[],
    restarts: PlanOptions["restarts"],
    patched: string[],
    missing: string[],
  ][] = [
    ["no KVStoreMesh, default", [daemonSet()], "deployments", [], [agents]],
    ["no KVStoreMesh, --no-restarts", [daemonSet()], "none", [], [agents]],
    ["no KVStoreMesh, --restart-agents", [daemonSet()], "all", [agents], []],
    ["with the operator, default", [deployment("cilium-operator"), daemonSet()], "deployments", [operator], [agents]],
    [
      "with the operator, --restart-agents",
      [deployment("cilium-operator"), daemonSet()],
      "all",
      [operator, agents],
      [],
    ],
    ["KVStoreMesh, default", [deployment("clustermesh-apiserver")], "deployments", [apiserver], []],
    ["KVStoreMesh, --no-restarts", [deployment("clustermesh-apiserver")], "none", [], [apiserver]],
    ["already there", [deployment("clustermesh-apiserver", [ALIAS])], "deployments", [], []],
    ["already there in one of two", [deployment("cilium-operator"), daemonSet([ALIAS])], "none", [], [operator]],
    [
      "others there",
      [deployment("clustermesh-apiserver", [{ ip: "10.0.0.9", hostnames: ["x"] }])],
      "all",
      [apiserver],
      [],
    ],
  ];
  for (const version of ["1.10", "1.15", "1.19", undefined]) {
    for (const [what, resolvers, restarts, patched, missing] of table) {
      const target = targetOf(version ?? "1.19", {
        resolvers,
        ...(version === undefined && { facts: { version: "unknown" } }),
      });
      const planned = run(target, [c2], { restarts });
      assert.deepEqual(errors(planned), [], what);
      assert.deepEqual(
        planned.changes.filter(({ verb }) => verb === "json-patch").map(({ kind, name }) => `${kind} ${name}`),
        patched,
        what,
      );
      assert.deepEqual(
        planned.missing.map(({ workload, hostnames }) => [`${workload.kind} ${workload.name}`, ...hostnames]),
        missing.map((one) => [one, "c2.mesh.cilium.io"]),
        what,
      );
      for (const change of planned.changes)
        if (change.verb === "json-patch") assert.deepEqual(change.hostnames, ["c2.mesh.cilium.io"]);
      const again = run(applyPlan(target, planned), [c2], { restarts });
      assert.deepEqual([again.changes, again.missing.length], [[], missing.length], what);
      assert.match(
        textsOf(applyPlan(target, planned).agentsSecret).c2 ?? "",
        /cilium-host-aliases/,
        "always in the config",
      );
    }
  }
  const late = run(targetOf("1.20", { resolvers: [deployment("clustermesh-apiserver"), daemonSet()] }), [c2], {
    restarts: "all",
  });
  assert.deepEqual([late.changes.filter(({ verb }) => verb === "json-patch"), late.missing], [[], []]);
});

test("a file without addresses is accepted if the target resolves the name, and existing aliases are kept", () => {
  const poor = peerOf("c2", 2, { hostAliases: [], facts: {} });
  for (const version of ["1.18", "1.20"]) {
    assert.deepEqual(errors(run(targetOf(version), [poor])), ["no-addresses"], version);
    // The existing config supplies the addresses.
    const first = imported(targetOf(version), [c2], { restarts: "all" });
    const again = run(first, [poor], { restarts: "all" });
    assert.deepEqual([again.changes, errors(again)], [[], []], version);
    // It still does if the rest of the config changes.
    const moved = imported(first, [{ ...poor, peer: { ...poor.peer, endpoints: ["https://c2.mesh.cilium.io:1"] } }], {
      restarts: "all",
    });
    assert.match(textsOf(moved.agentsSecret).c2 ?? "", /ips:\n {2}- 10\.0\.0\.2\n/, version);
  }
  // By a workload's aliases, as charts before 1.20 write them; a user's own address there is left alone.
  const byHand = { ip: "10.7.7.7", hostnames: ["c2.mesh.cilium.io"] };
  for (const existing of [undefined, imported(targetOf("1.18"), [c2]).agentsSecret]) {
    const target = targetOf("1.18", { resolvers: [daemonSet([byHand])], agentsSecret: existing });
    const planned = run(target, [poor], { restarts: "all" });
    assert.deepEqual([errors(planned), planned.missing], [[], []]);
    assert.deepEqual(applyPlan(target, planned).resolvers, [daemonSet([byHand])]);
  }
  // All that read the config have to resolve it.
  const [one, other] = [deployment("cilium-operator"), daemonSet([byHand])];
  for (const resolvers of [
    [one, other],
    [other, deployment("clustermesh-apiserver", [byHand]), one],
  ]) {
    assert.deepEqual(errors(run(targetOf("1.18", { resolvers }), [poor])), ["no-addresses"]);
  }
});

test("a file of extract-secret without addresses means DNS, and stored addresses are removed", () => {
  const [pinned, free] = [[{ hostname: "lb.example", ips: ["10.0.0.7"] }], []].map((hostAliases) =>
    peerOf("c2", 2, { endpoints: ["https://lb.example:2379"], hostAliases }),
  );
  const first = imported(targetOf("1.20"), [pinned as SourcedPeer]);
  assert.doesNotMatch(textsOf(imported(first, [free as SourcedPeer]).agentsSecret).c2 ?? "", /cilium-host-aliases/);
});

test("the plan has the CA of an existing peer before and after a change, in either layout and order of a bundle", () => {
  const [before, after] = [caOf("c2"), caOf("new")];
  const bundleOf = (...cas: { cert: string }[]) => ({ ca: { pem: cas.map(({ cert }) => cert).join("") } });
  const renewed = (...cas: { cert: string }[]) => peerOf("c2", 2, { ...bundleOf(...cas), client: clientOf(after) });
  const fingerprint = ({ cert }: { cert: string }) =>
    new X509Certificate(cert).fingerprint256.replaceAll(":", "").toLowerCase().slice(0, 16);
  for (const kvstoreMesh of [false, true]) {
    const first = imported(targetOf("1.20", { kvstoreMesh }), [c2]);
    assert.deepEqual([...run(first, [c2]).caChanges], []);
    const [[name, change] = assert.fail(), ...others] = [...run(first, [renewed(after)]).caChanges];
    assert.deepEqual([name, others], ["c2", []]);
    assert.match(change.before, new RegExp(`^CN=.* \\(SHA-256 ${fingerprint(before)}…\\)$`));
    assert.match(change.after, new RegExp(`^CN=.* \\(SHA-256 ${fingerprint(after)}…\\)$`));
    const both = imported(first, [renewed(before, after)]);
    assert.deepEqual([...run(both, [renewed(after, before)]).caChanges], []);
    const [[, reduced] = assert.fail()] = [...run(both, [renewed(after)]).caChanges];
    assert.ok(reduced.before.includes(fingerprint(before)) && reduced.before.includes(fingerprint(after)));
    assert.equal(reduced.after, change.after);
  }
});

test("a renewed certificate keeps a peer's config, a new CA changes it, and neither changes another peer", () => {
  const first = imported(targetOf("1.20"), [c2, c3]);
  const old = textsOf(first.agentsSecret);
  const renewed = textsOf(
    imported(first, [peerOf("c2", 2, { client: clientOf(caOf("c2"), "remote", 1) })]).agentsSecret,
  );
  assert.equal(renewed.c2, old.c2);
  assert.notEqual(renewed["c2.etcd-client.key"], old["c2.etcd-client.key"]);
  const moved = textsOf(
    imported(first, [peerOf("c2", 2, { ca: { pem: caOf("new").cert }, client: clientOf(caOf("new")) })]).agentsSecret,
  );
  assert.notEqual(moved.c2, old.c2);
  for (const texts of [renewed, moved]) {
    for (const key of Object.keys(old).filter((one) => one.startsWith("c3"))) assert.equal(texts[key], old[key]);
  }
});

test("with a shared CA the Secret has no private key, unless requested", () => {
  const peers = [ofOneCa("c2", 2), ofOneCa("c3", 3)];
  const auto = textsOf(imported(targetOf("1.18"), peers).agentsSecret);
  assert.deepEqual(Object.keys(auto).sort(), ["c2", "c3"]);
  for (const path of COMMON) assert.equal(auto.c2?.includes(MOUNT + path), true);
  const own = textsOf(imported(targetOf("1.18"), peers, { tls: "peer" }).agentsSecret);
  assert.deepEqual(Object.values(own).filter((text) => text === shared.cert).length, 1, "the CA is stored once");
  assert.equal(own["c3.etcd-client.key"], clientOf(shared).key);
  // And back: the files of the replaced configs are removed.
  const there = imported(targetOf("1.18"), peers, { tls: "peer" });
  assert.deepEqual(textsOf(imported(there, peers, { tls: "common" }).agentsSecret), auto);
});

test("each unreachable peer stops the plan with its own finding", () => {
  const identity = peerOf("c3", 3, { client: clientOf(caOf("c3"), "remote-c3") });
  const keyless = peerOf("c4", 4, {
    ca: "importer",
    client: "importer",
    facts: { name: "c4", id: 4, ca: caOf("c4").cert },
  });
  const planned = run(targetOf("1.18"), [c2, identity, keyless]);
  assert.deepEqual(codes(planned), [
    ["user-not-accepted", "c3-secret.json", "c3"],
    ["ca-differs", "c4-secret.json", "c4"],
  ]);
  assert.deepEqual(errors(run(targetOf("1.13"), [keyless])), ["common-not-mounted"]);
  assert.deepEqual(errors(run(targetOf("1.18"), [c2], { tls: "common" })), ["ca-differs"]);
});

test("files of charts, of old scripts and of another target are imported", () => {
  const mesh = (name: string) => `https://${name}.mesh.cilium.io:32379`;
  const [a, client] = [caOf("a"), clientOf(caOf("a"))];
  const secrets = {
    scripts: secretOf({
      c2: configText("https://10.0.0.2:32379", ["c2-ca.crt", "c2.crt", "c2.key"]),
      "c2-ca.crt": a.cert,
      "c2.crt": client.cert,
      "c2.key": client.key,
    }),
    chart: secretOf({ c2: configText(mesh("c2"), COMMON), c3: configText(mesh("c3"), COMMON) }),
    target: imported(targetOf("1.20"), [c2, c3]).agentsSecret,
  };
  const aliases = {
    resolvers: [daemonSet([{ ip: "10.0.0.1", hostnames: ["c2.mesh.cilium.io", "c3.mesh.cilium.io"] }])],
  };
  for (const [what, secret] of Object.entries(secrets)) {
    const { peers, findings } = readPeerFile(secret ?? {}, "f");
    assert.deepEqual(findings, [], what);
    const planned = run(
      targetOf("1.18", aliases),
      peers.map((peer) => ({ peer, source: "f" })),
      { restarts: "all" },
    );
    assert.deepEqual(errors(planned), [], what);
    assert.equal(planned.outcomes.size, peers.length, what);
    // Facts from another target's annotation are passed on.
    assert.equal(
      planned.findings.some(({ code }) => code === "id-unknown"),
      what !== "target",
      what,
    );
  }
});

test("an up-to-date config in another layout keeps its bytes", () => {
  const existing = secretOf({
    ...textsOf(writePeerFile(c2.peer)),
    own: configText("https://10.0.0.1:1", COMMON),
    README: "x",
  });
  const planned = run(targetOf("1.20", { agentsSecret: existing }), [c2]);
  assert.deepEqual([...planned.outcomes], [["c2", "unchanged"]]);
  assert.deepEqual(
    textsOf(applyPlan(targetOf("1.20", { agentsSecret: existing }), planned).agentsSecret),
    textsOf(existing),
  );
  // The chart's own cache entries, of other bytes than ours.
  const cache = secretOf({ c2: configText("https://clustermesh-apiserver.kube-system.svc:2379", LOCAL) });
  const target = targetOf("1.18", { kvstoreMesh: true, agentsSecret: cache });
  assert.deepEqual(textsOf(imported(target, [c2]).agentsSecret), textsOf(cache));
});

const rsaPeers = (count: number, each: (index: number) => Partial<Peer>) => {
  const ca = rsaCaOf("rsa");
  const client = clientOf(ca, "rsa");
  const facts = { maxConnectedClusters: 511 };
  return Array.from({ length: count }, (_, i) =>
    peerOf(`cluster-${i}`, i + 2, { ca: { pem: ca.cert }, client, ...each(i), facts: { ...facts, id: i + 2 } }),
  );
};
const large = (version = "1.20") => targetOf(version, { kvstoreMesh: false, facts: { maxConnectedClusters: 511 } });

/** PEM of about the size that the charts' RSA certificates and keys have. */
function ofChartSize(i: number): Partial<Peer> {
  const ca = rsaCaOf("rsa");
  return { ca: { pem: withSerial(ca.cert, i) }, client: { cert: withSerial(ca.cert, 1000 + i), key: ca.key } };
}

/** Certificates that were made by another serial number alone have a void signature; here only bytes count. */
const VOID = "certificate-not-signed";
const errorsBesides = (planned: Plan) => errors(planned).filter((code) => code !== VOID);

test("254 RSA peers with separate CAs are refused with their size", () => {
  const planned = run(large(), rsaPeers(254, ofChartSize));
  const [one, ...others] = planned.findings.filter(({ code }) => code !== VOID);
  assert.deepEqual(
    [one?.code, one?.severity, one?.source, one?.key, others.length],
    ["secret-too-large", "error", "own", AGENTS_SECRET, 0],
  );
  const [total = 0, over = 0] = (one?.message.match(/[\d,]{5,}/g) ?? []).map((text) =>
    Number(text.replaceAll(",", "")),
  );
  const [change] = planned.changes;
  assert.ok(change?.verb === "create", "a change of the Secret");
  const bytes = Object.values(change.object.data ?? {}).reduce(
    (sum, value) => sum + Buffer.byteLength(value, change.kind === "Secret" ? "base64" : "utf8"),
    0,
  );
  assert.deepEqual([total, over], [bytes, bytes - MAX_DATA_BYTES]);
  assert.equal(over > 0, true);
  assert.match(one?.remedy ?? "", /--tls=common/);
});

test("up to 335 RSA peers of one CA fit with their own keys, and 510 in the common form or with ECDSA", () => {
  const client = (i: number) => ({ client: { cert: withSerial(rsaCaOf("rsa").cert, i), key: rsaCaOf("rsa").key } });
  assert.deepEqual(errorsBesides(run(large(), rsaPeers(300, client), { tls: "peer" })), []);
  assert.deepEqual(errorsBesides(run(large(), rsaPeers(400, client), { tls: "peer" })), ["secret-too-large"]);
  const common = run(
    large(),
    Array.from({ length: 510 }, (_, i) => {
      const { peer, source } = ofOneCa(`cluster-with-a-name-of-32-chars${i}`.slice(-32), i + 2);
      return { peer: { ...peer, facts: { id: i + 2, maxConnectedClusters: 511 } }, source };
    }),
  );
  assert.deepEqual(errorsBesides(common), []);
  assert.equal(common.outcomes.size, 510);
  const ecdsa = Array.from({ length: 510 }, (_, i) => {
    const ca = withSerial(caOf("own").cert, i);
    return peerOf(`cluster-${i}`, i + 2, {
      ca: { pem: ca },
      client: { cert: withSerial(clientOf(shared).cert, i), key: clientOf(shared).key },
      facts: { id: i + 2, maxConnectedClusters: 511 },
    });
  });
  assert.deepEqual(errorsBesides(run(large("1.13"), ecdsa)), []);
});

test("a Secret may reach the size limit and not exceed it, including existing data", () => {
  const after = imported(targetOf("1.20"), [c2]);
  const size = Object.values(textsOf(after.agentsSecret)).reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  for (const [over, expected] of [
    [0, []],
    [1, ["secret-too-large"]],
  ] as const) {
    const existing = secretOf({ filler: "x".repeat(MAX_DATA_BYTES - size + over) });
    assert.deepEqual(errors(run(targetOf("1.20", { agentsSecret: existing }), [c2])), expected);
  }
  // What the import takes away does not count.
  const old = secretOf({
    c2: configText("https://c2.mesh.cilium.io:1", ["a", "b", "c"]),
    a: "x".repeat(MAX_DATA_BYTES - 1000),
    b: "",
    c: "",
  });
  assert.deepEqual(errors(run(targetOf("1.20", { agentsSecret: old }), [c2])), []);
});

test("annotations may reach the size limit, including existing ones", () => {
  const ours = `${PEERS}{"c2":{"id":2,"max":255}}`.length;
  for (const [over, expected] of [
    [0, []],
    [1, ["secret-too-large"]],
  ] as const) {
    const filler = { filler: "x".repeat(MAX_ANNOTATION_BYTES - ours - "filler".length + over) };
    const planned = run(targetOf("1.20", { agentsSecret: secretOf({}, filler) }), [c2]);
    assert.deepEqual(errors(planned), expected);
    if (over) assert.match(planned.findings[0]?.message ?? "", /annotations would be 262,145 bytes, 1 over the limit/);
  }
  const huge = secretOf({}, { [LAST_APPLIED]: "x".repeat(MAX_ANNOTATION_BYTES - 100) });
  assert.deepEqual(errors(run(targetOf("1.20", { agentsSecret: huge }), [c2])), []);
});

test("CA bundles are compared by their certificates", () => {
  const bundle = normalizeCa(shared.cert + caOf("b").cert);
  const target = targetOf("1.18", { common: { ca: caOf("b").cert + shared.cert } });
  const after = imported(target, [peerOf("c2", 2, { ca: { pem: bundle }, client: clientOf(shared) })]);
  assert.deepEqual(Object.keys(textsOf(after.agentsSecret)), ["c2"]);
});
