/** A target that an upgrade left behind, migrated while Cilium's own programs run. */
import assert from "node:assert/strict";
import { get } from "node:https";
import { describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { readPeers } from "../../lib/exchange/files.ts";
import { isOwnCache } from "../../lib/peer/etcd-config.ts";
import { readEntries } from "../../lib/peer/secret.ts";
import { judgeAgents, type Member, mounted, startMesh } from "../support/mesh.ts";
import { run } from "../support/programs.ts";
import { runKvstoremesh, troubleshoot, waitFor, withoutRealServers } from "../support/real.ts";

const PATH = "/api/v1/namespaces/kube-system/secrets";
const MOUNT = "/var/lib/cilium/clustermesh/";
const AGENTS = "cilium-clustermesh";
const COPY = "cilium-kvstoremesh";

describe("a migration under way", { skip: withoutRealServers() }, () => {
  test("1.15's layout with KVStoreMesh on: kvstoremesh gets ready, and no peer's data is withdrawn in between", async (t) => {
    const mesh = await startMesh({
      clusters: 3,
      version: "1.20",
      kvstoremesh: true,
      ca: "own",
      authMode: "migration",
      service: "NodePort",
      deadAddress: false,
      key: "ec",
    });
    let kubelet: NodeJS.Timeout | undefined;
    let kvstoremesh: Awaited<ReturnType<typeof runKvstoremesh>> | undefined;
    try {
      const [target, ...peers] = mesh.members as [Member, ...Member[]];
      const names = peers.map(({ name }) => name);
      const hosts = await leaveBehind(target, await mesh.extract());
      const before = await troubleshoot(await mounted(target, "agents"), { hosts });
      for (const name of names) assert.equal(before.get(name)?.connects, true, `${name}: ${before.get(name)?.text}`);

      kvstoremesh = await runKvstoremesh({
        cluster: target,
        etcd: target.etcd,
        files: await mounted(target, "kvstoremesh"),
      });
      const { update } = kvstoremesh;
      let mountedVersion = "";
      kubelet = setInterval(async () => {
        const { status, body } = await target.api.request("GET", `${PATH}/${COPY}`);
        if (status !== 200 || body.metadata.resourceVersion === mountedVersion) return;
        mountedVersion = body.metadata.resourceVersion;
        update(await mounted(target, "kvstoremesh"));
      }, 200);
      assert.deepEqual([...(await kvstoremesh.status()).keys()], [], "as an upgrade leaves it: 0 of 0");

      const listed: List = await target.api.ask("GET", PATH);
      const { code, stderr } = await run("import-secrets", ["--context", target.name, "--migrate"], {
        kubeconfig: mesh.kubeconfig,
      });
      assert.equal(code, 0, stderr);
      assert.match(stderr, new RegExp(`moved ${names.join(" and ")}`));

      await kvstoremesh.ready(names, 45_000);
      for (const { name, id } of peers) {
        const key = `cilium/cache/identities/v1/${name}/id/${0x10000 * id + 1}`;
        await waitFor(`${name}'s identity in the own etcd`, async () => (await target.etcd.keys(key)).length > 0);
      }
      assert.deepEqual(await judgeAgents(target, peers), names);

      const states = await statesSince(target, listed);
      assert.equal(states.length, 3, "as it was, with the copy's config, and with the agents led to it");
      for (const [i, secrets] of states.entries()) {
        const [agents, copied] = [configsIn(secrets.get(AGENTS)), configsIn(secrets.get(COPY))];
        for (const name of names) {
          const endpoints = agents.get(name);
          assert.ok(endpoints, `state ${i}: ${name} is withdrawn`);
          assert.ok(
            !isOwnCache(endpoints) || copied.has(name),
            `state ${i}: ${name}'s copy is read, and nobody fetches it`,
          );
        }
      }
      const again = await run("import-secrets", ["--context", target.name, "--migrate"], {
        kubeconfig: mesh.kubeconfig,
      });
      assert.match(again.stderr, /nothing written/);
      t.diagnostic(`${names.length} peers moved, in ${states.length} states, each of which had all of them`);
    } finally {
      clearInterval(kubelet);
      await kvstoremesh?.stop();
      await mesh.stop();
    }
  });
});

interface List {
  metadata: { resourceVersion: string };
  items: V1Secret[];
}

/**
 * Leaves a target as an upgrade from 1.15 does: the chart's entries for the agents, whose names the DaemonSet resolves,
 * and none for kvstoremesh. Gives what the DaemonSet resolves.
 */
async function leaveBehind({ api, name: own }: Member, files: string[]): Promise<Record<string, string[]>> {
  const { peers } = await readPeers(files, new Date());
  const data: Record<string, string> = {};
  const hosts: Record<string, string[]> = {};
  for (const { peer } of peers.filter(({ peer }) => peer.name !== own)) {
    const { name, endpoints, hostAliases, ca, client } = peer;
    assert.ok(typeof ca === "object" && typeof client === "object", `${name} comes with its own certificates`);
    const stem = `${name}.etcd-client`;
    const texts = {
      [name]: `endpoints:\n- ${endpoints[0]}\ntrusted-ca-file: '${MOUNT}${stem}-ca.crt'\nkey-file: '${MOUNT}${stem}.key'\ncert-file: '${MOUNT}${stem}.crt'\n`,
      [`${stem}-ca.crt`]: ca.pem,
      [`${stem}.crt`]: client.cert,
      [`${stem}.key`]: client.key,
    };
    for (const [key, text] of Object.entries(texts)) data[key] = Buffer.from(text).toString("base64");
    for (const { hostname, ips } of hostAliases) hosts[hostname] = ips;
  }
  const metadata = { name: AGENTS, namespace: "kube-system" };
  await api.ask("POST", PATH, { apiVersion: "v1", kind: "Secret", metadata, type: "Opaque", data });
  const hostAliases = Object.entries(hosts).flatMap(([name, ips]) => ips.map((ip) => ({ ip, hostnames: [name] })));
  const patch = { spec: { template: { spec: { hostAliases } } } };
  await api.ask("PATCH", "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium", patch);
  return hosts;
}

/** The Secrets as they stood when listed, and after each write since: a watch tells every one. */
async function statesSince({ api }: Member, { metadata, items }: List): Promise<Map<string, V1Secret>[]> {
  let secrets = new Map(items.map((secret) => [secret.metadata?.name ?? "", secret]));
  const states = [secrets];
  const query = `watch=1&timeoutSeconds=1&resourceVersion=${metadata.resourceVersion}`;
  const options = { ca: api.ca.cert, headers: { authorization: "Bearer admin-token" } };
  const text = await new Promise<string>((resolve, reject) => {
    get(`${api.url}${PATH}?${query}`, options, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve(body));
      response.on("error", reject);
    }).on("error", reject);
  });
  for (const line of text.split("\n").filter((one) => one !== "")) {
    const { type, object } = JSON.parse(line) as { type: string; object: V1Secret };
    assert.match(type, /^(ADDED|MODIFIED)$/, line.slice(0, 200));
    secrets = new Map(secrets).set(object.metadata?.name ?? "", object);
    states.push(secrets);
  }
  return states;
}

/** The configs of a Secret: their endpoints by name. */
function configsIn(secret: V1Secret | undefined): Map<string, string[]> {
  const files = Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")] as const);
  return new Map(readEntries(new Map(files), {}, "").map(({ name, config }) => [name, config?.endpoints ?? []]));
}
