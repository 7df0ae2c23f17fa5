import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { V1ManagedFieldsEntry, V1ObjectMeta } from "@kubernetes/client-node";
import fc from "fast-check";
import type { Change } from "../../lib/import/plan/change.ts";
import { hostAliasPatch } from "../../lib/import/plan/host-aliases.ts";
import { plan } from "../../lib/import/plan/plan.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import {
  countResets,
  findResets,
  heldKeys,
  noteWrites,
  peerOfKey,
  type Reset,
  type WriteMemory,
  writesOnlyHeldKeys,
} from "../../lib/sync/contest.ts";
import { type ContestedKey, emptyState } from "../../lib/sync/state.ts";
import { formatState, parseState } from "../../lib/sync/state-text.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { caOf, clientOf } from "../support/material.ts";
import { OPTIONS, peerOf, targetOf } from "../support/targets.ts";

const START = new Date("2026-06-01T12:00:00Z");
const after = (minutes: number) => new Date(START.getTime() + minutes * 60_000);
const MEMORY = (): WriteMemory => new Map();

function patch(data: Record<string, string | null>, annotations?: Record<string, string | null>): Change {
  const metadata = { resourceVersion: "7", ...(annotations && { annotations }) };
  return { verb: "merge-patch", kind: "Secret", name: "cilium-clustermesh", patch: { metadata, data } };
}

const managedBy = (manager: string, fieldsV1: object, minutes = 0): V1ManagedFieldsEntry => ({
  manager,
  operation: "Update",
  fieldsV1,
  // The API server sends a string.
  time: after(minutes).toISOString() as unknown as Date,
});
const dataOf = (...keys: string[]) => ({ "f:data": Object.fromEntries(keys.map((key) => [`f:${key}`, {}])) });
const metadataOf = (...managedFields: V1ManagedFieldsEntry[]): V1ObjectMeta => ({ managedFields });

/** Finds the resets of a target after its last writes. */
function resetsOf(memory: WriteMemory, planned: Change[], metadata?: V1ObjectMeta): string[] {
  const found = findResets(memory, "c1", planned, () => metadata, START);
  return found.map(({ object, key, manager }) => `${object} ${key} ${manager}`);
}

