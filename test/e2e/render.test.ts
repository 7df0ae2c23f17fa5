/** Each rendered form, applied to clusters of each of Cilium's charts, with Cilium's programs as the judge. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { parseAllDocuments, stringify } from "yaml";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { renderWithValues } from "../support/chart.ts";
import { type Member, type MeshOptions, startMesh } from "../support/mesh.ts";
import { run } from "../support/programs.ts";
import { CHART_VERSIONS, type ChartVersion, realAssets, withoutRealServers } from "../support/real.ts";
import { run as runProgram } from "../support/real-process.ts";

const NAMESPACE = "/namespaces/kube-system";
const OBJECTS = ["secrets/cilium-clustermesh", "secrets/cilium-kvstoremesh", "configmaps/clustermesh-remote-users"];
const WORKLOADS = ["daemonsets/cilium", "deployments/clustermesh-apiserver"];
type Form = "manifests" | "kustomize" | "helm-values";
/** The forms of cluster1 and cluster2, by round. */
const ROUNDS: readonly (readonly Form[])[] = [
  ["manifests", "kustomize"],
  ["helm-values", "manifests"],
];

/** The defaults of the charts with separate CAs; with a shared CA, the other value of KVStoreMesh or authMode. */
function meshOf(version: ChartVersion, ca: "own" | "shared"): MeshOptions {
  const minor = Number(version.split(".")[1]);
  const hasKvstoreMesh = minor >= 16;
  const defaultMode = minor >= 19 ? "migration" : "legacy";
  return {
    ...{ clusters: 2, version, ca, service: "NodePort", deadAddress: false, key: "rsa", realChart: true },
    kvstoremesh: ca === "own" || minor >= 18 ? hasKvstoreMesh : !hasKvstoreMesh,
    authMode: ca === "shared" && minor >= 17 ? "cluster" : defaultMode,
  };
}

/** Parses the documents of a text. */
function documentsOf(text: string): KubernetesObject[] {
  return parseAllDocuments(text).flatMap((document) => document.toJS() ?? []);
}

function pathOf({ kind, metadata: { name } }: KubernetesObject): string {
  const isWorkload = kind === "Deployment" || kind === "DaemonSet";
  return `${isWorkload ? "/apis/apps/v1" : "/api/v1"}${NAMESPACE}/${kind.toLowerCase()}s/${name}`;
}

/** Applies an object as GitOps tools do, by server-side apply. */
async function apply({ api }: Member, object: KubernetesObject): Promise<void> {
  const path = `${pathOf(object)}?fieldManager=gitops&force=true`;
  const { status, body } = await api.request("PATCH", path, object, { contentType: "application/apply-patch+yaml" });
  assert.ok(status < 300, `${path}: ${status} ${body?.message}`);
}

/** Applies rendered manifests: objects, and strategic merge patches of workloads. */
async function applyManifests(member: Member, objects: readonly KubernetesObject[]): Promise<void> {
  for (const object of objects) {
    if (object.kind === "Secret" || object.kind === "ConfigMap") await apply(member, object);
    else {
      const options = { contentType: "application/strategic-merge-patch+json" };
      const { status, body } = await member.api.request("PATCH", pathOf(object), object, options);
      assert.equal(status, 200, body?.message);
    }
  }
}

/** Builds a kustomization of the rendered one, with its component, and the workloads of the cluster; and applies it. */
async function applyKustomization(member: Member, folder: string): Promise<void> {
  const workloads = await Promise.all(
    WORKLOADS.map((workload) => member.api.ask("GET", `/apis/apps/v1${NAMESPACE}/${workload}`)),
  );
  const root = join(folder, "..", `${member.name}-root`);
  mkdirSync(root);
  const clean = workloads.map(({ apiVersion, kind, metadata: { name, namespace }, spec }) => {
    return stringify({ apiVersion, kind, metadata: { name, namespace }, spec });
  });
  writeFileSync(join(root, "workloads.yaml"), clean.join("---\n"));
  const hasAliases = readdirSync(folder).includes("host-aliases");
  const kustomization = {
    resources: ["workloads.yaml", `../${member.name}`],
    ...(hasAliases && { components: [`../${member.name}/host-aliases`] }),
  };
  writeFileSync(join(root, "kustomization.yaml"), stringify(kustomization));
  const { code, stdout, stderr } = await runProgram(realAssets().kustomize, ["build", root], { folder });
  assert.equal(code, 0, stderr);
  for (const object of documentsOf(stdout)) await apply(member, object);
}

