/** Rendered objects, synced by server-side apply to a real API server where other tools have written too. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { run } from "../support/programs.ts";
import { type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";
import { COMMON, configText, textsOf } from "../support/targets.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];
const NAMESPACE = "/api/v1/namespaces/kube-system";
const AGENTS = `${NAMESPACE}/secrets/cilium-clustermesh`;
const USERS = `${NAMESPACE}/configmaps/clustermesh-remote-users`;
const SUBMARINER = configText("https://127.0.0.1:12379", COMMON);

describe("rendered objects beside those of other tools", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let dir: string;
  const render = async (...args: string[]): Promise<KubernetesObject[]> => {
    const { code, stdout, stderr } = await run("clustermesh-secrets", ["render", ...args], {
      kubeconfig: servers.kubeconfig,
      cwd: dir,
    });
    assert.equal(code, 0, stderr);
    return parseAllDocuments(stdout).map((document) => document.toJS());
  };
  /** Applies objects as Flux and Argo CD do with server-side apply. */
  const sync = async (objects: readonly KubernetesObject[]) => {
    const { request } = servers.get("cluster1");
    for (const object of objects) {
      const path = `${NAMESPACE}/${object.kind.toLowerCase()}s/${object.metadata.name}`;
      const options = { contentType: "application/apply-patch+yaml" };
      const { status, body } = await request("PATCH", `${path}?fieldManager=gitops&force=true`, object, options);
      assert.ok(status < 300, `${path}: ${status} ${body?.message}`);
    }
  };
  const peersIn = async (path = AGENTS) => Object.keys(textsOf(await servers.get("cluster1").ask("GET", path))).sort();

  before(async () => {
    servers = await startApiServers(NAMES);
    dir = await mkdtemp(join(tmpdir(), "render-existing-"));
    const ca = makeCa({ cn: "Mesh CA", key: "ec" });
    for (const [i, name] of NAMES.entries()) {
      const nodes = [{ name: `${name}-node`, internalIPs: [`172.18.${i}.2`] }];
      const description: ClusterDescription = { name, id: i + 1, version: "1.20.2", nodes };
      await servers.get(name).create(clusterObjects(description, clusterPki(description, { key: "ec", ca })));
      const args = ["--context", name, "--keyless", "--output-file", join(dir, `${name}.json`)];
      const { code, stderr } = await run("extract-secret", args, { kubeconfig: servers.kubeconfig });
      assert.equal(code, 0, stderr);
    }
    const secret = { metadata: { name: "cilium-clustermesh" }, stringData: { submariner: SUBMARINER } };
    await servers.get("cluster1").ask("POST", `${NAMESPACE}/secrets`, { apiVersion: "v1", kind: "Secret", ...secret });
  });
  after(async () => {
    await servers?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("a peer of another tool is kept, whether or not the rendered object contains it", async () => {
    const files = NAMES.map((name) => `${name}.json`);
    const whole = await render("--target", "cluster1.json", "--whole", ...files);
    assert.doesNotMatch(JSON.stringify(whole), /submariner/);
    await sync(whole);
    assert.deepEqual(await peersIn(), ["cluster2", "cluster3", "submariner"]);
    const merged = await render("--context", "cluster1", ...files);
    await sync(merged);
    assert.deepEqual(await peersIn(), ["cluster2", "cluster3", "submariner"]);
    assert.deepEqual(await render("--context", "cluster1", ...files), merged, "synced objects render to the same");
    const { data } = await servers.get("cluster1").ask("GET", AGENTS);
    assert.equal(Buffer.from(data.submariner, "base64").toString(), SUBMARINER);
  });

  test("only a peer that Git wrote is removed when it is not rendered any more", async () => {
    await sync(await render("--target", "cluster1.json", "--whole", "cluster2.json"));
    assert.deepEqual(await peersIn(`${NAMESPACE}/secrets/cilium-kvstoremesh`), ["cluster2"]);
    assert.ok((await peersIn()).includes("submariner"));
    const { data } = await servers.get("cluster1").ask("GET", USERS);
    assert.match(data["users.yaml"], /remote-cluster2/);
    assert.doesNotMatch(data["users.yaml"], /remote-cluster3/);
  });

  test("the API server accepts the objects as they are: an import has nothing to write", async () => {
    await sync(await render("--context", "cluster1", "cluster2.json", "cluster3.json"));
    const { code, stderr } = await run("import-secrets", ["--context", "cluster1", "cluster2.json", "cluster3.json"], {
      kubeconfig: servers.kubeconfig,
      cwd: dir,
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /unchanged cluster2 and cluster3$/m);
  });
});
