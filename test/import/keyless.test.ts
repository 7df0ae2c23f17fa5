/** A keyless file, as extracted, in targets of every kind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EXTRACT_DEFAULTS, extract } from "../../lib/extract/extract.ts";
import { plan } from "../../lib/import/plan/plan.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { describeCluster, startCluster } from "../support/cluster.ts";
import { caOf } from "../support/material.ts";
import { COMMON, OPTIONS, textsOf } from "../support/targets.ts";

const pki = { ca: caOf("mesh"), key: "ec" } as const;
const COMMON_PATHS = COMMON.map((name) => `/var/lib/cilium/clustermesh/${name}`);

test("a keyless file is imported by all versions, with and without KVStoreMesh", async (t) => {
  const source = await startCluster(t, describeCluster({ version: "1.20", csiDriver: "csi.example" }), { pki });
  const { peer } = await extract(source.api, { ...EXTRACT_DEFAULTS, resolve: async () => [] });
  const { peers, findings } = readPeerFile(writePeerFile(peer), "cluster2.json");
  assert.deepEqual(findings, []);
  const candidates = peers.map((one) => ({ peer: one, source: "cluster2.json" }));
  for (const version of ["1.14", "1.18", "1.20"]) {
    for (const kvstoremesh of [false, true]) {
      for (const csiDriver of [undefined, "csi.example"]) {
        const what = `${version} ${kvstoremesh} ${csiDriver}`;
        const description = describeCluster({
          name: "own",
          id: 1,
          version,
          kvstoremesh,
          ...(csiDriver && { csiDriver }),
        });
        const { api } = await startCluster(t, description, { pki });
        const { target } = await readTarget(api, "own");
        const planned = plan(target, candidates, { ...OPTIONS, restarts: "all" });
        assert.deepEqual([...planned.outcomes], [["cluster2", "added"]], what);
        assert.deepEqual(
          planned.findings.map(({ code, source, key }) => [code, source, key]),
          [["common-unverified", ...(csiDriver ? ["own", undefined] : ["cluster2.json", "cluster2"])]],
          what,
        );
        const created = planned.changes.flatMap((change) =>
          change.verb === "create" && change.kind === "Secret" ? [[change.name, textsOf(change.object)] as const] : [],
        );
        const [[name, texts] = ["", {}]] = created;
        assert.equal(name, kvstoremesh ? "cilium-kvstoremesh" : "cilium-clustermesh", what);
        assert.deepEqual(Object.keys(texts), ["cluster2"], what);
        for (const path of COMMON_PATHS) assert.match(texts.cluster2 ?? "", new RegExp(`: ${path}\n`), what);
        assert.match(texts.cluster2 ?? "", /^endpoints:\n- https:\/\/cluster2\.mesh\.cilium\.io:32379\n/);
        assert.deepEqual(planned.granted, target.takesUsers ? ["remote-cluster2"] : [], what);
      }
    }
  }
});
