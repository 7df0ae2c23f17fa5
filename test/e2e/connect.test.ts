/**
 * A real mesh of three by `connect`, its certificates changed in each way, and disconnected again: Cilium's own
 * kvstoremesh runs throughout, and its status is checked at each step.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import type { MeshReport } from "../../lib/mesh/status-report.ts";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";
import { type Member, type Mesh, readMountedFiles, startKubelet, startMesh, THREE_CLUSTERS } from "../support/mesh.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { type KeyEvents, type Kvstoremesh, runKvstoremesh, waitFor, withoutRealServers } from "../support/real.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const SECRETS = "/api/v1/namespaces/kube-system/secrets";

describe("a real mesh: connect, rotate, disconnect", { skip: withoutRealServers() }, () => {
  let mesh: Mesh;
  let first: Member;
  let second: Member;
  let kvstoremesh: Kvstoremesh;
  let events: KeyEvents;
  let folder: string;
  let ended: () => Promise<void>;
  const go = (...args: string[]): Promise<ProgramResult> =>
    run("clustermesh-secrets", args, { kubeconfig: mesh.kubeconfig });

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "connect-"));
    mesh = await startMesh({ ...THREE_CLUSTERS, key: "ec" });
    [first, second] = mesh.members as [Member, Member];
  });
  after(async () => {
    await ended?.().catch(() => {});
    await events?.stop();
    await kvstoremesh?.stop();
    await mesh?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Keys of cluster2 that cluster1 lost. */
  const withdrawn = () =>
    events.events().filter(({ type, key }) => type === "DELETE" && /^cilium\/cache\/[^/]+\/v1\/cluster2\//.test(key));
  const peer2 = async () => (await kvstoremesh.status()).get("cluster2");
  /** The data of a Secret of cluster2, with other certificates. */
  const replace = async (name: string, data: Record<string, string>) => {
    const secret: V1Secret = await second.api.ask("GET", `${SECRETS}/${name}`);
    const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
    await second.api.ask("PUT", `${SECRETS}/${name}`, {
      ...secret,
      data: { ...secret.data, ...Object.fromEntries(encoded) },
    });
  };
  const client = (ca: Issuer, cn = "remote") => issue(ca, { cn, usage: "client", key: "ec" });
  const adminOf = (ca: Issuer) => client(ca, "admin-cluster2");
  /** The client certificate of cluster2 in cluster1. */
  const inUse = async () => {
    const { data = {} }: V1Secret = await first.api.ask("GET", `${SECRETS}/cilium-kvstoremesh`);
    return Buffer.from(data["cluster2.etcd-client.crt"] ?? "", "base64").toString();
  };

  test("connect: all three are ready for each other", async () => {
    const { code, stderr } = await go("connect", ...NAMES, "--yes");
    assert.equal(code, 0, stderr);
    const { ready } = await mesh.judge();
    assert.deepEqual([...ready.values()].flat().length, 6);
    const again = await go("connect", ...NAMES, "--yes");
    assert.equal(again.code, 0, again.stderr);
    assert.doesNotMatch(again.stderr, /: (added|changed)/);

    kvstoremesh = await runKvstoremesh({
      cluster: first,
      etcd: first.etcd,
      files: await readMountedFiles(first, "kvstoremesh"),
    });
    await kvstoremesh.ready(["cluster2", "cluster3"], 45_000);
    events = first.etcd.follow("cilium/cache/");
    ended = startKubelet(first, "kvstoremesh", (files) => kvstoremesh.update(files), 300);
  });

  test("rotate under the same CA writes the new certificate and withdraws nothing", async () => {
    const renewed = client(second.pki.ca);
    await replace("clustermesh-apiserver-remote-cert", { "tls.crt": renewed.cert, "tls.key": renewed.key });
    const { code, stderr } = await go("rotate", "cluster2", "--all-contexts", "--yes");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /cluster1: stays connected to cluster2/);
    assert.equal(await inUse(), renewed.cert);
    await kvstoremesh.ready(["cluster2"], 20_000);
    assert.deepEqual(withdrawn(), []);
  });

  test("a new CA, with both trusted and served: nothing is withdrawn, and the old one can go", async () => {
    const next = makeCa({ cn: "Cilium CA", key: "ec" });
    const file = join(folder, "new-ca.crt");
    writeFileSync(file, next.cert);
    const trusted = await go("rotate", "cluster2", "--trust", file, "--all-contexts", "--yes");
    assert.equal(trusted.code, 0, trusted.stderr);
    await kvstoremesh.ready(["cluster2"], 20_000);
    const before = await inUse();

    // In the cluster itself, etcd restarts with both CAs, then with a certificate of the new one.
    const both = { cert: second.pki.ca.cert + next.cert };
    const server = issue(next, {
      cn: "server",
      usage: "server",
      key: "ec",
      dns: ["*.mesh.cilium.io", "clustermesh-apiserver.kube-system.svc"],
      ips: ["127.0.0.1", "::1"],
    });
    await second.etcd.restartWith({ ca: both.cert, ...server, admin: adminOf(next) });
    await kvstoremesh.ready(["cluster2"], 45_000);

    const renewed = client(next);
    await replace("clustermesh-apiserver-remote-cert", {
      "ca.crt": both.cert,
      "tls.crt": renewed.cert,
      "tls.key": renewed.key,
    });
    await replace("clustermesh-apiserver-server-cert", {
      "ca.crt": both.cert,
      "tls.crt": server.cert,
      "tls.key": server.key,
    });
    const { code, stderr } = await go("rotate", "cluster2", "--all-contexts", "--yes");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /cluster1: stays connected to cluster2/);
    assert.notEqual(await inUse(), before);
    assert.equal(await inUse(), renewed.cert);
    await kvstoremesh.ready(["cluster2"], 45_000);

    // The old CA is removed: clients with the new certificate still have access.
    await second.etcd.restartWith({ ca: next.cert, ...server, admin: adminOf(next) });
    await waitFor(
      "cluster1 to reconnect to cluster2 with its new certificate",
      async () => {
        if (!(await peer2())?.ready) throw new Error((await peer2())?.status);
        return true;
      },
      { timeoutMs: 45_000 },
    );
    assert.deepEqual(withdrawn(), []);
    Object.assign(second.pki, { ca: next, server });
    await replace("clustermesh-apiserver-remote-cert", { "ca.crt": next.cert });
    await replace("clustermesh-apiserver-server-cert", { "ca.crt": next.cert });
  });

  test("replacing the CA at once warns of the interruption, and rotate ends it", async () => {
    const next = makeCa({ cn: "Cilium CA", key: "ec" });
    const renewed = client(next);
    const server = issue(next, {
      cn: "server",
      usage: "server",
      key: "ec",
      dns: ["*.mesh.cilium.io", "clustermesh-apiserver.kube-system.svc"],
      ips: ["127.0.0.1", "::1"],
    });
    await second.etcd.restartWith({ ca: next.cert, ...server, admin: adminOf(next) });
    for (const [name, pair] of [
      ["clustermesh-apiserver-remote-cert", renewed],
      ["clustermesh-apiserver-server-cert", server],
    ] as const) {
      await replace(name, { "ca.crt": next.cert, "tls.crt": pair.cert, "tls.key": pair.key });
    }
    const status = await go("status", ...NAMES, "--probe", "-o", "json");
    assert.ok(status.stdout.includes('"ca-stale"'), status.stdout.slice(0, 500));
    const { pairs } = JSON.parse(status.stdout) as MeshReport;
    for (const { findings } of pairs) {
      assert.ok(!findings.some(({ code }) => code === "server-ca-unknown"), "the same fact as ca-stale");
    }
    const { code, stderr } = await go("rotate", "cluster2", "--all-contexts", "--yes");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /cluster1: is disconnected from cluster2 .* until its pods pick up the new Secret/);
    await kvstoremesh.ready(["cluster2"], 60_000);
    assert.equal(await inUse(), renewed.cert);
  });

  test("disconnect: cluster2 is gone, and cluster3 stays", async () => {
    const { code, stderr } = await go("disconnect", "cluster2", "--all-contexts", "--yes");
    assert.equal(code, 0, stderr);
    await waitFor(
      "cluster2 to be gone",
      async () => {
        if (await peer2()) throw new Error("it is still there");
        return true;
      },
      { timeoutMs: 30_000 },
    );
    assert.equal((await kvstoremesh.status()).get("cluster3")?.ready, true);
    const { stdout } = await go("status", ...NAMES, "-o", "json");
    const left = JSON.parse(stdout).pairs.filter((pair: { peer: string; configured: boolean }) => pair.configured);
    const names = left.map((pair: { importer: string; peer: string }) => `${pair.importer} ${pair.peer}`).sort();
    assert.deepEqual(names, ["cluster1 cluster3", "cluster2 cluster1", "cluster2 cluster3", "cluster3 cluster1"]);
  });
});
