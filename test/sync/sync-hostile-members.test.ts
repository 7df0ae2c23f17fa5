/** A member's API server that violates the schema of Kubernetes, or returns unexpected values, must not end a sync. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { V1ConfigMap } from "@kubernetes/client-node";
import { type KubernetesApi, nodes } from "../../lib/kube/api.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { ClusterWatch } from "../../lib/sync/cluster-watch.ts";
import { formatState } from "../../lib/sync/state-text.ts";
import type { UserError } from "../../lib/util/errors.ts";
import { type JoinedMesh, type MemberOptions, startJoinedMesh } from "../support/joined-mesh.ts";
import { MemoryStore, startSync } from "../support/running-sync.ts";

/** A store whose states are formatted, as those of files and ConfigMaps. */
class FormattingStore extends MemoryStore {
  override async save(state: Parameters<MemoryStore["save"]>[0]): Promise<void> {
    formatState(state);
    await super.save(state);
  }
}

const TWO: MemberOptions[] = [{ version: "1.18.5" }, { version: "1.18.5" }];

async function openAll(t: TestContext): Promise<{ mesh: JoinedMesh; clusters: Parameters<typeof startSync>[1] }> {
  const mesh = await startJoinedMesh(t, TWO, { apart: true });
  return { mesh, clusters: await Promise.all(["c1", "c2"].map((name) => mesh.connectTo(name))) };
}

function changeConfig(mesh: JoinedMesh, change: (config: V1ConfigMap & KubernetesObject) => void): void {
  mesh.change<V1ConfigMap & KubernetesObject>("c2", "ConfigMap", "cilium-config", change);
}

test("a member with a cluster-id beyond all bounds, and an invalid uid, is recorded", async (t) => {
  const { mesh, clusters } = await openAll(t);
  changeConfig(mesh, (config) => {
    config.data = { ...config.data, "cluster-id": "99999999999999999999" };
    config.metadata.uid = { hostile: true } as never;
  });
  const store = new FormattingStore();
  const { sync, events, stop } = await startSync(t, clusters, { store });
  await stop();
  assert.deepEqual(
    sync.snapshot().state.members.map(({ entry, uid, id }) => [entry, typeof uid, id]),
    [
      ["c1", "string", 1],
      ["c2", "undefined", undefined],
    ],
  );
  assert.deepEqual(
    events.filter(({ kind }) => kind === "state-unsaved"),
    [],
  );
  assert.equal(store.state?.members.length, 2);
});

test("an error of a store that is not expected is reported, and the next save tries again", async (t) => {
  const { clusters } = await openAll(t);
  const store = new MemoryStore();
  const save = store.save.bind(store);
  store.save = async () => {
    throw new TypeError("unexpected");
  };
  const { sync, events, stop } = await startSync(t, clusters, { store });
  await sync.close();
  assert.ok(events.some((one) => one.kind === "state-unsaved" && one.error === "unexpected: unexpected"));
  store.save = save;
  await stop();
  assert.ok(store.state);
});

test("labels of nodes that are nested without end are reported, and do not end the process", async () => {
  const depth = 20_000;
  const labels = JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`) as never;
  const items = [{ metadata: { name: "hostile", labels } }];
  const api = { listAt: async () => ({ items, resourceVersion: "1" }) } as unknown as KubernetesApi;
  const error = await new Promise<UserError | undefined>((resolve) => {
    const watch = new ClusterWatch({
      api,
      onChange: () => {},
      onRestart: (_, _reason, failure) => {
        watch.close();
        resolve(failure);
      },
    });
    watch.update([{ resource: nodes, part: "any" }]);
  });
  assert.equal(error?.message, "unexpected: Maximum call stack size exceeded");
});
