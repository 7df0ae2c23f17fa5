/** What an extracted file states about its cluster as a target. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { EXTRACT_DEFAULTS, extract } from "../../lib/extract/extract.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { certificateUser } from "../../lib/x509/names.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { describeCluster, startCluster } from "../support/cluster.ts";
import { caOf } from "../support/material.ts";

async function start(t: TestContext, overrides: Partial<ClusterDescription>) {
  const cluster = await startCluster(t, describeCluster(overrides));
  const read = async (more: { keyless?: boolean } = {}) =>
    (await extract(cluster.api, { ...EXTRACT_DEFAULTS, resolve: async () => [], ...more })).targetFacts;
  return { cluster, read };
}

const AGENTS = { kind: "DaemonSet", name: "cilium" };
const APISERVER = { kind: "Deployment", name: "clustermesh-apiserver" };

test("the chart's objects of each version", async (t) => {
  for (const version of ["1.13", "1.14", "1.17", "1.20"]) {
    for (const kvstoremesh of version === "1.13" ? [false] : [false, true]) {
      const { read } = await start(t, { version, kvstoremesh });
      const { configReaders, ...facts } = await read();
      assert.deepEqual(configReaders, [kvstoremesh ? APISERVER : AGENTS]);
      assert.deepEqual(facts, {
        mountsUsers: version === "1.20",
        ...(version === "1.13" ? { commonFiles: "none" } : { commonFiles: "secret", commonCa: "file" }),
        mountsLocalFiles: ["1.17", "1.20"].includes(version),
      });
    }
  }
});

test("a keyless file contains the client certificate, and never a key", async (t) => {
  const { read } = await start(t, { version: "1.20" });
  const { clientCertificate = "", commonCa } = await read({ keyless: true });
  assert.equal(certificateUser(clientCertificate), "remote");
  assert.doesNotMatch(clientCertificate, /PRIVATE/);
  assert.equal(commonCa, "file", "the CA is in the annotation of the file");
});

test("certificates in a CSI volume, without and with a readable CA", async (t) => {
  const caBundle = { kind: "ConfigMap", name: "roots", key: "ca.pem" } as const;
  const volume = { name: "common-etcd-client", type: "CSI driver csi.example", listed: true };
  for (const more of [{}, { caBundle }]) {
    const { read } = await start(t, { version: "1.20", csiDriver: "csi.example", ...more });
    const facts = await read();
    assert.deepEqual(facts.commonFiles, volume);
    assert.equal(facts.commonCa, "caBundle" in more ? "file" : "unknown");
    assert.equal(facts.clientCertificate, undefined);
    assert.equal(facts.agentsCommonFiles, undefined, "the same as those of kvstoremesh");
  }
});

test("a CA of the agents that differs from that of kvstoremesh, and one that cannot be parsed", async (t) => {
  const caBundle = { kind: "ConfigMap", name: "roots", key: "ca.pem" } as const;
  const { cluster, read } = await start(t, { version: "1.17", kvstoremesh: true, caBundle });
  const other = caOf("other").cert;
  cluster.change("ConfigMap", "roots", (object) => Object.assign(object, { data: { "ca.pem": other } }));
  const { commonFiles, commonCa, agentsCommonFiles, agentsCommonCa } = await read();
  assert.deepEqual([commonFiles, commonCa], ["secret", "file"]);
  assert.deepEqual([agentsCommonFiles, agentsCommonCa], ["secret", { pem: normalizeCa(other) }]);
  cluster.change("ConfigMap", "roots", (object) => Object.assign(object, { data: { "ca.pem": "a text" } }));
  assert.equal((await read()).agentsCommonCa, "unknown");
});

test("workloads that cannot be read are not guessed", async (t) => {
  const description = describeCluster({ version: "1.17", kvstoremesh: false });
  const forbid = [{ verb: "get", resource: "daemonsets" }];
  const { api } = await startCluster(t, description, { forbid });
  const { targetFacts } = await extract(api, { ...EXTRACT_DEFAULTS, resolve: async () => [] });
  assert.deepEqual(targetFacts, { mountsUsers: false });
  const withMesh = await startCluster(t, describeCluster({ version: "1.17", kvstoremesh: true }), { forbid });
  const { targetFacts: facts } = await extract(withMesh.api, { ...EXTRACT_DEFAULTS, resolve: async () => [] });
  assert.deepEqual(
    [facts.commonFiles, facts.agentsCommonFiles, facts.mountsLocalFiles],
    ["secret", "unknown", undefined],
  );
});
