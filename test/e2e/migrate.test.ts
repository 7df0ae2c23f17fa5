/** A target that an upgrade left behind, migrated while Cilium's own programs run. */
import assert from "node:assert/strict";
import { get } from "node:https";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1Secret } from "@kubernetes/client-node";
import { isOwnCache } from "../../lib/peer/etcd-config.ts";
import { readEntries } from "../../lib/peer/secret.ts";
import {
  judgeAgents,
  type Member,
  readMountedFiles,
  SERVICE,
  startKubelet,
  startMesh,
  THREE_CLUSTERS,
  workloadHosts,
} from "../support/mesh.ts";
import { run } from "../support/programs.ts";
import {
  createIdentity,
  type Kvstoremesh,
  runKvstoremesh,
  startClusterEtcd,
  troubleshoot,
  waitFor,
  withoutRealServers,
} from "../support/real.ts";
import { simulateUpgrade } from "../support/upgrade.ts";

const PATH = "/api/v1/namespaces/kube-system/secrets";
const AGENTS = "cilium-clustermesh";
const COPY = "cilium-kvstoremesh";
/** The worst order: agents are led to the copy long before anybody fetches it. */
const KUBELET = { agents: 200, kvstoremesh: 4_000 };

/**
 * Cilium's kvstoremesh also substitutes for the agents: it reads peers by the same configs, with the same code, and
 * mirrors their state to an etcd, where a withdrawal is visible.
 */
describe("a migration under way", { skip: withoutRealServers() }, () => {
  for (const version of ["1.20", "1.18"] as const) {
    test(`from 1.15's layout to ${version} with KVStoreMesh: ready, and nothing known is withdrawn in between`, async (t) => {
      const stops: (() => Promise<void>)[] = [];
      try {
        const mesh = await startMesh({ ...THREE_CLUSTERS, version, key: "ec" });
        stops.push(mesh.stop);
        const [target, ...peers] = mesh.members as [Member, ...Member[]];
        const names = peers.map(({ name }) => name);
        const migrate = () =>
          run("import-secrets", ["--context", target.name, "--migrate"], { kubeconfig: mesh.kubeconfig });
        const hosts = await simulateUpgrade(target, await mesh.extract());
        const before = await troubleshoot(await readMountedFiles(target, "agents"), { hosts });
        for (const name of names) assert.equal(before.get(name)?.connects, true, `${name}: ${before.get(name)?.text}`);

        // Cilium 1.18 is judged by 1.19's program, which takes names from its pod only.
        const program = version === "1.18" ? ({ version: "1.19" } as const) : {};
        const known = await startClusterEtcd({ cluster: target.name, pki: target.pki });
        stops.push(known.stop);
        const agents = await runKvstoremesh({
          cluster: target,
          etcd: known,
          files: await readMountedFiles(target, "agents"),
          hosts: { ...hosts, [SERVICE]: [target.serviceAddress] },
          ...program,
        });
        stops.push(agents.stop);
        await agents.ready(names, 45_000);
        for (const peer of peers) await arrives(known, peer, 1, "what agents know");

        const startCopying = async () =>
          runKvstoremesh({
            cluster: target,
            etcd: target.etcd,
            files: await readMountedFiles(target, "kvstoremesh"),
            ...(version === "1.18" && { ...program, hosts: await workloadHosts(target, true) }),
          });
        let copying: Kvstoremesh = await startCopying();
        stops.push(() => copying.stop());
        assert.deepEqual([...(await copying.status()).keys()], [], "as an upgrade leaves it: 0 of 0");

        const follows = [known, target.etcd].map((etcd) => etcd.follow("cilium/cache/"));
        for (const { stop } of follows) stops.push(stop);
        const kubelets = [
          startKubelet(target, "agents", agents.update, KUBELET.agents),
          startKubelet(target, "kvstoremesh", (files) => copying.update(files), KUBELET.kvstoremesh),
        ];
        for (const stop of kubelets) stops.push(stop);

        const listed: List = await target.api.ask("GET", PATH);
        const { code, stderr } = await migrate();
        assert.equal(code, 0, stderr);
        assert.match(stderr, new RegExp(`moved to another Secret: ${names.join(" and ")}`));
        if (version === "1.18") {
          assert.match(stderr, /will restart deployment\/clustermesh-apiserver in /);
          await sleep(KUBELET.kvstoremesh);
          await copying.stop();
          copying = await startCopying();
        }

        await copying.ready(names, 45_000);
        for (const peer of peers) await arrives(target.etcd, peer, 1, "the own etcd");
        assert.deepEqual(await judgeAgents(target, peers), names);
        // Later identities arrive through the copy.
        await agents.ready(names, 45_000);
        for (const { api, id, name } of peers) await createIdentity(api, identityOf(id, 2), { from: name });
        for (const peer of peers) {
          await arrives(target.etcd, peer, 2, "the own etcd");
          await arrives(known, peer, 2, "what agents know");
        }
        for (const { events } of follows) {
          const received = await waitFor("the last write", () => {
            const all = events();
            return peers.every((peer) => all.some(({ key }) => key === cached(peer, 2))) && all;
          });
          assert.deepEqual(
            received.filter(({ type }) => type === "DELETE"),
            [],
          );
        }

        // The witness: it is the copy that agents read now, and what it withdraws is seen.
        const [peer] = peers as [Member];
        await target.etcd.put(cached(peer, 3), (await target.etcd.get(cached(peer, 2))) ?? "");
        await arrives(known, peer, 3, "what agents know");
        await target.etcd.etcdctl("del", cached(peer, 3));
        for (const { events } of follows) {
          await waitFor("the withdrawal", () =>
            events().some(({ type, key }) => type === "DELETE" && key === cached(peer, 3)),
          );
        }

        const states = await statesSince(target, listed);
        assert.equal(states.length, 3, "as it was, with the copy's config, and with the agents led to it");
        for (const [i, secrets] of states.entries()) {
          const [agents, copied] = [configsIn(secrets.get(AGENTS)), configsIn(secrets.get(COPY))];
          for (const name of names) {
            const endpoints = agents.get(name);
            assert.ok(endpoints, `state ${i}: ${name} is withdrawn`);
            assert.ok(
              !isOwnCache(endpoints) || copied.has(name),
              `state ${i}: ${name}'s copy is read, but not fetched`,
            );
          }
        }
        const again = await migrate();
        assert.equal(again.code, 0, again.stderr);
        assert.match(again.stderr, /nothing written/);
        assert.equal((await statesSince(target, await target.api.ask("GET", PATH))).length, 1);
        t.diagnostic(`${names.length} peers moved, in ${states.length} states, each of which had all of them`);
      } finally {
        for (const stop of stops.reverse()) await stop();
      }
    });
  }
});

const identityOf = (id: number, nth: number) => 0x10000 * id + nth;
const cached = ({ name, id }: Member, nth: number) => `cilium/cache/identities/v1/${name}/id/${identityOf(id, nth)}`;

/** Waits for the nth identity of a peer. */
async function arrives(etcd: Member["etcd"], peer: Member, nth: number, where: string): Promise<void> {
  const key = cached(peer, nth);
  await waitFor(`${peer.name}'s identity ${nth} in ${where}`, async () => (await etcd.keys(key)).includes(key));
}

interface List {
  metadata: { resourceVersion: string };
  items: V1Secret[];
}

/** The Secrets as listed, and after each later write, which a watch reports. */
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
  return new Map(
    readEntries({ files: new Map(files) }, {}, "").map(({ name, config }) => [name, config?.endpoints ?? []]),
  );
}
