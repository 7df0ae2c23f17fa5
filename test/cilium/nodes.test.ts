import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Node, V1Pod } from "@kubernetes/client-node";
import { toNodeInfo } from "../../lib/cilium/nodes.ts";
import { describePendingCause, isAwaitingFirstImport } from "../../lib/cilium/waiting.ts";

// As parsed from JSON: times are strings.
function nodeOf(by: (node: V1Node) => void = () => {}): V1Node {
  const node = {
    metadata: { name: "n1", creationTimestamp: "2026-01-02T03:04:05Z", labels: {} },
    spec: { podCIDR: "10.0.1.0/24" },
    status: {
      addresses: [{ type: "InternalIP", address: "10.1.0.1" }],
      conditions: [
        { type: "MemoryPressure", status: "False" },
        { type: "Ready", status: "True" },
      ],
    },
  } as unknown as V1Node;
  by(node);
  return node;
}

test("keeps creation time, addresses and pod CIDRs of a node", () => {
  assert.deepEqual(toNodeInfo(nodeOf()), {
    name: "n1",
    created: "2026-01-02T03:04:05Z",
    ready: true,
    eligible: true,
    addresses: [{ type: "InternalIP", address: "10.1.0.1" }],
    podCidrs: ["10.0.1.0/24"],
  });
});

test("excludes nodes that are not ready, cordoned, leaving or excluded by label", () => {
  const cases: [string, (node: V1Node) => void, ready: boolean][] = [
    ["not ready", ({ status }) => Object.assign(status?.conditions?.[1] ?? {}, { status: "Unknown" }), false],
    ["no conditions yet", ({ status }) => Object.assign(status ?? {}, { conditions: undefined }), false],
    ["cordoned", ({ spec }) => Object.assign(spec ?? {}, { unschedulable: true }), true],
    [
      "tainted by the cordon",
      ({ spec }) => Object.assign(spec ?? {}, { taints: [{ key: "node.kubernetes.io/unschedulable" }] }),
      true,
    ],
    [
      "about to be removed",
      ({ spec }) => Object.assign(spec ?? {}, { taints: [{ key: "ToBeDeletedByClusterAutoscaler" }] }),
      true,
    ],
    [
      "being deleted",
      ({ metadata }) => Object.assign(metadata ?? {}, { deletionTimestamp: "2026-01-03T00:00:00Z" }),
      true,
    ],
    [
      "excluded, whatever the label's value",
      ({ metadata }) =>
        Object.assign(metadata?.labels ?? {}, { "node.kubernetes.io/exclude-from-external-load-balancers": "" }),
      true,
    ],
  ];
  for (const [what, by, ready] of cases) {
    const { eligible, ...info } = toNodeInfo(nodeOf(by));
    assert.equal(eligible, false, what);
    assert.equal(info.ready, ready, what);
  }
  const tainted = nodeOf(({ spec }) => Object.assign(spec ?? {}, { taints: [{ key: "dedicated" }] }));
  assert.equal(toNodeInfo(tainted).eligible, true);
});

function podOf(status: V1Pod["status"], optional = false): V1Pod {
  const users = { name: "clustermesh-remote-users", optional };
  return { spec: { containers: [], volumes: [{ name: "users", configMap: users }] }, ...(status && { status }) };
}

test("describes what the clustermesh-apiserver is waiting for", () => {
  const creating = { containerStatuses: [{ name: "etcd", state: { waiting: { reason: "ContainerCreating" } } }] };
  const status = (value: object) => value as NonNullable<V1Pod["status"]>;
  const ready = podOf(status({ conditions: [{ type: "Ready", status: "True" }] }));
  assert.equal(describePendingCause([ready], true), undefined);
  assert.equal(describePendingCause([podOf(status(creating)), ready], false), undefined);
  assert.match(
    describePendingCause([podOf(status(creating))], false) ?? "",
    /^for configmap\/clustermesh-remote-users/,
  );
  assert.equal(isAwaitingFirstImport([podOf(status(creating))], false), true);
  assert.equal(isAwaitingFirstImport([podOf(status(creating)), ready], false), false);
  assert.equal(isAwaitingFirstImport([podOf(status(creating))], undefined), false);
  assert.equal(describePendingCause([podOf(status(creating))], true), "for container etcd: ContainerCreating");
  assert.equal(describePendingCause([podOf(status(creating))], undefined), "for container etcd: ContainerCreating");
  assert.equal(describePendingCause([podOf(status(creating), true)], false), "for container etcd: ContainerCreating");
  const unscheduled = { conditions: [{ type: "PodScheduled", status: "False", message: "0/3 nodes are available" }] };
  assert.equal(describePendingCause([podOf(status(unscheduled))], true), "to be scheduled: 0/3 nodes are available");
  assert.equal(describePendingCause([podOf(undefined)], true), "for its containers to become ready");
  assert.match(describePendingCause([], true) ?? "", /^for the first pod/);
});
