import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { EXTRACT_DEFAULTS, extract } from "../../lib/extract/extract.ts";
import { plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import { NOTHING, selectExisting } from "../../lib/manifests/existing-objects.ts";
import { parseTargetFile, targetFromFile } from "../../lib/manifests/file-target.ts";
import { DEFAULT_CALL } from "../../lib/peer/foreign/foreign.ts";
import { writePeerFile } from "../../lib/peer/secret.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { ParseCache } from "../../lib/util/parse-cache.ts";
import { normalizeCa, tryReadPem } from "../../lib/x509/pem.ts";
import { describeCluster, startCluster, type TestCluster } from "../support/cluster.ts";
import { caOf } from "../support/material.ts";
import { OPTIONS, peerOf } from "../support/targets.ts";

const PATH = "mesh/cluster2-secret.json";

async function extractFile({ api }: TestCluster, keyless = false): Promise<V1Secret> {
  const options = { ...EXTRACT_DEFAULTS, resolve: async () => [], keyless };
  const { peer, targetFacts } = await extract(api, options);
  return writePeerFile(peer, targetFacts);
}

function read(file: object, existing = NOTHING, namespace?: string, path: string | undefined = PATH) {
  const cache = new ParseCache();
  const parsed = parseTargetFile(JSON.stringify(file), path ?? "standard input", { path, call: DEFAULT_CALL, cache });
  if (!parsed.file) return { target: undefined, findings: parsed.findings };
  return targetFromFile(parsed.file, { namespace, existing, cache });
}

/** Removes annotations, as in files of earlier versions. */
function omit(file: V1Secret, isOmitted: (name: string) => boolean): V1Secret {
  const entries = Object.entries(file.metadata?.annotations ?? {});
  const annotations = Object.fromEntries(
    entries.filter(([name]) => !isOmitted(name.slice("clustermesh-secrets/".length))),
  );
  return { ...file, metadata: { ...file.metadata, annotations } };
}

const TARGET_FACTS = /^(?:mounts-|config-readers|common-|agents-common-|client-certificate)/;
const asOlder = (file: V1Secret) => omit(file, (name) => TARGET_FACTS.test(name));

/** What a plan depends on, with CA bundles in canonical form. */
function comparable(target: Target | undefined) {
  assert.ok(target);
  const { identity: _, source: __, cache: ___, facts, resolvers, common, agentsCommon, ...others } = target;
  const { serverNames: ____, ca: _____, ...known } = facts;
  const canonical = (files: Target["common"]) =>
    files && { ...files, ca: tryReadPem(() => normalizeCa(files.ca ?? "")) };
  return {
    ...JSON.parse(JSON.stringify(others)),
    facts: known,
    common: canonical(common),
    agentsCommon: canonical(agentsCommon),
    resolvers: resolvers.map(({ object: ______, ...resolver }) => resolver),
  };
}

const DESCRIPTIONS: Partial<ClusterDescription>[] = [
  ...["1.10", "1.13", "1.14", "1.16", "1.17", "1.19", "1.20"].map((version) => ({ version })),
  ...["1.14", "1.17", "1.20"].map((version) => ({ version, kvstoremesh: true, authMode: "cluster" as const })),
  { version: "1.18", kvstoremesh: false, operatorMountsSecret: true, authMode: "migration" },
  { version: "1.18", csiDriver: "csi.example", authMode: "migration" },
  { version: "1.20", csiDriver: "csi.example", caBundle: { kind: "ConfigMap", name: "roots", key: "ca.pem" } },
  { version: "1.15", kvstoremesh: true, caBundle: { kind: "ConfigMap", name: "roots", key: "ca.pem" } },
  { version: "1.18", helm: true, configEnabled: true, peers: [{ name: "c9", ips: ["10.9.0.1"], port: 32379 }] },
];

test("a target from its file is the target that its cluster shows, with and without a key", async (t) => {
  for (const description of DESCRIPTIONS) {
    const cluster = await startCluster(t, describeCluster({ namespace: "cilium", ...description }));
    const { target: live } = await readTarget(cluster.api, "own", { namespace: "cilium" });
    const objects = [
      live.agentsSecret && { ...live.agentsSecret, kind: "Secret" },
      live.kvstoremeshSecret && { ...live.kvstoremeshSecret, kind: "Secret" },
      live.users && { ...live.users, kind: "ConfigMap" },
      ...live.resolvers.map(({ kind, object }) => ({ ...object, kind })),
    ];
    const { existing, findings } = selectExisting(objects, "cilium", "existing.yaml");
    assert.deepEqual(findings, []);
    for (const keyless of description.version === "1.10" || description.version === "1.13" ? [false] : [false, true]) {
      const what = `${JSON.stringify(description)}${keyless ? ", keyless" : ""}`;
      const result = read(await extractFile(cluster, keyless), existing);
      assert.deepEqual(result.findings, [], what);
      assert.deepEqual(comparable(result.target), comparable(live), what);
    }
  }
});

test("what an older file lacks is assumed as in the chart of its version, and reported", async (t) => {
  for (const description of DESCRIPTIONS.slice(0, 10)) {
    const cluster = await startCluster(t, describeCluster(description));
    const { target: live } = await readTarget(cluster.api, "own");
    const { target, findings } = read(asOlder(await extractFile(cluster)));
    const [expected, actual] = [comparable(live), comparable(target)];
    if (description.authMode === "cluster") delete expected.clientCertificate;
    // The chart creates it, and the file does not contain it.
    delete expected.users;
    assert.deepEqual(actual, expected, JSON.stringify(description));
    for (const { code, severity, source, remedy = "" } of findings) {
      assert.deepEqual([code, severity, source], ["assumed", "warning", PATH]);
      assert.match(
        remedy,
        /: extract-secret --context CONTEXT(?: --keyless)? --output-file mesh\/cluster2-secret\.json$/,
      );
    }
    const messages = findings.map(({ message }) => message).join("\n");
    assert.match(messages, /mounts the users ConfigMap; assuming that it does.*, as in the chart of Cilium 1\.\d+/);
    assert.match(messages, /the origin of common-etcd-client\*; assuming/);
    const isPatched = !description.version?.startsWith("1.20");
    assert.equal(messages.includes("which workloads connect to peers"), isPatched, "not needed since 1.20");
  }
});

const start = async (t: TestContext, more: Partial<ClusterDescription> = {}) =>
  startCluster(t, describeCluster({ version: "1.20", ...more }));

test("KVStoreMesh, the CA and a version that facts depend on are not assumed", async (t) => {
  const cluster = await start(t);
  const file = await extractFile(cluster);
  const keyless = await extractFile(cluster, true);
  const refused = (one: V1Secret) => {
    const { target, findings } = read(one);
    assert.equal(target, undefined);
    return findings.filter(({ severity }) => severity === "error").map(({ code, message }) => `${code}: ${message}`);
  };
  const lacks = (what: string) => `target-unknown: the file does not contain ${what}, on which the output depends`;
  assert.deepEqual(refused(omit(file, (name) => name === "kvstoremesh")), [lacks("whether KVStoreMesh runs")]);
  assert.deepEqual(refused(omit(asOlder(keyless), (name) => name === "ca")), [lacks("the CA of the cluster")]);
  assert.deepEqual(refused(omit(file, () => true)), [lacks("the annotations of extract-secret")]);
  assert.equal(refused(omit(asOlder(file), (name) => name === "cilium-version")).length, 4);
  assert.ok(read(omit(file, (name) => name === "cilium-version")).target, "nothing is assumed");
});

test("an older file without a key is a target of which the client certificate is unknown", async (t) => {
  const { target, findings } = read(asOlder(await extractFile(await start(t), true)));
  assert.ok(findings.some(({ code, message }) => code === "assumed" && message.includes("the client certificate")));
  assert.equal(target?.clientCertificate, undefined);
  assert.ok(target?.common?.ca);
});

test("the command that extracts a file again keeps it keyless", async (t) => {
  const cluster = await start(t);
  const remedies = (file: V1Secret) => read(asOlder(file)).findings.map(({ remedy }) => remedy);
  const command = "re-extract it with this version: extract-secret --context CONTEXT";
  const [keyless] = remedies(await extractFile(cluster, true));
  assert.equal(keyless, `${command} --keyless --output-file ${PATH}`);
  const [withKey] = remedies(await extractFile(cluster));
  assert.equal(withKey, `${command} --output-file ${PATH}`);
});

test("files that unreadable agents mount are assumed with KVStoreMesh", async (t) => {
  const forbid = [{ verb: "get", resource: "daemonsets" }];
  const description = describeCluster({ version: "1.17", kvstoremesh: true });
  const file = await extractFile(await startCluster(t, description, { forbid }));
  const annotation = "clustermesh-secrets/agents-common-files";
  assert.equal(file.metadata?.annotations?.[annotation], "unknown");
  for (const one of [file, omit(file, (name) => name === "agents-common-files")]) {
    const { target, findings } = read(one);
    assert.deepEqual(
      findings.map(({ code, message }) => `${code}: ${message}`),
      [
        "assumed: the file does not contain which files daemonset/cilium mounts; assuming those of " +
          "deployment/clustermesh-apiserver, and local-etcd-client* since 1.16, as in the chart of Cilium 1.17.0",
      ],
    );
    assert.deepEqual([target?.agentsCommon, target?.localMounted], [target?.common, true]);
  }
});

test("the namespace is that of the file, that of the flag, or the usual one", async (t) => {
  const file = await extractFile(await start(t, { namespace: "cilium" }));
  const unnamed = omit(file, (name) => name === "namespace");
  assert.deepEqual([read(file).target?.namespace, read(file).findings], ["cilium", []]);
  assert.deepEqual([read(file, NOTHING, "x").target?.namespace, read(file, NOTHING, "x").findings], ["x", []]);
  assert.equal(read(unnamed).target?.namespace, "kube-system");
  assert.match(read(unnamed).findings[0]?.message ?? "", /the namespace of Cilium; assuming kube-system$/);
});

test("an unreadable file, one of several clusters, and one of another tool are refused", () => {
  const c2 = writePeerFile(peerOf("c2").peer);
  const c3 = writePeerFile(peerOf("c3", 3).peer);
  for (const file of [
    { apiVersion: "v1", kind: "List", items: [c2, c3] },
    { apiVersion: "v1", kind: "List", items: [] },
    { kind: "ConfigMap" },
    { ...c2, data: { ...c2.data, c2: "?" } },
    omit(c2, () => true),
  ]) {
    const { target, findings } = read(file);
    assert.equal(target, undefined);
    assert.ok(findings.some(({ severity }) => severity === "error"));
  }
});

test("peers of one CA need no key, whether or not the file of the target has one", async (t) => {
  const cluster = await start(t);
  const ca = { pem: normalizeCa(cluster.pki.ca.cert) };
  const { cert, key } = cluster.server.clientCertificate("remote");
  for (const keyless of [false, true]) {
    const { target } = read(await extractFile(cluster, keyless));
    assert.ok(target);
    const peers = [peerOf("c3", 3, { ca, client: { cert, key } }), peerOf("c4", 4, { ca: { pem: caOf("c4").cert } })];
    const planned = plan(target, peers, OPTIONS);
    const create = planned.changes.find(({ name }) => name === "cilium-kvstoremesh");
    assert.equal(create?.verb, "create");
    const keys = Object.keys((create?.verb === "create" && create.object.data) || {});
    assert.deepEqual(
      keys.filter((name) => name.endsWith(".key")),
      ["c4.etcd-client.key"],
    );
  }
});
