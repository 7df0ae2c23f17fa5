/** Careful imports with a real API server: stored objects, field managers, versions and permissions. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1ConfigMap, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { parse, parseAllDocuments } from "yaml";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { makeCa } from "../../lib/sandbox/pki.ts";
import { ca, serve } from "../support/api-server.ts";
import { run } from "../support/programs.ts";
import { type ApiServer, type ApiServers, startApiServers, waitFor, withoutRealServers } from "../support/real.ts";

const CORE = "/api/v1/namespaces/kube-system";
const APPS = "/apis/apps/v1/namespaces/kube-system";
const AGENTS = `${CORE}/secrets/cilium-clustermesh`;
const COPY = `${CORE}/secrets/cilium-kvstoremesh`;
const USERS = `${CORE}/configmaps/clustermesh-remote-users`;
const DEPLOYMENT = `${APPS}/deployments/clustermesh-apiserver`;

const node = (name: string, ip: string) => ({ nodes: [{ name: `${name}-node`, internalIPs: [ip] }] });
const shared = makeCa({ cn: "Cilium CA" });
/** Of another CA than the others is `far`; Helm owns all of `helm`, and knows `c9`. */
const CLUSTERS: Record<string, ClusterDescription> = {
  c1: { name: "c1", id: 1, version: "1.20.2", ...node("c1", "172.18.1.2") },
  c2: { name: "c2", id: 2, version: "1.20.2", ...node("c2", "172.18.2.2") },
  far: { name: "far", id: 3, version: "1.20.2", ...node("far", "172.18.3.2") },
  helm: {
    name: "helm",
    id: 4,
    version: "1.18.5",
    authMode: "migration",
    helm: true,
    configEnabled: true,
    peers: [{ name: "c9", ips: ["172.18.9.2"], port: 32379 }],
    ...node("helm", "172.18.4.2"),
  },
};

