import { after, before, describe, test } from "node:test";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { type Api, startApi } from "../../lib/sandbox/server.ts";
import { type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";
import { clientOf } from "./client.ts";
import { DESCRIPTION, CASES as GENERAL_CASES, prepare, type Server } from "./contract.ts";
import { EVENT_AND_LEASE_CASES } from "./contract-event-lease.ts";
import { LIST_CASES } from "./contract-list.ts";
import { METADATA_CASES } from "./contract-metadata.ts";
import { NEW_EVENT_CASES } from "./contract-new-event.ts";
import { WATCH_CASES } from "./contract-watch.ts";

const CASES = [
  ...GENERAL_CASES,
  ...EVENT_AND_LEASE_CASES,
  ...LIST_CASES,
  ...WATCH_CASES,
  ...METADATA_CASES,
  ...NEW_EVENT_CASES,
];

describe("API of the sandbox", () => {
  let api: Api;
  let client: Server;
  before(async () => {
    const objects = clusterObjects(DESCRIPTION, clusterPki(DESCRIPTION, { key: "ec" }));
    api = await startApi({ objects });
    client = clientOf(api.url, api.ca.cert, api.token, (version) => api.store.history.compact(Number(version)));
    await prepare(client);
  });
  after(() => api.stop());
  for (const { name, run } of CASES) test(name, () => run(client));
});

describe("real kube-apiserver", { skip: withoutRealServers() }, () => {
  const pki = clusterPki(DESCRIPTION, { key: "ec" });
  let servers: ApiServers;
  let client: Server;
  before(async () => {
    servers = await startApiServers([DESCRIPTION.name]);
    const real = servers.get(DESCRIPTION.name);
    client = clientOf(real.url, real.ca.cert, "admin-token", servers.compact);
    await real.create(clusterObjects(DESCRIPTION, pki));
    await prepare(client);
  });
  after(() => servers?.stop());
  for (const { name, run } of CASES) test(name, () => run(client));

  test("accepts the objects of every chart", async () => {
    const peers = [{ name: "peer", ips: ["192.0.2.2", "fd00::2"], port: 32379 }];
    const variants: Partial<ClusterDescription>[] = [
      {},
      { configEnabled: true, peers, operatorMountsSecret: true, replicas: 2, helm: true },
      { kvstoremesh: true, authMode: "cluster", caBundle: { kind: "ConfigMap", name: "bundle", key: "ca.crt" } },
      { kvstoreMode: "external", configEnabled: true, peers, certManager: true },
      { service: { type: "LoadBalancer", ingress: [{ ip: "192.0.2.9" }, { hostname: "lb.example" }] } },
    ];
    let count = 0;
    for (let minor = 10; minor <= 20; minor++) {
      for (const variant of variants) {
        count++;
        const description: ClusterDescription = {
          name: "cluster1",
          id: 1,
          version: `1.${minor}`,
          namespace: `chart-${count}`,
          nodes: [{ name: `chart-node${count}`, internalIPs: ["172.18.0.2"], podCIDRs: ["10.1.0.0/24"] }],
          // The API server allocates node ports of load balancers above the lowest 86.
          service: { nodePort: 30000 + count },
          ...variant,
        };
        const objects = clusterObjects(description, pki);
        const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: `chart-${count}` } };
        await servers.get(DESCRIPTION.name).create([namespace, ...objects]);
      }
    }
  });
});
