/** Members whose certificates are in no Secret, as sources and as targets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { planConnect } from "../../lib/mesh/connect.ts";
import { type ReadOptions, readMembers } from "../../lib/mesh/member.ts";
import { planRotation, planTrust } from "../../lib/mesh/rotate.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { type JoinedMesh, type MemberOptions, startJoinedMesh } from "../support/joined-mesh.ts";
import { caOf } from "../support/material.ts";
import { runChange } from "../support/run-import.ts";
import { OPTIONS, textsOf } from "../support/targets.ts";

const pki = { ca: caOf("mesh"), key: "ec" } as const;
const CSI = { csiDriver: "csi.spiffe.io", pki };
const HOW = { skipUnreachable: false, now: new Date() };
const ALL = { plan: { ...OPTIONS, restarts: "all" } } as const;
const BUNDLE = { caBundle: { kind: "ConfigMap", name: "roots", key: "ca.pem" } } as const;

async function meshOf(t: Parameters<typeof startJoinedMesh>[0], parts: readonly MemberOptions[], apart = false) {
  const mesh = await startJoinedMesh(t, parts, { apart });
  const read = async ({ forExtract }: Pick<ReadOptions, "forExtract">, ...names: string[]) =>
    readMembers(await Promise.all(names.map((name) => mesh.connectTo(name))), { forExtract, resolve: async () => [] });
  return { mesh, read };
}

function textsIn(mesh: JoinedMesh, cluster: string, secret = "cilium-kvstoremesh"): Record<string, string> {
  const found = mesh.sandbox.clusters.find(({ description }) => description.name === cluster);
  return textsOf(found?.api.store.read("Secret", "kube-system", secret) as V1Secret | undefined);
}

test("connect joins them with each other and with one that has Secrets; status reports no findings", async (t) => {
  const parts = [{ ...CSI, version: "1.20.2" }, { ...CSI, version: "1.18.5", kvstoremesh: false }, { pki }];
  const { mesh, read } = await meshOf(t, parts, true);
  const reading = await read({ forExtract: true }, "c1", "c2", "c3");
  const { reports, refused } = await runChange(planConnect(reading, HOW), ALL);
  assert.ok(reports, JSON.stringify(refused));
  assert.deepEqual(
    reports.map((report) => report.state === "done" && [...report.plan.outcomes].flat().join(" ")),
    ["c2 added c3 added", "c1 added c3 added", "c1 added c2 added"],
  );
  assert.deepEqual(reading.warnings, []);
  // c3's key is added if it is unknown whether the target's own certificate suffices; their keys are never added.
  assert.deepEqual(Object.keys(textsIn(mesh, "c3")).sort(), ["c1", "c2"]);
  assert.ok(Object.keys(textsIn(mesh, "c1")).includes("c3.etcd-client.key"));
  const { clusters, pairs } = await mesh.status();
  assert.deepEqual(
    [...clusters, ...pairs].flatMap(({ findings }) => findings),
    [],
  );
  assert.ok(pairs.every(({ configured }) => configured));
});

test("what is known is checked: another CA is an error", async (t) => {
  const other = { csiDriver: "csi.spiffe.io", pki: { ca: caOf("other"), key: "ec" } } as const;
  const parts: MemberOptions[] = [
    { ...CSI, ...BUNDLE },
    { ...other, ...BUNDLE },
  ];
  const { read } = await meshOf(t, parts, true);
  const { refused } = await runChange(planConnect(await read({ forExtract: true }, "c1", "c2"), HOW), ALL);
  assert.deepEqual(
    refused.map(({ source, key, code }) => [source, key, code]),
    [
      ["c2", "c2", "ca-differs"],
      ["c1", "c1", "ca-differs"],
    ],
  );
});

test("rotate writes nothing for them, and reports the effect on an importer only if it is known", async (t) => {
  const parts: MemberOptions[] = [{ ...CSI }, { pki }, { ...CSI, ...BUNDLE }];
  const { mesh, read } = await meshOf(t, parts);
  const before = ["c1", "c2", "c3"].map((name) => textsIn(mesh, name));
  const rotated = async (name: string, ...importers: string[]) => {
    const [source] = (await read({ forExtract: true }, name)).members;
    assert.ok(source);
    const change = planRotation(source, await read({ forExtract: false }, ...importers), HOW);
    const { reports, refused } = await runChange(change, ALL);
    assert.ok(reports, JSON.stringify(refused));
    assert.deepEqual(change.omitted, []);
    return change.notes;
  };
  const hidden = (who: string) =>
    `certificates of ${who} come from volume "common-etcd-client" (CSI driver csi.spiffe.io)`;
  const [toC2, toC3] = await rotated("c1", "c2", "c3");
  assert.equal(toC2, `c2: unknown whether it stays connected to c1: ${hidden("c1")}`);
  assert.equal(toC3, `c3: unknown whether it stays connected to c1: ${hidden("c3")}`);
  const [fromC2] = await rotated("c2", "c3");
  assert.match(fromC2 ?? "", /^c3: stays connected to c2/, "by the existing key of c2");
  const [fromC3] = await rotated("c3", "c2");
  assert.match(fromC3 ?? "", /^c2: stays connected to c3/, "its CA is in a ConfigMap");
  assert.deepEqual(
    ["c1", "c2", "c3"].map((name) => textsIn(mesh, name)),
    before,
  );
});

test("rotate --trust adds a CA where the present one is known, and leaves out the others", async (t) => {
  // c1 by CSI, c2 by CSI with its CA in a ConfigMap, c3 with Secrets; all connect to c4 with their own certificate.
  const parts: MemberOptions[] = [{ ...CSI }, { ...CSI, ...BUNDLE }, { pki }, { ...CSI }];
  const { mesh, read } = await meshOf(t, parts);
  const before = textsIn(mesh, "c1");
  const trust = caOf("next").cert;
  const importers = await read({ forExtract: false }, "c1", "c2", "c3");
  const { omitted, ...change } = planTrust("c4", trust, importers, { skipUnreachable: false, existing: [] });
  const { reports, refused } = await runChange({ ...change, omitted }, ALL);
  assert.ok(reports, JSON.stringify(refused));
  assert.deepEqual(
    omitted.map(({ source, key, code }) => [source, key, code]),
    [["c1", "c4", "common-unverified"]],
  );
  assert.match(omitted[0]?.message ?? "", /comes from volume "common-etcd-client".*the new CA was not added/);
  assert.deepEqual(
    reports.map(({ source }) => source),
    ["c2", "c3"],
  );
  assert.deepEqual(textsIn(mesh, "c1"), before, "with the new CA alone it would be cut off now");
  for (const name of ["c2", "c3"]) {
    const texts = textsIn(mesh, name);
    const [, file = ""] = /trusted-ca-file: \S*\/(ca-\w+\.crt)/.exec(texts.c4 ?? "") ?? [];
    assert.equal(texts[file], normalizeCa(`${caOf("mesh").cert}\n${trust}`), name);
    assert.match(texts.c4 ?? "", /cert-file: \S*\/common-etcd-client\.crt/);
  }
});