describe("a reset", () => {
  test("is a planned value that was written last", () => {
    const memory = MEMORY();
    assert.deepEqual(resetsOf(memory, [patch({ c2: "YQ==" })]), []);
    noteWrites(memory, "c1", [patch({ c2: "YQ==", c3: "YQ==" })]);
    assert.deepEqual(resetsOf(memory, [patch({ c2: "YQ==" })], metadataOf(managedBy("helm", dataOf("c2")))), [
      "secret/cilium-clustermesh c2 helm",
    ]);
    // Once for each write.
    assert.deepEqual(resetsOf(memory, [patch({ c2: "YQ==" })]), []);
    noteWrites(memory, "c1", [patch({ c2: "YQ==" })]);
    assert.equal(resetsOf(memory, [patch({ c2: "YQ==" })]).length, 1);
  });

  test("is not a value that has changed, and not one of another target or object", () => {
    const memory = MEMORY();
    noteWrites(memory, "c1", [patch({ c2: "YQ==" })]);
    assert.deepEqual(resetsOf(memory, [patch({ c2: "Yg==" }), patch({ c2: "Yw==" })]), []);
    assert.deepEqual(
      findResets(memory, "c2", [patch({ c2: "YQ==" })], () => undefined, START),
      [],
    );
    const other: Change = { ...patch({ c2: "YQ==" }), name: "cilium-kvstoremesh" } as Change;
    assert.deepEqual(resetsOf(memory, [other]), []);
  });

  test("is a removal that has to be repeated", () => {
    const memory = MEMORY();
    noteWrites(memory, "c1", [patch({ c2: null }, { "kubectl.kubernetes.io/last-applied-configuration": null })]);
    assert.deepEqual(resetsOf(memory, [patch({ c2: "bnVsbA==" })]), []);
    const fields = {
      ...dataOf("c2"),
      "f:metadata": { "f:annotations": { "f:kubectl.kubernetes.io/last-applied-configuration": {} } },
    };
    assert.deepEqual(
      resetsOf(
        memory,
        [patch({ c2: null }, { "kubectl.kubernetes.io/last-applied-configuration": null })],
        metadataOf(managedBy("kubectl-client-side-apply", fields)),
      ),
      [
        "secret/cilium-clustermesh c2 kubectl-client-side-apply",
        "secret/cilium-clustermesh metadata.annotations.kubectl.kubernetes.io/last-applied-configuration kubectl-client-side-apply",
      ],
    );
  });

  test("is an object that was deleted, in all its keys", () => {
    const memory = MEMORY();
    const metadata = { name: "cilium-clustermesh", annotations: { "clustermesh-secrets/peers": "{}" } };
    const create: Change = {
      verb: "create",
      kind: "Secret",
      name: "cilium-clustermesh",
      object: { metadata, data: { c2: "YQ==", "c2.etcd-client.key": "YQ==" } },
    };
    noteWrites(memory, "c1", [create]);
    assert.deepEqual(resetsOf(memory, [create]), [
      "secret/cilium-clustermesh c2 unknown",
      "secret/cilium-clustermesh c2.etcd-client.key unknown",
      "secret/cilium-clustermesh metadata.annotations.clustermesh-secrets/peers unknown",
    ]);
    noteWrites(memory, "c1", [create]);
    // The object exists again, without one of our keys.
    assert.equal(resetsOf(memory, [patch({ c2: "YQ==" })]).length, 1);
  });

  test("is a list of host aliases that was changed back", () => {
    const memory = MEMORY();
    const aliases = [{ hostnames: ["c2.mesh.cilium.io"], ip: "10.0.0.2" }];
    const change = (existing: typeof aliases | undefined, wanted = aliases): Change => ({
      verb: "json-patch",
      kind: "Deployment",
      name: "clustermesh-apiserver",
      patch: hostAliasPatch(existing, wanted),
      hostnames: ["c2.mesh.cilium.io"],
    });
    noteWrites(memory, "c1", [change(undefined)]);
    assert.deepEqual(resetsOf(memory, [change(aliases, [{ hostnames: ["x"], ip: "10.0.0.3" }])]), []);
    const fields = { "f:spec": { "f:template": { "f:spec": { "f:hostAliases": {} } } } };
    assert.deepEqual(resetsOf(memory, [change([])], metadataOf(managedBy("argocd-controller", fields))), [
      "deployment/clustermesh-apiserver spec.template.spec.hostAliases argocd-controller",
    ]);
  });

  test("is a peer, or its config alone, that another tool deletes again and again", () => {
    const target = targetOf("1.20", { kvstoreMesh: true });
    for (const isDeleted of [(key: string) => peerOfKey(key) === "c2", (key: string) => key === "c2"]) {
      const memory = MEMORY();
      const first = plan(target, [peerOf("c2")], OPTIONS);
      noteWrites(memory, "c1", first.changes);
      let current = applyPlan(target, first);
      for (let round = 0; round < 3; round++) {
        const data = Object.entries(current.kvstoremeshSecret?.data ?? {}).filter(([key]) => !isDeleted(key));
        const reset = {
          ...current,
          kvstoremeshSecret: { ...current.kvstoremeshSecret, data: Object.fromEntries(data) },
        };
        const again = plan(reset, [peerOf("c2")], OPTIONS);
        const resets = resetsOf(memory, again.changes, metadataOf(managedBy("helm", dataOf("c9"))));
        assert.ok(resets.includes("secret/cilium-kvstoremesh c2 helm"), resets.join(", "));
        noteWrites(memory, "c1", again.changes);
        current = applyPlan(reset, again);
      }
    }
  });

  test("is neither a new peer nor a renewed certificate", () => {
    const target = targetOf("1.20", { kvstoreMesh: true });
    const memory = MEMORY();
    const first = plan(target, [peerOf("c2")], OPTIONS);
    noteWrites(memory, "c1", first.changes);
    const renewed = peerOf("c2", 2, { client: clientOf(caOf("c2"), "remote", 1) });
    const { changes } = plan(applyPlan(target, first), [renewed, peerOf("c3", 3)], OPTIONS);
    assert.ok(changes.length > 0);
    assert.deepEqual(resetsOf(memory, changes), []);
  });

  test("of any sequence of writes is found exactly if the value equals the last write of the key", () => {
    const key = fc.constantFrom("c2", "c3", "users.yaml");
    const value = fc.constantFrom("YQ==", "Yg==", null);
    const write = fc.record({ key, value, isWritten: fc.boolean() });
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
        const memory = MEMORY();
        const last = new Map<string, string | null | undefined>();
        for (const { key, value, isWritten } of writes) {
          const planned = [patch({ [key]: value })];
          const expected = last.has(key) && last.get(key) === value ? 1 : 0;
          assert.equal(resetsOf(memory, planned).length, expected);
          if (expected === 1) last.delete(key);
          if (!isWritten) continue;
          noteWrites(memory, "c1", planned);
          last.set(key, value);
        }
      }),
    );
  });
});

