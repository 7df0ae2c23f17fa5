import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1DaemonSet } from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import { type PlanOptions, plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { previewPlan } from "../../lib/import/preview.ts";
import { findDifferences, hasPrivateKey, showDiff, showDocuments } from "../../lib/render/preview.ts";
import { styleFor } from "../../lib/render/style.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { caOf, clientOf } from "../support/material.ts";
import { configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

const plain = styleFor({}, {});
const c2 = peerOf("c2", 2);
const c3 = peerOf("c3", 3);
const previews = (target: Target, peers: (typeof c2)[], options: Partial<PlanOptions> = {}) =>
  previewPlan(target, plan(target, peers, { ...OPTIONS, restarts: "all", ...options }));
const diff = (...args: Parameters<typeof previews>) => showDiff(findDifferences(previews(...args)), "c1", plain);
const existing = applyPlan(targetOf("1.20"), plan(targetOf("1.20"), [c2], OPTIONS));
const keysOf = (peer: typeof c2) => (peer.peer.client as { key: string }).key.split("\n").slice(1, -2);

test("showDiff prints configs in full, and certificates and keys as fingerprints", () => {
  const text = diff(existing, [c2, c3]).join("\n");
  assert.match(
    text,
    /^--- live\/c1\/kube-system\/Secret\/cilium-clustermesh\n\+\+\+ planned\/c1\/kube-system\/Secret\//,
  );
  assert.match(text, /^\+ {2}c3: \|\n\+ {4}endpoints:\n\+ {4}- https:\/\/c3\.mesh\.cilium\.io:32379$/m);
  assert.match(text, /^\+ {2}c3\.etcd-client\.crt: certificate remote, until \d{4}-\d\d-\d\d, SHA-256 [0-9a-f]{32}$/m);
  assert.match(text, /^\+ {2}c3\.etcd-client\.key: private key, SHA-256 [0-9a-f]{32}$/m);
  assert.match(text, /^\+ {6}- name: remote-c3$/m);
  assert.doesNotMatch(text, /^[-+] {2}c2/m);
  for (const line of keysOf(c3)) assert.ok(!text.includes(line), "no line of a key");
});

test("showDiff is empty if nothing changes", () => {
  assert.deepEqual(diff(existing, [c2]), []);
});

test("a renewed key changes its fingerprint in the diff", () => {
  const renewed = peerOf("c2", 2, { client: clientOf(caOf("c2"), "remote", 7) });
  const lines = diff(existing, [renewed], { tls: "peer" });
  assert.equal(lines.filter((line) => /^[-+] {2}c2\.etcd-client\.(crt|key): /.test(line)).length >= 2, true);
});

test("text that may contain a private key is replaced by its length", () => {
  const key = (c2.peer.client as { key: string }).key;
  const files = { "a.cfg": `endpoints:\n- x\n# ${key}`, "b.bin": Buffer.from([0, 255]) };
  const annotations = {
    "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ x: Buffer.from(key).toString("base64") }),
    ...Object.fromEntries(
      ["", "x", "xy"].map((before, i) => [`n.example/${i}`, Buffer.from(before + key).toString("base64")]),
    ),
  };
  const text = diff(targetOf("1.20", { agentsSecret: secretOf(files, annotations) }), [c3], { users: false }).join(
    "\n",
  );
  assert.match(text, /^- {4}kubectl\.kubernetes\.io\/last-applied-configuration: \d+ characters$/m);
  const lines = key.split("\n").slice(1, -2);
  for (const line of lines) {
    for (const shift of ["", "x", "xy"]) {
      const inner = Buffer.from(shift + line)
        .toString("base64")
        .slice(8, 40);
      assert.ok(!text.includes(line) && !text.includes(inner), "no line of a key, in base64 or not");
    }
  }
});

test("the body of a private key in a config or host alias is redacted, other text is not", () => {
  const [body = "", ...others] = [keysOf(c2).join(""), ...keysOf(c2)];
  const paths = ["ca-0123456789abcdef.crt", "a.etcd-client.crt", "a.etcd-client.key"] as const;
  const config = configText(
    `https://${"long-name-of-a-host".repeat(3)}.example:2379\n- https://[fd00::8a2e:370:7334]:2379`,
    paths,
  );
  const secret = secretOf({
    a: config,
    b: config.replace("https:", `${body}:`),
    c: `${config}# ${others.join("\n# ")}\n`,
  });
  const aliased = (hostname: string): V1DaemonSet => ({
    metadata: { name: "cilium", namespace: "kube-system" },
    spec: {
      selector: {},
      template: { spec: { containers: [], hostAliases: [{ ip: "10.0.0.1", hostnames: [hostname] }] } },
    },
  });
  const before = { kind: "Secret" as const, name: "s", before: undefined, after: secret };
  const workload = { kind: "DaemonSet" as const, name: "cilium", before: aliased("a"), after: aliased(body) };
  const text = showDiff(findDifferences([before, workload]), "c1\n+ forged", plain).join("\n");
  for (const line of config.trimEnd().split("\n")) assert.ok(text.includes(`+    ${line}\n`), line);
  for (const line of [body, ...others]) assert.ok(!text.includes(line.slice(0, 16)), "no line of a key");
  assert.match(text, /^\+ +- \(\d+ characters\)$/m);
  assert.doesNotMatch(text, /^\+ forged/m);
});

test("the diff of a workload contains only its host aliases", () => {
  const object: V1DaemonSet = {
    metadata: { name: "cilium", namespace: "kube-system" },
    spec: { selector: {}, template: { spec: { containers: [{ name: "cilium-agent", image: "x" }] } } },
  };
  const base = targetOf("1.18", { takesUsers: false });
  const target = { ...base, resolvers: base.resolvers.map((one) => ({ ...one, object })) };
  const text = diff(target, [c2]).join("\n");
  assert.match(text, /DaemonSet\/cilium\n/);
  assert.match(text, /^\+ +- ip: 10\.0\.0\.2$/m);
  assert.doesNotMatch(text, /cilium-agent/);
});

test("showDiff escapes control characters", () => {
  const annotations = { "x.example/a": "\u001b[2J" };
  const target = targetOf("1.20", {
    agentsSecret: secretOf({ a: configText("https://\u001b[2J", ["a", "b", "c"]) }, annotations),
  });
  const text = diff(target, [c2], { prune: true }).join("\n");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: matches control characters
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  const forged = { kind: "Secret", namespace: "n\n+forged", name: "x", live: "", planned: "a: 1\n" } as const;
  assert.doesNotMatch(showDiff([forged], "c", plain).join("\n"), /^\+forged/m);
});

test("showDocuments prints all objects, changed or not, with their context in an annotation", () => {
  const shown = previews(existing, [c2]);
  const yaml = parseAllDocuments(showDocuments(shown, "c1", "yaml")).map((document) => document.toJS());
  assert.deepEqual(
    yaml.map(({ apiVersion, kind, metadata }) => [
      apiVersion,
      kind,
      metadata.name,
      metadata.annotations["clustermesh-secrets/context"],
    ]),
    [
      ["v1", "Secret", "cilium-clustermesh", "c1"],
      ["v1", "ConfigMap", "clustermesh-remote-users", "c1"],
    ],
  );
  assert.deepEqual(yaml[0].data, existing.agentsSecret?.data);
  const json = showDocuments(shown, "c1", "json");
  assert.deepEqual(JSON.parse(`[${json.replaceAll(/^}\n\{$/gm, "},{")}]`), yaml);
});

test("showDocuments omits fields and annotations set by the API server and controllers", () => {
  const served = {
    uid: "0d4b",
    resourceVersion: "17",
    creationTimestamp: new Date(0),
    generation: 3,
    managedFields: [{ manager: "m" }],
    selfLink: "/api",
    deletionTimestamp: new Date(0),
    deletionGracePeriodSeconds: 0,
  };
  const metadata = {
    name: "clustermesh-apiserver",
    namespace: "kube-system",
    labels: { a: "b" },
    annotations: { "deployment.kubernetes.io/revision": "4", mine: "stays" },
    ...served,
  };
  const deployment = {
    metadata,
    spec: { selector: {}, template: { spec: { containers: [], hostAliases: [] } } },
    status: { replicas: 1 },
  };
  const shown = [
    { kind: "Deployment" as const, name: "clustermesh-apiserver", before: deployment, after: deployment },
    ...previews(existing, [c3]).map((one) => ({
      ...one,
      after: { ...one.after, metadata: { ...one.after.metadata, ...served } },
    })),
  ];
  for (const format of ["yaml", "json"] as const) {
    const text = showDocuments(shown, "c1", format);
    const documents = parseAllDocuments(format === "yaml" ? text : `[${text.replaceAll(/^}\n\{$/gm, "},{")}]`).flatMap(
      (document) => document.toJS(),
    );
    assert.equal(documents.length, 3);
    for (const document of documents) {
      for (const field of Object.keys(served)) assert.ok(!(field in document.metadata), `${document.kind} ${field}`);
      assert.ok(!("status" in document), document.kind);
    }
    assert.deepEqual(documents[0], {
      metadata: {
        name: "clustermesh-apiserver",
        namespace: "kube-system",
        labels: { a: "b" },
        annotations: { mine: "stays", "clustermesh-secrets/context": "c1" },
      },
      spec: deployment.spec,
      apiVersion: "apps/v1",
      kind: "Deployment",
    });
  }
});

test("hasPrivateKey detects private keys in Secrets, in their annotations too", () => {
  const held = (target: Target, options: Partial<PlanOptions>) => previews(target, [c2], options).some(hasPrivateKey);
  assert.equal(held(targetOf("1.20"), { tls: "peer" }), true);
  const shared = targetOf("1.20", { common: { ca: (c2.peer.ca as { pem: string }).pem } });
  assert.equal(held(shared, { tls: "common" }), false);
  const copied = { "kapp.k14s.io/original": JSON.stringify({ data: existing.agentsSecret?.data }) };
  const annotated = { ...shared, agentsSecret: secretOf({}, copied) };
  assert.equal(held(annotated, { tls: "common" }), true, "in an annotation");
});
