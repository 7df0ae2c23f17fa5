/** Which files in an output directory were rendered before. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isGeneratedFile, isGeneratedName } from "../../lib/manifests/generated-files.ts";
import { renderTarget } from "../../lib/manifests/render.ts";
import { anyForm, anyPeers, anyTarget } from "../support/plans.ts";
import { OPTIONS } from "../support/targets.ts";

const { tls, users, now } = OPTIONS;

test("every rendered file is recognized", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyForm, (target, peers, form) => {
      const { files } = renderTarget(target, peers, { tls, users, now, form, whole: false });
      for (const { path, text } of files) assert.ok(isGeneratedName(path) && isGeneratedFile(path, text), path);
    }),
    { numRuns: 60 },
  );
});

test("files of people with the same names are not", () => {
  const kustomization = "kind: Kustomization\nresources: [cilium-clustermesh.yaml";
  for (const [path, text] of [
    ["values.yaml", "clustermesh: {config: {}}\nhubble: {}\n"],
    ["values.yaml", "clustermesh: {useAPIServer: true}\n"],
    ["values.yaml", "clustermesh: {config: {enabled: true}}\n"],
    ["kustomization.yaml", `${kustomization}, ../base]\n`],
    ["kustomization.yaml", `${kustomization}]\nhelmCharts: []\n`],
    ["kustomization.yaml", "kind: Kustomization\n"],
    ["host-aliases/kustomization.yaml", "kind: Component\npatches: [{path: other.yaml}]\n"],
    ["cilium-clustermesh.yaml", "kind: SealedSecret\nmetadata: {name: cilium-clustermesh}\n"],
    ["cilium-clustermesh.yaml", "kind: Secret\nmetadata: {name: other}\n"],
    ["cilium-clustermesh.yaml", "kind: Secret\nmetadata: {name: cilium-clustermesh}\n---\na: 1\n"],
    ["cilium-clustermesh.yaml", "{"],
    ["cilium-clustermesh.yaml", ""],
    ["host-aliases-daemonset-cilium.yaml", "kind: Deployment\nmetadata: {name: cilium}\n"],
    ["other.yaml", "kind: Secret\nmetadata: {name: other}\n"],
    ["constructor", "kind: Secret\n"],
  ] as const) {
    assert.equal(isGeneratedFile(path, text), false, `${path}: ${text}`);
  }
  for (const path of ["other.yaml", "constructor", "host-aliases/values.yaml"]) assert.ok(!isGeneratedName(path), path);
  assert.ok(isGeneratedFile("kustomization.yaml", `${kustomization}]\n`));
});
