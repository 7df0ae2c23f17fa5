/** `sync` as in a pod of a real cluster, with the permissions that `rbac` prints for it and no other. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { CoreV1Event, V1Secret } from "@kubernetes/client-node";
import { type ClusterPki, clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { issue } from "../../lib/sandbox/pki.ts";
import { labelledSecrets } from "../support/documented-secrets.ts";
import { run } from "../support/programs.ts";
import { type ApiServer, type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";
import { removeFolder, temporaryFolder } from "../support/real-process.ts";
import { waitForRoles } from "../support/service-accounts.ts";
import { type SyncProcess, startSyncProcess } from "../support/sync-process.ts";

const CORE = "/api/v1/namespaces/kube-system";
/** The namespace in which sync runs, with its state and the Secrets of the clusters. */
const HOME = "clustermesh-secrets";
const ACCOUNT = "clustermesh-sync";
const NAMES = ["cluster1", "cluster2", "cluster3"];

describe("sync in a pod, with the permissions of rbac", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let management: ApiServer;
  let folder: string;
  const pkis = new Map<string, ClusterPki>();
  const replicas: SyncProcess[] = [];

  before(async () => {
    folder = temporaryFolder("sync-rights");
    servers = await startApiServers(NAMES);
    management = servers.get("cluster1");
    await management.create([{ apiVersion: "v1", kind: "Namespace", metadata: { name: HOME } }]);
    await Promise.all(NAMES.map(startCluster));
    await apply(management, ["--clusters-from=secrets", `--clusters-namespace=${HOME}`, `--state-namespace=${HOME}`]);
    await waitForRoles(servers.all);
    mkdirSync(join(folder, "account"));
    const account = { "ca.crt": management.ca.cert, token: await tokenOf(management, HOME), namespace: HOME };
    for (const [file, text] of Object.entries(account)) writeFileSync(join(folder, "account", file), text);
    await management.create((await Promise.all(NAMES.map(memberSecret))).flat());
  });
  after(async () => {
    for (const replica of replicas) await replica.close();
    await servers?.stop();
    if (folder) removeFolder(folder);
  });

  const startCluster = async (name: string, index: number) => {
    const server = servers.get(name);
    const nodes = [{ name: `${name}-node`, internalIPs: [`172.18.${index}.2`] }];
    const description = { name, id: index + 1, version: "1.20.2", nodes };
    const pki = clusterPki(description, { key: "ec" });
    pkis.set(name, pki);
    await server.create(clusterObjects(description, pki));
    await apply(server, []);
  };
  /** Applies what `rbac --for sync` prints. */
  const apply = async (server: ApiServer, flags: readonly string[]) => {
    const args = ["rbac", "--for", "sync", "--service-account", ACCOUNT, "-n", "kube-system", "-o", "json", ...flags];
    const { code, stdout, stderr } = await run("clustermesh-secrets", args);
    assert.equal(code, 0, stderr);
    const printed = JSON.parse(stdout) as { items?: KubernetesObject[] } | KubernetesObject[];
    await server.apply(Array.isArray(printed) ? printed : (printed.items ?? []));
  };
  const tokenOf = async (server: ApiServer, namespace: string): Promise<string> => {
    const request = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${ACCOUNT}/token`;
    return (await server.ask("POST", path, request)).status.token;
  };
  const memberSecret = async (name: string): Promise<KubernetesObject[]> => {
    const server = servers.get(name);
    const ca = Buffer.from(server.ca.cert).toString("base64");
    const access = { server: server.url, ca, credentials: { token: await tokenOf(server, "kube-system") } };
    return labelledSecrets(name, access).map(({ metadata, ...secret }) => ({
      ...secret,
      apiVersion: "v1",
      kind: "Secret",
      metadata: { ...metadata, namespace: HOME },
    }));
  };
  const startReplica = async () => {
    const { hostname, port } = new URL(management.url);
    const env = { HOME: folder, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const serviceAccount = join(folder, "account");
    const replica = await startSyncProcess(["--clusters-from=secrets", "--yes", "--settle=200ms"], {
      serviceAccount,
      env,
    });
    replicas.push(replica);
    return replica;
  };
  const certificateOf = async (importer: string, peer: string) => {
    const { status, body } = await servers.get(importer).request("GET", `${CORE}/secrets/cilium-kvstoremesh`);
    const { data = {} }: V1Secret = status === 200 ? body : {};
    return Buffer.from(data[`${peer}.etcd-client.crt`] ?? "", "base64").toString();
  };
  /** Renews the client certificate of a cluster, and waits until the others have it: with an interval of ten minutes, by watches. */
  const untilRenewed = async (sync: SyncProcess, name: string) => {
    const pki = pkis.get(name) as ClusterPki;
    const { cert, key } = issue(pki.ca, { cn: "remote", usage: "client", key: "ec" });
    const data = { "tls.crt": Buffer.from(cert).toString("base64"), "tls.key": Buffer.from(key).toString("base64") };
    await servers.get(name).ask("PATCH", `${CORE}/secrets/clustermesh-apiserver-remote-cert`, { data });
    await sync.eventually(`the certificate of ${name} to be distributed`, async () => {
      const others = NAMES.filter((other) => other !== name);
      return (await Promise.all(others.map((other) => certificateOf(other, name)))).every((text) => text === cert);
    });
  };
  const holder = async (): Promise<string> => {
    const path = `/apis/coordination.k8s.io/v1/namespaces/${HOME}/leases/clustermesh-secrets-sync`;
    return (await management.ask("GET", path)).spec.holderIdentity ?? "";
  };

  test("it connects the clusters, and its watches report changes", async () => {
    const sync = await startReplica();
    await sync.until("the Lease", ({ event }) => event === "leading");
    assert.notEqual(await holder(), "");
    for (const name of NAMES)
      await sync.until(`${name} to be written`, ({ event, target }) => event === "written" && target === name);
    for (const name of NAMES) await untilRenewed(sync, name);
  });

  test("the state is in a ConfigMap, without keys", async () => {
    const [sync] = replicas as [SyncProcess];
    const state = await sync.eventually("the state", async () => {
      const { status, body } = await management.request(
        "GET",
        `/api/v1/namespaces/${HOME}/configmaps/clustermesh-secrets-sync`,
      );
      const text: string | undefined = status === 200 ? body.data?.["state.json"] : undefined;
      return text !== undefined && NAMES.every((name) => text.includes(name)) && text;
    });
    assert.doesNotMatch(state, /PRIVATE KEY|BEGIN/);
    const { members, held } = JSON.parse(state);
    assert.deepEqual(members.map(({ cluster }: { cluster: string }) => cluster).sort(), NAMES);
    assert.deepEqual(held, []);
  });

  test("Events on the target's Secrets report what was written", async () => {
    const [sync] = replicas as [SyncProcess];
    for (const name of NAMES) {
      await sync.eventually(`an Event in ${name}`, async () => {
        const { items }: { items: CoreV1Event[] } = await servers.get(name).ask("GET", `${CORE}/events`);
        return items.some(
          ({ reason, involvedObject }) => reason === "PeersUpdated" && involvedObject.kind === "Secret",
        );
      });
    }
  });

  test("nothing was forbidden", () => {
    const [sync] = replicas as [SyncProcess];
    assert.deepEqual(
      sync.events.filter(({ level }) => level !== "info"),
      [],
    );
    assert.doesNotMatch(sync.events.map(({ message }) => message).join("\n"), /forbidden|not allowed/);
    assert.equal(sync.output, "");
  });

  test("another replica waits, and takes over when the first one ends", async () => {
    const [sync] = replicas as [SyncProcess];
    const second = await startReplica();
    const standby = await second.until("the other replica", ({ event }) => event === "standby");
    const before = await holder();
    assert.equal(standby.holder, before);
    const probes = async () => {
      const answers = ["healthz", "readyz"].map((path) => fetch(`http://${second.listen}/${path}`));
      return (await Promise.all(answers)).map(({ status }) => status);
    };
    assert.deepEqual(await probes(), [200, 200]);
    assert.equal(await second.metric("clustermesh_sync_leader"), 0);
    assert.equal(await sync.stop(), 0);
    await second.until("the Lease", ({ event }) => event === "leading");
    assert.notEqual(await holder(), before);
    await untilRenewed(second, "cluster2");
    assert.equal(await second.metric("clustermesh_sync_leader"), 1);
    assert.deepEqual(
      second.events.filter(({ level }) => level !== "info"),
      [],
    );
    assert.equal(await second.stop(), 0);
    assert.equal(await holder(), "", "released");
  });
});