describe("an import that people trust, on real API servers", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let dir: string;
  const file = (name: string) => join(dir, `${name}.json`);
  const imports = (...args: string[]) => run("import-secrets", args, { kubeconfig: servers.kubeconfig });
  const c1 = () => servers.get("c1");

  before(async () => {
    servers = await startApiServers(Object.keys(CLUSTERS), { users: [{ name: "looker" }, { name: "importer" }] });
    dir = await mkdtemp(join(tmpdir(), "production-"));
    for (const [name, description] of Object.entries(CLUSTERS)) {
      const pki = clusterPki(description, { key: "ec", ...(name !== "far" && { ca: shared }) });
      await servers.get(name).create(clusterObjects(description, pki));
      const args = ["--context", name, "--output-file", file(name)];
      const { code, stderr } = await run("extract-secret", args, { kubeconfig: servers.kubeconfig });
      assert.equal(code, 0, stderr);
    }
  });
  after(async () => {
    await servers?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    for (const path of [AGENTS, COPY, USERS]) await c1().request("DELETE", path);
  });

  /** The versions of all that an import may write: the same where nothing was written. */
  async function versions(api: ApiServer): Promise<Record<string, string>> {
    const lists = await Promise.all(
      [`${CORE}/secrets`, `${CORE}/configmaps`, `${APPS}/deployments`, `${APPS}/daemonsets`].map((path) =>
        api.ask("GET", path),
      ),
    );
    const objects = lists.flatMap(({ kind, items }) => items.map(({ metadata }: V1Secret) => [kind, metadata]));
    return Object.fromEntries(objects.map(([kind, { name, resourceVersion }]) => [`${kind} ${name}`, resourceVersion]));
  }

  const configsIn = ({ data = {} }: V1Secret) => Object.keys(data).filter((key) => !key.includes("."));
  const peersOf = async (api: ApiServer) => ({
    agents: configsIn(await api.ask("GET", AGENTS)).sort(),
    copy: configsIn(await api.ask("GET", COPY)).sort(),
  });
  const usersOf = async (api: ApiServer): Promise<string[]> => {
    const { data }: V1ConfigMap = await api.ask("GET", USERS);
    return parse(data?.["users.yaml"] ?? "").users.map(({ name }: { name: string }) => name);
  };

  for (const format of ["yaml", "json"] as const) {
    test(`--dry-run=server -o ${format} prints what an import then stores, and stores nothing itself`, async () => {
      // Two targets: one where all is created, and one where all exists except an alias of the Deployment.
      const targets = ["--context", "c1", "--context", "helm", "--take-ownership"];
      const versionsBefore = await Promise.all(["c1", "helm"].map((name) => versions(servers.get(name))));
      const peer = format === "yaml" ? "c2" : "far";
      const dry = await imports(...targets, "--dry-run=server", "-o", format, file(peer));
      assert.equal(dry.code, 0, dry.stderr);
      assert.deepEqual(await Promise.all(["c1", "helm"].map((name) => versions(servers.get(name)))), versionsBefore);
      const printed = documents(dry.stdout, format);
      assert.deepEqual(
        printed.map(({ context, kind }) => `${context} ${kind}`),
        ["c1 Secret", "c1 Secret", "c1 ConfigMap", "helm Deployment", "helm Secret", "helm Secret", "helm ConfigMap"],
      );
      const real = await imports(...targets, file(peer));
      assert.equal(real.code, 0, real.stderr);
      for (const { context, kind, object } of printed) {
        const path = kind === "Deployment" ? APPS : CORE;
        const name = object.metadata?.name;
        const stored = await servers.get(context).ask("GET", `${path}/${kind.toLowerCase()}s/${name}`);
        assert.deepEqual(comparable(object), comparable(stored), `${context}: ${kind} ${name}`);
      }
    });
  }

  test("nothing that only looks, and nothing that is refused, changes a resourceVersion", async () => {
    assert.equal((await imports("--context", "c1", file("c2"), file("far"))).code, 0);
    const versionsBefore = await versions(c1());
    for (const [code, ...args] of [
      [0, "--diff", file("c2")],
      [1, "--diff", "--endpoint", "c2=10.1.1.1:2379", file("c2")],
      [1, "--diff", "--prune", file("c2")],
      [2, "--diff", file("missing")],
      [0, "--dry-run=client", "--prune", file("c2")],
      [0, "--dry-run=server", "--prune", file("c2")],
      [0, "--dry-run=server", "--migrate"],
      [2, "--prune", file("c2")],
      [2, "--prune", "--yes", file("c1")],
      [2, "--endpoint", "c8=10.1.1.1:2379", file("c2")],
      [0, "--migrate"],
      [0, file("far")],
    ] as [number, ...string[]][]) {
      const ended = await imports("--context", "c1", ...args);
      assert.equal(ended.code, code, `${args.join(" ")}: ${ended.stderr}`);
      assert.doesNotMatch(ended.stdout + ended.stderr, /PRIVATE KEY|LS0tLS1CRUdJ/, args.join(" "));
      assert.deepEqual(await versions(c1()), versionsBefore, args.join(" "));
    }
  });

  test("--prune leaves exactly the files in both Secrets, revokes our users and keeps those of others", async () => {
    const users = "users:\n# not ours\n- name: remote-guest\n  role: remote\n- name: remote-c2\n  role: remote\n";
    await c1().ask("POST", `${CORE}/configmaps`, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "clustermesh-remote-users" },
      data: { "users.yaml": users },
    });
    assert.equal((await imports("--context", "c1", ...["c2", "far", "helm"].map(file))).code, 0);
    assert.deepEqual(await usersOf(c1()), ["remote-guest", "remote-c2", "remote-far", "remote-helm"]);
    const { code, stderr } = await imports("--context", "c1", "--prune", "--yes", file("helm"));
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^c1: will remove c2 and far; will revoke etcd users remote-far$/m);
    const [agents, copy] = [await c1().ask("GET", AGENTS), await c1().ask("GET", COPY)];
    assert.deepEqual([Object.keys(agents.data), Object.keys(copy.data)], [["helm"], ["helm"]], "and no file of others");
    assert.deepEqual(await usersOf(c1()), ["remote-guest", "remote-c2", "remote-helm"]);
    assert.match((await c1().ask("GET", USERS)).data["users.yaml"], /^ *# not ours$/m);
  });

  test("--prune removes neither a peer that was added between read and write, nor any other", async (t) => {
    assert.equal((await imports("--context", "c1", file("c2"), file("helm"))).code, 0);
    const relay = await relayTo(c1(), t, "PATCH", async () => {
      assert.equal((await imports("--context", "c1", file("far"))).code, 0);
    });
    const args = ["--prune", "--yes", file("helm")];
    const { code, stderr } = await run("import-secrets", ["--kubeconfig", relay.kubeconfig, ...args]);
    assert.equal(code, 2, stderr);
    assert.match(
      stderr,
      /the target changed since it was read, and the import would now also remove far.*\n {2}review the changes and rerun/,
    );
    assert.deepEqual(relay.written, ["PATCH 409"]);
    const all = ["c2", "far", "helm"];
    assert.deepEqual(await peersOf(c1()), { agents: all, copy: all });
    assert.equal((await imports("--context", "c1", ...args)).code, 0);
    assert.deepEqual(await peersOf(c1()), { agents: ["helm"], copy: ["helm"] });
  });

  for (const exists of [false, true]) {
    const verb = exists ? "PATCH" : "POST";
    test(`--dry-run=server: a ${verb} after a foreign change fails with 409, and is planned again`, async (t) => {
      if (exists) assert.equal((await imports("--context", "c1", file("c2"))).code, 0);
      const relay = await relayTo(c1(), t, verb, async () => {
        const foreign = Buffer.from("theirs").toString("base64");
        if (exists) await c1().ask("PATCH", COPY, { data: { foreign } });
        else {
          const metadata = { name: "cilium-kvstoremesh" };
          await c1().ask("POST", `${CORE}/secrets`, { apiVersion: "v1", kind: "Secret", metadata, data: { foreign } });
        }
      });
      const args = ["--kubeconfig", relay.kubeconfig, "--dry-run=server", "-o", "json", file("far")];
      const { code, stdout, stderr } = await run("import-secrets", args);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /would add far \(dry run\)/);
      assert.deepEqual(relay.written.slice(0, 2), [
        `${verb} 409`,
        // An object that was created meanwhile is patched, even if the plan was to create it.
        "PATCH 200",
      ]);
      const copy = documents(stdout, "json").find(({ object }) => object.metadata?.name === "cilium-kvstoremesh");
      assert.deepEqual(
        Object.keys(copy?.object.data ?? {}).filter((key) => /^(?:foreign|c2|far)$/.test(key)),
        exists ? ["c2", "far", "foreign"] : ["far", "foreign"],
      );
      assert.deepEqual(configsIn(await c1().ask("GET", COPY)), exists ? ["c2", "foreign"] : ["foreign"]);
    });
  }

  test("an owner is recognized by the field manager of its last write", async () => {
    const apply = () =>
      c1().request(
        "PATCH",
        `${AGENTS}?fieldManager=argocd-controller&force=true`,
        {
          apiVersion: "v1",
          kind: "Secret",
          metadata: { name: "cilium-clustermesh", namespace: "kube-system" },
          data: { note: "eA==" },
        },
        { contentType: "application/apply-patch+yaml" },
      );
    assert.equal((await apply()).status, 201);
    const versionsBefore = await versions(c1());
    const refused = await imports("--context", "c1", file("c2"));
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /secret\/cilium-clustermesh belongs to Argo CD application, which would revert/);
    assert.deepEqual(await versions(c1()), versionsBefore);
    assert.equal((await imports("--context", "c1", "--take-ownership", file("c2"))).code, 0);
    assert.equal((await imports("--context", "c1", file("far"))).code, 0, "ours, until it writes again");
    // Field managers record the time in seconds.
    await sleep(1_100);
    await c1().ask("PATCH", `${AGENTS}?fieldManager=argocd-controller`, { data: { note: "eQ==" } });
    const again = await imports("--context", "c1", file("helm"));
    assert.equal(again.code, 2, again.stderr);
    assert.match(again.stderr, /Argo CD application/);
  });

  test("what Helm rendered is refused, and taken with its marks; workloads stay Helm's", async () => {
    const description: ClusterDescription = { ...(CLUSTERS.helm as ClusterDescription), name: "c1", id: 1 };
    const rendered = clusterObjects(description, clusterPki(description, { key: "ec", ca: shared }));
    const names = ["cilium-clustermesh", "cilium-kvstoremesh", "clustermesh-remote-users"];
    await c1().create(rendered.filter(({ metadata }) => names.includes(metadata.name)));
    const versionsBefore = await versions(c1());
    const refused = await imports("--context", "c1", file("c2"));
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(
      refused.stderr,
      /2 objects belong to Helm release cilium, which would revert the changes: cilium-kvstoremesh, cilium-clustermesh /,
    );
    assert.match(refused.stderr, /--take-ownership first, then set the Helm value clustermesh\.config\.enabled=false/);
    assert.deepEqual(await versions(c1()), versionsBefore);

    const taken = await imports("--context", "c1", "--take-ownership", file("c2"));
    assert.equal(taken.code, 0, taken.stderr);
    assert.match(
      taken.stderr,
      /3 objects are taken over from Helm release cilium, which may overwrite them: .*, clustermesh-remote-users /,
    );
    for (const path of [AGENTS, COPY, USERS]) {
      const { metadata }: V1Secret | V1ConfigMap = await c1().ask("GET", path);
      assert.deepEqual(metadata?.labels, { "app.kubernetes.io/part-of": "cilium" });
      const {
        "clustermesh-secrets/peers": _,
        "clustermesh-secrets/users": __,
        ...annotations
      } = metadata?.annotations ?? {};
      assert.deepEqual(annotations, {
        "helm.sh/resource-policy": "keep",
        "clustermesh-secrets/taken-from": "Helm release cilium",
      });
    }
    assert.deepEqual(await peersOf(c1()), { agents: ["c2", "c9"], copy: ["c2", "c9"] });
    assert.equal((await imports("--context", "c1", file("far"))).code, 0, "it is ours now");
  });

  test("--endpoint also patches the workload if names resolve there; it is kept, and can be undone", async () => {
    const api = servers.get("helm");
    const before = ((await api.ask("GET", DEPLOYMENT)) as V1Deployment).spec?.template.spec?.hostAliases ?? [];
    const run = (...args: string[]) => imports("--context", "helm", "--take-ownership", ...args, file("c2"));
    const addresses = async () => {
      const { spec }: V1Deployment = await api.ask("GET", DEPLOYMENT);
      const aliases = spec?.template.spec?.hostAliases ?? [];
      return aliases.filter(({ hostnames }) => hostnames?.includes("c2.mesh.cilium.io")).map(({ ip }) => ip);
    };
    const result = await run("--endpoint", "c2=10.1.1.1:2379");
    assert.equal(result.code, 0, result.stderr);
    assert.match(
      result.stderr,
      /will restart deployment\/clustermesh-apiserver in helm to add host aliases for c2\.mesh\.cilium\.io/,
    );
    assert.deepEqual(await addresses(), ["10.1.1.1"]);
    const versionsBefore = await versions(api);
    const kept = await run();
    assert.equal(kept.code, 0, kept.stderr);
    assert.match(kept.stderr, /endpoint of c2: 10\.1\.1\.1:2379, set by an earlier --endpoint/);
    assert.deepEqual(await versions(api), versionsBefore);
    const back = await run("--endpoint", "c2=");
    assert.equal(back.code, 0, back.stderr);
    assert.deepEqual(await addresses(), ["172.18.2.2"]);
    const now = ((await api.ask("GET", DEPLOYMENT)) as V1Deployment).spec?.template.spec?.hostAliases ?? [];
    for (const alias of before.filter(({ hostnames }) => !hostnames?.includes("c2.mesh.cilium.io"))) {
      assert.ok(
        now.some((one) => JSON.stringify(one) === JSON.stringify(alias)),
        `${JSON.stringify(alias)} stays`,
      );
    }
  });

  test("read-only users get the diff; an import names each missing permission, until it has the minimal ones", async () => {
    const rule = (apiGroup: string, resources: string[], verbs: string[], resourceNames?: string[]) => ({
      apiGroups: [apiGroup],
      resources,
      verbs,
      ...(resourceNames && { resourceNames }),
    });
    const written = ["cilium-clustermesh", "cilium-kvstoremesh"];
    const look = [
      rule("", ["configmaps"], ["get"], ["cilium-config", "clustermesh-remote-users"]),
      rule("", ["secrets"], ["get"], [...written, "clustermesh-apiserver-remote-cert"]),
      rule("apps", ["deployments"], ["get"], ["clustermesh-apiserver"]),
      rule("apps", ["daemonsets"], ["get"], ["cilium"]),
    ];
    const as = (user: string, ...args: string[]) =>
      run("import-secrets", ["--context", "c1", "-n", "kube-system", ...args, file("c2")], {
        kubeconfig: servers.kubeconfigFor(user),
      });
    await c1().allow("looker", look, "kube-system");
    await c1().allow("importer", look, "kube-system");
    const diff = await waitFor("the right to look", async () => {
      const ended = await as("looker", "--diff");
      return ended.code === 1 && ended;
    });
    assert.match(diff.stdout, /^\+\+\+ planned\/c1\/kube-system\/Secret\/cilium-kvstoremesh$/m);

    const missing = async (verb: string, object: string, ...args: string[]) => {
      const ended = await as("importer", ...args);
      assert.equal(ended.code, 1, ended.stderr);
      assert.match(ended.stderr, new RegExp(`not allowed to ${verb} `));
      assert.ok(ended.stderr.includes(`kubectl auth can-i ${verb} ${object} -n kube-system`), ended.stderr);
      assert.doesNotMatch(ended.stderr, /^ {4}at /m);
    };
    const granted = (...rules: Parameters<ApiServer["allow"]>[1]) => c1().allow("importer", rules, "kube-system");
    const seen = (method: string, path: string) =>
      waitFor(`${method} to be allowed`, async () => {
        const none = method === "POST" ? { metadata: { name: "none" } } : {};
        const { status } = await c1().request(method, `${path}?dryRun=All`, none, { user: "importer" });
        return status !== 403;
      });
    await missing("create", "secrets", "--dry-run=server");
    await missing("create", "secrets");
    await granted(rule("", ["secrets"], ["create"]));
    await seen("POST", `${CORE}/secrets`);
    await missing("create", "configmaps");
    await granted(rule("", ["configmaps"], ["create"]));
    await seen("POST", `${CORE}/configmaps`);
    const completed = await as("importer");
    assert.equal(completed.code, 0, completed.stderr);
    assert.deepEqual(await peersOf(c1()), { agents: ["c2"], copy: ["c2"] });

    await missing("patch", "secrets/cilium-kvstoremesh", "--endpoint", "c2=10.1.1.1:2379");
    await granted(rule("", ["secrets"], ["patch"], written));
    await seen("PATCH", AGENTS);
    assert.equal((await as("importer", "--endpoint", "c2=10.1.1.1:2379")).code, 0, "and without a right to list");
  });

  test("an immutable Secret is reported, and agents get no config without a copy", async () => {
    await c1().ask("POST", `${CORE}/secrets`, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "cilium-kvstoremesh" },
      immutable: true,
    });
    const { code, stderr } = await imports("--context", "c1", file("c2"));
    assert.equal(code, 2, stderr);
    assert.match(
      stderr,
      /secret\/cilium-kvstoremesh is immutable \[immutable\]\n {2}delete secret\/cilium-kvstoremesh and import again/,
    );
    assert.equal((await c1().request("GET", AGENTS)).status, 404);
  });

  /** An API server before the real one, which has somebody else write just before the first write of our program. */
  async function relayTo(api: ApiServer, t: TestContext, verb: string, writeFirst: () => Promise<void>) {
    const written: string[] = [];
    const relay = await serve(t, "h2", async (request, response) => {
      const method = request.method ?? "";
      let text = "";
      for await (const chunk of request) text += chunk;
      if (method !== "GET" && written.length === 0) {
        assert.equal(method, verb);
        await writeFirst();
      }
      const options = { contentType: String(request.headers["content-type"] ?? "application/json") };
      const answer = await api.request(method, request.url, text === "" ? undefined : JSON.parse(text), options);
      if (method !== "GET") written.push(`${method} ${answer.status}`);
      response.writeHead(answer.status, { "content-type": "application/json" });
      response.end(JSON.stringify(answer.body));
    });
    const kubeconfig = join(dir, `relay-${verb}`);
    const authority = Buffer.from(ca.cert).toString("base64");
    await writeFile(
      kubeconfig,
      JSON.stringify({
        "current-context": "c1",
        contexts: [{ name: "c1", context: { cluster: "c1", user: "admin" } }],
        clusters: [{ name: "c1", cluster: { server: relay.url, "certificate-authority-data": authority } }],
        users: [{ name: "admin", user: { token: "whoever" } }],
      }),
    );
    return { kubeconfig, written };
  }
});

interface Document {
  context: string;
  kind: string;
  object: V1Secret;
}

/** The documents of `--output`, by their contexts. */
function documents(text: string, format: "yaml" | "json"): Document[] {
  const objects: (V1Secret & { kind: string })[] =
    format === "yaml"
      ? parseAllDocuments(text).map((document) => document.toJS())
      : text
          .split(/(?<=^\})\n/m)
          .filter((one) => one !== "")
          .map((one) => JSON.parse(one));
  return objects.map((object) => {
    const context = object.metadata?.annotations?.["clustermesh-secrets/context"];
    assert.ok(context, "each names its context");
    return { context, kind: object.kind, object };
  });
}

/** An object without the fields that change with each write. */
function comparable({ metadata = {}, status: _status, ...rest }: V1Secret & { status?: unknown }): object {
  const { resourceVersion: _, uid: _uid, creationTimestamp: _created, managedFields: _managed, ...others } = metadata;
  const { generation: _generation, ...kept } = others;
  const { "clustermesh-secrets/context": _context, ...annotations } = kept.annotations ?? {};
  return { ...rest, metadata: { ...kept, annotations } };
}