/** Renders the chart with the values, and applies what it renders from them. */
async function applyValues(member: Member, version: ChartVersion, folder: string): Promise<void> {
  const { gitVersion }: { gitVersion: string } = await member.api.ask("GET", "/version");
  const description = { ...member.description, version, nodePort: member.port };
  const rendered = await renderWithValues(description, gitVersion, join(folder, "values.yaml"));
  const named = (path: string) => rendered.find((one) => pathOf(one).endsWith(`${NAMESPACE}/${path}`));
  for (const path of OBJECTS) {
    const object = named(path);
    if (object) await apply(member, object);
  }
  for (const path of WORKLOADS) {
    const { hostAliases } = named(path)?.spec.template.spec ?? {};
    const patch = { spec: { template: { spec: { hostAliases: hostAliases ?? null } } } };
    await member.api.ask("PATCH", `/apis/apps/v1${NAMESPACE}/${path}`, patch);
  }
}

/** Removes the peers of a cluster. */
async function reset({ api, sync, description }: Member): Promise<void> {
  for (const path of OBJECTS) await api.request("DELETE", `/api/v1${NAMESPACE}/${path}`);
  const patch = { spec: { template: { spec: { hostAliases: null } } } };
  for (const path of WORKLOADS) await api.ask("PATCH", `/apis/apps/v1${NAMESPACE}/${path}`, patch);
  if (description.authMode !== "legacy") sync.users("users: []\n");
}

describe("rendered forms, judged by Cilium's programs", { skip: withoutRealServers(), concurrency: 2 }, () => {
  const verdicts: string[] = [];
  after(() => {
    console.log(
      [
        "",
        "| chart | form | in | peer ready | agents' entry |",
        "| --- | --- | --- | --- | --- |",
        ...verdicts,
        "",
      ].join("\n"),
    );
  });

  for (const version of CHART_VERSIONS) {
    for (const ca of ["own", "shared"] as const) {
      const options = meshOf(version, ca);
      const name = `${version}, ${options.kvstoremesh ? "" : "no "}KVStoreMesh, ${ca} CA, ${options.authMode}`;
      test(name, async (t) => {
        const folder = mkdtempSync(join(tmpdir(), "render-"));
        t.after(() => rmSync(folder, { recursive: true, force: true }));
        const mesh = await startMesh(options);
        t.after(() => mesh.stop());
        const files = await mesh.extract();
        const render = async (index: number, form: Form): Promise<string> => {
          const output = join(folder, form, `cluster${index + 1}`);
          const keys = ca === "own" ? ["--include-private-keys"] : [];
          const args = ["render", "--target", files[index] ?? "", "--whole", "-o", form, "--output-dir", output];
          const { code, stderr } = await run("clustermesh-secrets", [...args, ...keys, ...files]);
          assert.equal(code, 0, stderr);
          return output;
        };
        for (const forms of ROUNDS) {
          for (const [i, member] of mesh.members.entries()) {
            const form = forms[i] ?? assert.fail();
            await reset(member);
            const output = await render(i, form);
            const paths = readdirSync(output, { recursive: true, encoding: "utf8" }).filter((path) =>
              path.endsWith(".yaml"),
            );
            const texts = paths.map((path) => readFileSync(join(output, path), "utf8"));
            if (ca === "shared") assert.doesNotMatch(texts.join(""), /PRIVATE KEY|LS0tLS1CRUdJTi|CERTIFICATE/);
            if (form === "manifests") await applyManifests(member, texts.flatMap(documentsOf));
            else if (form === "kustomize") await applyKustomization(member, output);
            else await applyValues(member, version, output);
          }
          const { ready, agents } = await mesh.judge();
          const count = (peers: Map<string, string[]>) => [...peers.values()].flat().length;
          assert.equal(count(ready), 2);
          if (options.kvstoremesh) assert.equal(count(agents), 2);
          for (const [i, form] of forms.entries())
            verdicts.push(`| ${name} | ${form} | cluster${i + 1} | yes | ${options.kvstoremesh ? "connects" : "–"} |`);
        }
      });
    }
  }

  test("applied on the server side, whole objects keep the peer of another tool", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "render-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const mesh = await startMesh(meshOf("1.20", "shared"));
    t.after(() => mesh.stop());
    const [target] = mesh.members as [Member];
    const data = { submariner: Buffer.from("endpoints:\n- https://127.0.0.1:12379\n").toString("base64") };
    const metadata = { name: "cilium-clustermesh", namespace: "kube-system" };
    await target.api.ask("POST", `/api/v1${NAMESPACE}/secrets?fieldManager=submariner`, { metadata, data });
    const files = await mesh.extract();
    const { code, stdout, stderr } = await run("clustermesh-secrets", [
      ...["render", "--target", files[0] ?? "", "--whole"],
      ...files,
    ]);
    assert.equal(code, 0, stderr);
    await applyManifests(target, documentsOf(stdout));
    const after: V1Secret = await target.api.ask("GET", `/api/v1${NAMESPACE}/secrets/cilium-clustermesh`);
    assert.deepEqual(Object.keys(after.data ?? {}).sort(), ["cluster2", "submariner"]);
    assert.equal(after.data?.submariner, data.submariner);
  });
});
