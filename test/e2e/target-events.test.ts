/** Events of `sync` on a real API server: with the permissions to create and patch them alone. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CoreV1Event } from "@kubernetes/client-node";
import { KubernetesApi } from "../../lib/kube/api.ts";
import { openTransport } from "../../lib/kube/transport/transport.ts";
import { TargetEvents } from "../../lib/sync/target-events.ts";
import { type ApiServer, type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";

const NAMESPACE = "kube-system";
const MINUTE = 60_000;

describe("Events on a real API server", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let server: ApiServer;
  const opened: KubernetesApi[] = [];
  const open = (user: string) => {
    const tls = { ca: server.ca.cert, insecure: false };
    const context = { name: "cluster1", server: server.url, tls, user: {}, presentsCertificate: false };
    const headers = { authorization: `Bearer ${user}-token` };
    const transport = openTransport(context, async () => ({ headers }), { env: {} });
    const api = new KubernetesApi(transport, { context: "cluster1", flags: "", fieldManager: "clustermesh-secrets" });
    opened.push(api);
    return { cluster: "cluster1", api, namespace: NAMESPACE };
  };
  const list = async (): Promise<CoreV1Event[]> => {
    const { items } = await server.ask("GET", `/api/v1/namespaces/${NAMESPACE}/events`);
    return items.filter(({ source }: CoreV1Event) => source?.component === "clustermesh-secrets");
  };

  before(async () => {
    servers = await startApiServers(["cluster1"], { users: [{ name: "sync" }, { name: "powerless" }] });
    server = servers.get("cluster1");
    await server.create([
      { apiVersion: "v1", kind: "Secret", metadata: { name: "cilium-clustermesh", namespace: NAMESPACE }, data: {} },
    ]);
    const rule = { apiGroups: [""], resources: ["secrets"], verbs: ["get"], resourceNames: ["cilium-clustermesh"] };
    const create = { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] };
    await server.allow("sync", [rule, create], NAMESPACE);
  });
  after(async () => {
    for (const api of opened) api.close();
    await servers?.stop();
  });

  test("a repetition raises the count, also by another process; kubectl finds the Event by the Secret", async () => {
    let now = new Date("2030-01-01T00:00:00Z");
    const record = {
      ...{ target: "cluster1", peer: "cluster2", reason: "check" as const },
      ...{ since: "2030-01-01T00:00:00Z", message: "the CA is stale" },
    };
    const target = open("sync");
    for (let process = 0; process < 2; process++) {
      const recorder = new TargetEvents({ instance: `pod-${process}`, now: () => now, onDenied: assert.fail });
      for (let i = 0; i < 2; i++) {
        await recorder.report(target, { objects: ["secret/cilium-clustermesh"], peers: ["cluster3"], held: [record] });
        now = new Date(now.getTime() + MINUTE);
      }
    }
    const secret = await server.ask("GET", `/api/v1/namespaces/${NAMESPACE}/secrets/cilium-clustermesh`);
    const found = await list();
    assert.deepEqual(found.map(({ type, reason, count, message }) => [type, reason, count, message]).sort(), [
      ["Normal", "PeersUpdated", 4, "wrote secret/cilium-clustermesh for peer cluster3"],
      ["Warning", "PeerHeld", 4, "holding peer cluster2: the CA is stale [check]"],
    ]);
    for (const { involvedObject, firstTimestamp, lastTimestamp } of found) {
      assert.equal(involvedObject.uid, secret.metadata.uid);
      assert.deepEqual([firstTimestamp, lastTimestamp].map(String), ["2030-01-01T00:00:00Z", "2030-01-01T00:03:00Z"]);
    }
    // As kubectl describe selects them.
    const selector = `involvedObject.name=cilium-clustermesh,involvedObject.uid=${secret.metadata.uid}`;
    const path = `/api/v1/namespaces/${NAMESPACE}/events?fieldSelector=${encodeURIComponent(selector)}`;
    assert.equal((await server.ask("GET", path)).items.length, 2);
  });

  test("without the permission, that is reported once", async () => {
    const denied: string[] = [];
    const onDenied = (cluster: string) => denied.push(cluster);
    const recorder = new TargetEvents({ instance: "pod", now: () => new Date(), onDenied });
    const target = open("powerless");
    for (const peer of ["a", "b"]) await recorder.report(target, { objects: ["secret/x"], peers: [peer], held: [] });
    assert.deepEqual(denied, ["cluster1"]);
  });
});