describe("the manager of a reset", () => {
  const managerOf = (...entries: V1ManagedFieldsEntry[]) => {
    const memory = MEMORY();
    noteWrites(memory, "c1", [patch({ c2: "YQ==" })]);
    return findResets(memory, "c1", [patch({ c2: "YQ==" })], () => metadataOf(...entries), START)[0]?.manager;
  };

  test("is the newest one with the key that is not ours", () => {
    const ours = managedBy(FIELD_MANAGER, dataOf("c2"), 5);
    assert.equal(managerOf(managedBy("flux", dataOf("c2"), 1), ours, managedBy("helm", dataOf("c2"), 3)), "helm");
    assert.equal(managerOf(managedBy("flux", dataOf("c3"), 4), managedBy("helm", dataOf("c2"), 3)), "helm");
  });

  test("is another process of ours if only we have the key", () => {
    assert.equal(managerOf(managedBy(FIELD_MANAGER, dataOf("c2")), managedBy("helm", dataOf("c3"))), FIELD_MANAGER);
  });

  test("of a deleted key is the only other one that wrote data", () => {
    const ours = managedBy(FIELD_MANAGER, dataOf("c3"));
    assert.equal(
      managerOf(ours, managedBy("external-secrets", dataOf("c4")), managedBy("kubelet", { "f:type": {} })),
      "external-secrets",
    );
    assert.equal(managerOf(ours, managedBy("a", dataOf("c4")), managedBy("b", dataOf("c5"))), "unknown");
    assert.equal(managerOf(ours), "unknown");
    assert.equal(managerOf({ ...managedBy("", dataOf("c2")) }), "unknown");
    assert.equal(managerOf(), "unknown");
  });
});

const reset = (minutes: number, manager = "helm", key = "c2"): Reset => ({
  target: "c1",
  object: "secret/cilium-clustermesh",
  key,
  manager,
  time: after(minutes),
});
/** Counts one reset after the other, with the saved state between. */
function count(resets: Reset[], limit = 3): ContestedKey[] {
  return resets.reduce<ContestedKey[]>((contested, one) => {
    const { contested: saved } = parseState(formatState({ ...emptyState("test"), contested }), one.time);
    return countResets(saved, [one], { limit, now: one.time });
  }, []);
}

