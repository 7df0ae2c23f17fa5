/** --prune, and the ownership of objects. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1ObjectMeta } from "@kubernetes/client-node";
import { type Plan, type PlanOptions, plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { AGENTS_SECRET } from "../../lib/peer/peer.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { recordsOf, usersConfigMap, usersOf } from "../support/plans.ts";
import { configText, OPTIONS, peerOf, secretOf, targetOf, textsOf } from "../support/targets.ts";

const c2 = peerOf("c2", 2);
const c3 = peerOf("c3", 3);
const c4 = peerOf("c4", 4);
const run = (target: Target, peers: (typeof c2)[], options: Partial<PlanOptions> = {}) =>
  plan(target, peers, { ...OPTIONS, restarts: "all", ...options });
const prune = (target: Target, ...peers: (typeof c2)[]) => run(target, peers, { prune: true });
const brief = ({ changes }: Plan) => changes.map(({ verb, kind, name }) => `${verb} ${kind} ${name}`);
const codes = ({ findings }: Plan) => findings.map(({ code, severity }) => `${severity} ${code}`);
const configsIn = (secret: Target["agentsSecret"]) => Object.keys(textsOf(secret)).filter((key) => !key.includes("."));

test("a pruned peer is removed from the agents' config, then its copy, then its user", () => {
  const target = applyPlan(
    targetOf("1.20", { kvstoreMesh: true }),
    run(targetOf("1.20", { kvstoreMesh: true }), [c2, c3]),
  );
  const planned = prune(target, c3, c4);
  assert.deepEqual(brief(planned), [
    "merge-patch Secret cilium-kvstoremesh",
    "merge-patch Secret cilium-clustermesh",
    "merge-patch Secret cilium-kvstoremesh",
    "merge-patch ConfigMap clustermesh-remote-users",
  ]);
  assert.deepEqual(
    [...planned.outcomes],
    [
      ["c3", "unchanged"],
      ["c4", "added"],
      ["c2", "dropped"],
    ],
  );
  assert.deepEqual([planned.granted, planned.revoked], [["remote-c4"], ["remote-c2"]]);
  const states = planned.changes.map((_, i) => applyPlan(target, planned, i + 1));
  assert.deepEqual(
    states.map(({ agentsSecret, kvstoremeshSecret }) => [configsIn(agentsSecret), configsIn(kvstoremeshSecret)]),
    [
      [
        ["c2", "c3"],
        ["c2", "c3", "c4"],
      ],
      [
        ["c3", "c4"],
        ["c2", "c3", "c4"],
      ],
      [
        ["c3", "c4"],
        ["c3", "c4"],
      ],
      [
        ["c3", "c4"],
        ["c3", "c4"],
      ],
    ],
  );
  const after = applyPlan(target, planned);
  assert.deepEqual(usersOf(after), ["remote-c3: remote", "remote-c4: remote"]);
  assert.equal(recordsOf(after.kvstoremeshSecret), '{"c3":{"id":3,"max":255},"c4":{"id":4,"max":255}}');
  assert.deepEqual(
    Object.keys(textsOf(after.kvstoremeshSecret)).filter((key) => key.startsWith("c2")),
    [],
    "no key of c2 stays",
  );
  assert.deepEqual(brief(prune(after, c3, c4)), []);
});

test("a prune without additions is one change of each Secret, in that order", () => {
  const target = applyPlan(
    targetOf("1.20", { kvstoreMesh: true }),
    run(targetOf("1.20", { kvstoreMesh: true }), [c2, c3]),
  );
  assert.deepEqual(brief(prune(target, c3)), [
    "merge-patch Secret cilium-clustermesh",
    "merge-patch Secret cilium-kvstoremesh",
    "merge-patch ConfigMap clustermesh-remote-users",
  ]);
});

test("users that we did not grant are kept, and so is the agents' own", () => {
  const users = usersConfigMap("users:\n- name: remote-c9\n  role: remote\n- name: remote-own\n  role: remote\n");
  const empty = targetOf("1.16", { kvstoreMesh: true, users });
  const target = applyPlan(empty, run(empty, [c2, c3]));
  const after = applyPlan(target, prune(target, c2));
  assert.deepEqual(usersOf(after), ["remote-c9: remote", "remote-own: remote", "remote-c2: remote"]);
  const own = applyPlan(
    targetOf("1.15", { kvstoreMesh: true }),
    run(targetOf("1.15", { kvstoreMesh: true }), [c2, c3]),
  );
  assert.deepEqual(usersOf(applyPlan(own, prune(own, c3))).sort(), ["remote-c3: remote", "remote-own: remote"]);
  assert.deepEqual(usersOf(applyPlan(target, run(target, [c2], { prune: true, users: false }))), usersOf(target));
});

test("a prune never removes all peers", () => {
  const target = applyPlan(targetOf("1.20"), run(targetOf("1.20"), [c2]));
  assert.deepEqual(codes(prune(target)), ["error prune-everything"]);
  assert.deepEqual(codes(prune(target, peerOf("own", 1))), ["error prune-everything"]);
});

test("removed peers are not compared, so that a prune can resolve an existing conflict", () => {
  const old = { "clustermesh-secrets/peers": '{"c9":{"id":2,"max":511}}' };
  const target = targetOf("1.20", {
    agentsSecret: secretOf({ c9: configText("https://c9.example:2379", ["a", "b", "c"]) }, old),
  });
  assert.deepEqual(codes(run(target, [c2])), ["error maximum-differs", "error id-duplicate"]);
  assert.deepEqual(codes(prune(target, c2)), []);
});

test("invalid peers are pruned too, and foreign data is kept", () => {
  const target = targetOf("1.20", {
    agentsSecret: secretOf({ c9: "endpoints: [", own: "endpoints:\n- https://x:1\n", README: "x", "c9.key": "y" }),
  });
  const planned = prune(target, c2);
  assert.deepEqual([...planned.outcomes].slice(1), [
    ["c9", "dropped"],
    ["own", "dropped"],
  ]);
  const after = textsOf(applyPlan(target, planned).agentsSecret);
  assert.deepEqual([after.c9, after.own, after.README, after["c9.key"]], [undefined, undefined, "x", "y"]);
});

const HELM: V1ObjectMeta = {
  labels: { "app.kubernetes.io/managed-by": "Helm" },
  annotations: { "meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": "kube-system" },
};

test("a Secret of another owner is refused with a remedy, or taken over", () => {
  const secret = secretOf({});
  const target = targetOf("1.20", { agentsSecret: { ...secret, metadata: { ...secret.metadata, ...HELM } } });
  const refused = run(target, [c2]);
  assert.deepEqual(codes(refused), ["error owned-by-other"]);
  const [{ message, remedy } = { message: "", remedy: "" }] = refused.findings;
  assert.equal(message, "secret/cilium-clustermesh belongs to Helm release cilium, which would revert the changes");
  assert.match(
    remedy ?? "",
    /--take-ownership first, then set the Helm value clustermesh\.config\.enabled=false .*\(the other way round/,
  );

  const previewed = run(target, [c2], { previewOnly: true });
  assert.deepEqual(codes(previewed), ["warning owner-resets"], "nothing is written, so nothing is refused");
  const [warning] = previewed.findings;
  assert.match(
    warning?.message ?? "",
    /belongs to Helm release cilium, so an import without --take-ownership would be refused$/,
  );
  assert.match(warning?.remedy ?? "", /^change it in Helm release cilium; or import with --take-ownership/);
  assert.deepEqual(previewed.changes.length, refused.changes.length);

  const taken = run(target, [c2], { takeOwnership: true });
  assert.deepEqual(codes(taken), ["warning owner-resets"]);
  const { metadata } = applyPlan(target, taken).agentsSecret ?? {};
  assert.deepEqual(metadata?.labels, {});
  assert.deepEqual(Object.keys(metadata?.annotations ?? {}).sort(), [
    "clustermesh-secrets/peers",
    "clustermesh-secrets/taken-from",
    "helm.sh/resource-policy",
  ]);
  assert.deepEqual(codes(run(applyPlan(target, taken), [c3])), [], "it is ours now");
});

test("objects released together are taken over together, once, even if unchanged", () => {
  const before = applyPlan(targetOf("1.20", { kvstoreMesh: true }), run(targetOf("1.20", { kvstoreMesh: true }), [c2]));
  const owned = <T extends { metadata?: V1ObjectMeta }>(object: T | undefined) =>
    object && {
      ...object,
      metadata: {
        ...object.metadata,
        labels: HELM.labels,
        annotations: { ...object.metadata?.annotations, ...HELM.annotations },
      },
    };
  const target = {
    ...before,
    agentsSecret: owned(before.agentsSecret),
    kvstoremeshSecret: owned(before.kvstoremeshSecret),
    users: owned(before.users),
  } as Target;
  const take = { takeOwnership: true };
  const taken = run(target, [c2], take);
  assert.deepEqual(brief(taken), [
    "merge-patch Secret cilium-kvstoremesh",
    "merge-patch Secret cilium-clustermesh",
    "merge-patch ConfigMap clustermesh-remote-users",
  ]);
  assert.deepEqual([...taken.outcomes], [["c2", "unchanged"]]);
  const after = applyPlan(target, taken);
  for (const object of [after.agentsSecret, after.kvstoremeshSecret, after.users]) {
    assert.equal(object?.metadata?.annotations?.["helm.sh/resource-policy"], "keep");
    assert.deepEqual(object?.metadata?.labels, {});
  }
  assert.deepEqual(textsOf(after.agentsSecret), textsOf(before.agentsSecret));
  assert.deepEqual(brief(run(after, [c2], take)), []);
  // Before 1.19 the chart still renders the users.
  const older = { ...target, facts: { ...target.facts, version: "1.18.5" }, resolvers: [] };
  assert.deepEqual(brief(run(older, [c2], take)).slice(2), []);
  assert.match(
    run({ ...older, users: undefined }, [c2], take).findings[0]?.remedy ?? "",
    /enabled=false, then import the files of all peers again: that upgrade removes/,
  );
});

test("immutable objects are reported before the first write", () => {
  const target = applyPlan(targetOf("1.20"), run(targetOf("1.20"), [c2]));
  const agentsSecret = { ...target.agentsSecret, immutable: true };
  assert.deepEqual(codes(run({ ...target, agentsSecret }, [c3])), ["error immutable"]);
  assert.deepEqual(codes(run({ ...target, agentsSecret }, [c2])), [], "where it need not change it may be");
  const users = { ...target.users, immutable: true };
  assert.deepEqual(codes(run({ ...target, users }, [c3])), ["error immutable"]);
});

test("an owner does not block a plan without changes", () => {
  const target = applyPlan(targetOf("1.20"), run(targetOf("1.20"), [c2]));
  const { agentsSecret } = target;
  const owned = { ...agentsSecret, metadata: { ...agentsSecret?.metadata, labels: HELM.labels ?? {} } };
  assert.deepEqual(codes(run({ ...target, agentsSecret: owned }, [c2])), []);
});

test("a plan warns that a chart upgrade reverts users and workloads", () => {
  const users = {
    ...usersConfigMap("users: []\n"),
    metadata: { name: "clustermesh-remote-users", resourceVersion: "9", ...HELM },
  };
  const base = targetOf("1.18", { users });
  const target = { ...base, resolvers: base.resolvers.map((one) => ({ ...one, object: { metadata: HELM } })) };
  const planned = run(target, [c2]);
  assert.deepEqual(codes(planned), ["warning owner-resets", "warning owner-resets"]);
  assert.deepEqual(
    planned.findings.map(({ message }) => message),
    [
      "daemonset/cilium belongs to Helm release cilium, whose next upgrade removes the added host aliases if it renders its own",
      "configmap/clustermesh-remote-users belongs to Helm release cilium, which reverts the changes when it next upgrades or syncs",
    ],
  );
  assert.ok(brief(planned).includes(`create Secret ${AGENTS_SECRET}`), "it is written all the same");
});
