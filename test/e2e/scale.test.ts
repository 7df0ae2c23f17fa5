/** Hundreds of peers into one target, and twenty writers at once, on real API servers. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { parse } from "yaml";
import type { Peer } from "../../lib/peer/peer.ts";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { type ApiServer, type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";

const SECRETS = "/api/v1/namespaces/kube-system/secrets";
const CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps";
const TARGETS = ["one-ca", "ecdsa", "rsa", "writers"];
const TELL_USAGE = fileURLToPath(new URL("../support/report-memory.cjs", import.meta.url));
const ROUNDS = 3;
const WRITERS = 20;

describe("hundreds of peers, and twenty writers", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let dir: string;
  const own = makeCa({ cn: "Cilium CA" });
  const nameOf = (id: number) => `cluster-${String(id).padStart(3, "0")}`;

  before(async () => {
    servers = await startApiServers(TARGETS);
    dir = await mkdtemp(join(tmpdir(), "scale-"));
    for (const name of TARGETS) {
      const description: ClusterDescription = {
        name,
        id: 511,
        version: "1.20.2",
        maxConnectedClusters: 511,
        nodes: [{ name: `${name}-node`, internalIPs: ["172.18.0.2"] }],
      };
      await servers.get(name).create(clusterObjects(description, clusterPki(description, { ca: own })));
    }
  });
  after(async () => {
    await servers?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  /** Files of peers, in a separate folder. */
  async function files(count: number, tls: (id: number) => Pick<Peer, "ca" | "client">): Promise<string[]> {
    const folder = await mkdtemp(join(dir, "files-"));
    const paths: string[] = [];
    for (let id = 1; id <= count; id++) {
      const name = nameOf(id);
      const peer: Peer = {
        name,
        endpoints: [`https://${name}.mesh.cilium.io:32379`],
        hostAliases: [{ hostname: `${name}.mesh.cilium.io`, ips: [`10.${id >> 8}.${id & 255}.2`] }],
        facts: { name, id, maxConnectedClusters: 511, version: "1.20.2", serverNames: ["*.mesh.cilium.io"] },
        ...tls(id),
      };
      const path = join(folder, `${name}.json`);
      await writeFile(path, JSON.stringify(writePeerFile(peer)), { mode: 0o600 });
      paths.push(path);
    }
    return paths;
  }

  const certified = (ca: Issuer, key: object = {}) => ({
    ca: { pem: ca.cert },
    client: issue(ca, { cn: "remote", usage: "client", ...key }),
  });

  async function measured(context: string, paths: readonly string[], ...args: string[]) {
    const env = { NODE_OPTIONS: `--require ${TELL_USAGE}`, USAGE: join(dir, "rss") };
    const started = performance.now();
    const kubeconfig = servers.kubeconfig;
    const ended: ProgramResult = await run("import-secrets", ["--context", context, ...args, ...paths], {
      kubeconfig,
      env,
    });
    const seconds = (performance.now() - started) / 1000;
    const mebibytes = Number(await readFile(join(dir, "rss"), "utf8")) / 1024;
    return { ...ended, took: `${seconds.toFixed(2)} s, ${mebibytes.toFixed(0)} MiB at the peak` };
  }

  const configsIn = ({ data = {} }: V1Secret) => Object.keys(data).filter((key) => !key.includes("."));
  const bytesIn = ({ data = {} }: V1Secret) =>
    Object.values(data)
      .reduce((sum, value) => sum + Buffer.byteLength(value, "base64"), 0)
      .toLocaleString("en");
  const readSecret = (api: ApiServer, name: string): Promise<V1Secret> => api.ask("GET", `${SECRETS}/${name}`);

  async function expectAll(context: string, count: number): Promise<string> {
    const secret = await readSecret(servers.get(context), "cilium-kvstoremesh");
    assert.equal(configsIn(secret).length, count);
    assert.equal(configsIn(await readSecret(servers.get(context), "cilium-clustermesh")).length, count);
    return `${bytesIn(secret)} bytes`;
  }

  test("510 peers of one CA into a target of that CA, in one command", async (t) => {
    const paths = await files(510, () => certified(own));
    const { code, stderr, took } = await measured("one-ca", paths);
    assert.equal(code, 0, stderr);
    t.diagnostic(`510 peers of one CA: ${took}, ${await expectAll("one-ca", 510)}`);
    const secret = await readSecret(servers.get("one-ca"), "cilium-kvstoremesh");
    assert.deepEqual(
      Object.keys(secret.data ?? {}).filter((key) => key.endsWith(".key")),
      [],
      "no key in the Secret",
    );
    const again = await measured("one-ca", paths);
    assert.match(again.stderr, /nothing written/);
    t.diagnostic(`again, unchanged: ${again.took}`);
  });

  test("254 peers with different ECDSA CAs are written", async (t) => {
    const paths = await files(254, (id) => certified(makeCa({ cn: `CA ${id}` })));
    const { code, stderr, took } = await measured("ecdsa", paths);
    assert.equal(code, 0, stderr);
    t.diagnostic(`254 peers with different ECDSA CAs: ${took}, ${await expectAll("ecdsa", 254)}`);
  });

  test("254 peers with different RSA CAs are refused with their size and the remedy, and nothing is written", async (t) => {
    const [caKey, key] = [0, 1].map(() => makeCa({ cn: "x", key: "rsa" }).key) as [string, string];
    const rsa = { key: "rsa", keyFormat: "traditional" } as const;
    const paths = await files(254, (id) =>
      certified(makeCa({ cn: `CA ${id}`, ...rsa, privateKey: caKey }), { ...rsa, privateKey: key }),
    );
    const { code, stderr, took } = await measured("rsa", paths);
    assert.equal(code, 2, stderr);
    const [, bytes, over] =
      /Secret cilium-kvstoremesh|\(cilium-kvstoremesh\): the data would be ([\d,]+) bytes, ([\d,]+) over the limit/.exec(
        stderr,
      ) ?? [];
    assert.equal(Number(bytes?.replaceAll(",", "")) - Number(over?.replaceAll(",", "")), 1_048_576, stderr);
    assert.match(stderr, /share a CA between the clusters and import with --tls=common, or use ECDSA/);
    assert.equal((await servers.get("rsa").request("GET", `${SECRETS}/cilium-kvstoremesh`)).status, 404);
    t.diagnostic(`254 peers with different RSA CAs: refused, ${bytes} bytes, ${took}`);
  });

  test("20 imports at once into one target: all 20 peers are there, three times in a row", async (t) => {
    const api = servers.get("writers");
    const paths = await files(WRITERS, () => certified(makeCa({ cn: "Other CA" })));
    const names = paths.map((_, i) => nameOf(i + 1));
    const times: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const started = performance.now();
      const ended = await Promise.all(
        paths.map((path) => run("import-secrets", ["--context", "writers", path], { kubeconfig: servers.kubeconfig })),
      );
      times.push((performance.now() - started) / 1000);
      for (const { code, stderr } of ended) assert.equal(code, 0, `round ${round}: ${stderr}`);
      for (const name of ["cilium-kvstoremesh", "cilium-clustermesh"]) {
        assert.deepEqual(configsIn(await readSecret(api, name)).sort(), names, `round ${round}: ${name}`);
        await api.ask("DELETE", `${SECRETS}/${name}`);
      }
      const users: V1ConfigMap = await api.ask("GET", `${CONFIG_MAPS}/clustermesh-remote-users`);
      const list = parse(users.data?.["users.yaml"] ?? "") as { users: { name: string }[] };
      assert.deepEqual(
        list.users.map(({ name }) => name).sort(),
        names.map((name) => `remote-${name}`),
        `round ${round}`,
      );
      await api.ask("DELETE", `${CONFIG_MAPS}/clustermesh-remote-users`);
    }
    t.diagnostic(`${WRITERS} imports at once, ${ROUNDS} times: at the most ${Math.max(...times).toFixed(1)} s`);
  });
});