describe("a pause", () => {
  test("begins with the third reset within an hour", () => {
    assert.equal(count([reset(0), reset(59)])[0]?.until, undefined);
    const third = count([reset(0), reset(30), reset(59)]);
    assert.deepEqual(third, [
      {
        target: "c1",
        object: "secret/cilium-clustermesh",
        key: "c2",
        manager: "helm",
        resets: [0, 30, 59].map((minutes) => after(minutes).toISOString()),
        level: 1,
        until: after(60).toISOString(),
      },
    ]);
    assert.equal(heldKeys(third, "c1", after(59.9)).length, 1);
    assert.deepEqual(heldKeys(third, "c2", after(59.9)), []);
    assert.deepEqual(heldKeys(third, "c1", after(60)), []);
    assert.equal(count([reset(0), reset(30), reset(61)])[0]?.until, undefined);
    assert.equal(count([reset(0)], 1)[0]?.until, after(1).toISOString());
  });

  test("doubles with each further reset, up to 30 minutes, and starts over after an hour without one", () => {
    let contested = count([reset(0), reset(0)]);
    let minutes = 0;
    for (const pause of [1, 2, 4, 8, 16, 30, 30, 30]) {
      contested = countResets(contested, [reset(minutes)], { limit: 3, now: after(minutes) });
      assert.equal(contested[0]?.until, after(minutes + pause).toISOString());
      minutes += pause;
    }
    const last = minutes - 30;
    assert.equal(countResets(contested, [], { limit: 3, now: after(last + 59.9) }).length, 1);
    assert.deepEqual(countResets(contested, [], { limit: 3, now: after(last + 60) }), []);
    const [over] = countResets(contested, [reset(last + 60)], { limit: 3, now: after(last + 60) });
    assert.deepEqual([over?.level, over?.until, over?.resets.length], [0, undefined, 1]);
  });

  test("is counted by key and manager", () => {
    assert.deepEqual(
      count([reset(0), reset(1, "flux"), reset(2), reset(3, "flux"), reset(4, "helm", "c3")]).map(({ until }) => until),
      [undefined, undefined, undefined],
    );
    const contested = count([reset(0), reset(1, "flux"), reset(2), reset(3, "flux"), reset(4)]);
    assert.deepEqual(
      heldKeys(contested, "c1", after(4)).map(({ manager }) => manager),
      ["helm"],
    );
  });

  test("for any resets: none before the limit, never longer than 30 minutes, and other keys go on", () => {
    const anyReset = fc.record({
      wait: fc.constantFrom(0, 1, 10, 59, 61),
      manager: fc.constantFrom("helm", "flux"),
      key: fc.constantFrom("c2", "c3"),
    });
    fc.assert(
      fc.property(fc.array(anyReset, { maxLength: 30 }), fc.integer({ min: 1, max: 5 }), (resets, limit) => {
        let [contested, minutes]: [ContestedKey[], number] = [[], 0];
        const counts = new Map<string, number[]>();
        for (const { wait, manager, key } of resets) {
          minutes += wait;
          const before = contested;
          contested = countResets(contested, [reset(minutes, manager, key)], { limit, now: after(minutes) });
          const id = `${manager} ${key}`;
          // A series without a break of an hour.
          const series = counts.get(id) ?? [];
          const isOver = series.length > 0 && minutes - (series.at(-1) ?? 0) >= 60;
          counts.set(id, [...(isOver ? [] : series), minutes]);
          const one = contested.find((record) => record.manager === manager && record.key === key);
          const until =
            one?.until === undefined ? undefined : (Date.parse(one.until) - after(minutes).getTime()) / 60_000;
          const inHour = (counts.get(id) ?? []).filter((time) => minutes - time < 60).length;
          if ((counts.get(id) ?? []).length < limit) assert.equal(until, undefined);
          if (inHour >= limit) assert.ok(until !== undefined && until >= 1);
          if (until !== undefined) assert.ok([1, 2, 4, 8, 16, 30].includes(until), String(until));
          for (const other of contested.filter((record) => record !== one)) assert.ok(before.includes(other));
        }
      }),
    );
  });
});

describe("held keys", () => {
  test("belong to a peer in each layout, or to none", () => {
    const keys = {
      c2: "c2",
      "c2-ca": "c2-ca",
      "c2.etcd-client.crt": "c2",
      "c2.etcd-client.key": "c2",
      "c2.etcd-client.2.key": "c2",
      "c2.etcd-client-ca.crt": "c2",
      "c2-ca.crt": "c2",
      "c2.crt": "c2",
      "c2.key": "c2",
    };
    for (const [key, peer] of Object.entries(keys)) assert.equal(peerOfKey(key), peer, key);
    const others = ["users.yaml", "ca-0123456789abcdef.crt", "ca-0123456789abcdef.2.crt", "metadata.annotations.x", ""];
    for (const key of others) assert.equal(peerOfKey(key), undefined, key);
  });

  test("of a plan: each key that an import writes for a peer is that of the peer", () => {
    const name = fc.stringMatching(/^[a-z0-9][-a-z0-9]{0,30}[a-z0-9]$/);
    fc.assert(
      fc.property(name, (cluster) => {
        const { changes } = plan(targetOf("1.20"), [peerOf(cluster)], { ...OPTIONS, users: false });
        const keys = changes.flatMap((change) =>
          change.verb === "create" ? Object.keys(change.object.data ?? {}) : [],
        );
        const owners = new Set(keys.map((key) => (/^ca-[0-9a-f]{16}\.crt$/.test(key) ? cluster : peerOfKey(key))));
        if (keys.length > 0) assert.deepEqual([...owners], [cluster]);
      }),
      { numRuns: 30 },
    );
  });

  test("hold a change that writes nothing else", () => {
    const contested = countResets([], [reset(0)], { limit: 1, now: START });
    const held = heldKeys(contested, "c1", START);
    assert.equal(writesOnlyHeldKeys(patch({ c2: "YQ==" }), held), true);
    assert.equal(writesOnlyHeldKeys(patch({ c2: "YQ==", c3: "YQ==" }), held), false);
    assert.equal(writesOnlyHeldKeys(patch({ c2: "YQ==" }, { a: "b" }), held), false);
    assert.equal(writesOnlyHeldKeys(patch({}), held), false);
  });
});
