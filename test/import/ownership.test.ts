import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1ObjectMeta, V1OwnerReference } from "@kubernetes/client-node";
import { ownerOf, removeOwners } from "../../lib/import/plan/ownership.ts";

const reference = (kind: string, name: string, controller?: boolean): V1OwnerReference => ({
  apiVersion: "x/v1",
  kind,
  name,
  uid: "u",
  ...(controller !== undefined && { controller }),
});
const wrote = (manager: string, time: string, fields: object = { "f:data": {} }) => ({
  manager,
  operation: "Update",
  time: new Date(time),
  fieldsV1: fields,
});

test("an owner is recognized by its marks on an object", () => {
  const table: [V1ObjectMeta, string][] = [
    [{ annotations: { "meta.helm.sh/release-name": "cilium" } }, "Helm release cilium"],
    [
      {
        labels: { "app.kubernetes.io/managed-by": "Helm" },
        annotations: { "meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": "kube-system" },
      },
      "Helm release cilium",
    ],
    [{ labels: { "app.kubernetes.io/managed-by": "Helm" } }, "Helm release"],
    [{ annotations: { "argocd.argoproj.io/tracking-id": "mesh:/Secret:kube-system/x" } }, "Argo CD application mesh"],
    [{ labels: { "argocd.argoproj.io/instance": "mesh" } }, "Argo CD application mesh"],
    [
      {
        labels: { "kustomize.toolkit.fluxcd.io/namespace": "flux", "kustomize.toolkit.fluxcd.io/name": "apps" },
      },
      "Flux object apps",
    ],
    [
      { labels: { "helm.toolkit.fluxcd.io/name": "cilium", "app.kubernetes.io/managed-by": "Helm" } },
      "Flux object cilium",
    ],
    [{ ownerReferences: [reference("ExternalSecret", "mesh", true)] }, "ExternalSecret mesh"],
    [{ annotations: { "reconcile.external-secrets.io/data-hash": "1" } }, "ExternalSecret"],
    [{ ownerReferences: [reference("SealedSecret", "mesh", true)] }, "SealedSecret mesh"],
    [{ annotations: { "sealedsecrets.bitnami.com/managed": "true" } }, "SealedSecret"],
    [
      { labels: { "app.kubernetes.io/instance": "mesh" }, managedFields: [wrote("argocd-controller", "2026-01-01")] },
      "Argo CD application mesh",
    ],
    [{ ownerReferences: [reference("MeshOperator", "m", true)] }, "MeshOperator m"],
    [{ managedFields: [wrote("helm", "2026-01-01")] }, "Helm release"],
    [{ managedFields: [wrote("argocd-controller", "2026-01-01")] }, "Argo CD application"],
    [{ managedFields: [wrote("kustomize-controller", "2026-01-01")] }, "Flux object"],
    [{ managedFields: [wrote("external-secrets", "2026-01-01")] }, "ExternalSecret"],
    [
      { managedFields: [wrote("clustermesh-secrets", "2026-01-01"), wrote("argocd-controller", "2026-02-01")] },
      "Argo CD application",
    ],
  ];
  for (const [metadata, what] of table) assert.equal(ownerOf(metadata)?.label, what, JSON.stringify(metadata));
});

test("kubectl, our own writes, and writers of no data or older data are not owners", () => {
  const table: V1ObjectMeta[] = [
    {},
    { annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}" } },
    { managedFields: [wrote("kubectl-client-side-apply", "2026-01-01"), wrote("kubectl-edit", "2026-01-02")] },
    { managedFields: [wrote("clustermesh-secrets", "2026-01-01")] },
    { managedFields: [wrote("helm", "2026-01-01"), wrote("clustermesh-secrets", "2026-01-02")] },
    { managedFields: [wrote("argocd-controller", "2026-01-01", { "f:metadata": {} })] },
    { managedFields: [wrote("helm", "2026-01-01"), wrote("clustermesh-secrets", "2026-01-02", { "f:metadata": {} })] },
    { ownerReferences: [reference("Namespace", "n")] },
    { labels: { "app.kubernetes.io/managed-by": "us", "app.kubernetes.io/instance": "x" } },
  ];
  for (const metadata of table) assert.equal(ownerOf(metadata), undefined, JSON.stringify(metadata));
});

test("a takeover removes the marks of all owners and keeps other metadata", () => {
  const metadata: V1ObjectMeta = {
    labels: { "app.kubernetes.io/managed-by": "Helm", "argocd.argoproj.io/instance": "a", mine: "x" },
    annotations: { "meta.helm.sh/release-name": "cilium", mine: "y" },
    ownerReferences: [reference("SealedSecret", "s"), reference("Thing", "t", true), reference("Namespace", "n")],
  };
  assert.deepEqual(removeOwners(metadata), {
    labels: { "app.kubernetes.io/managed-by": null, "argocd.argoproj.io/instance": null },
    // Otherwise Helm and Argo CD delete objects that they no longer render.
    annotations: {
      "meta.helm.sh/release-name": null,
      "helm.sh/resource-policy": "keep",
      "argocd.argoproj.io/sync-options": "Prune=false",
      "clustermesh-secrets/taken-from": "Argo CD application a",
    },
    ownerReferences: [reference("Namespace", "n")],
  });
  assert.deepEqual(removeOwners({ ownerReferences: [reference("ExternalSecret", "e", true)] }).ownerReferences, null);
  assert.deepEqual(removeOwners({ labels: { mine: "x" } }), { labels: {}, annotations: {} });
});

test("objects with Argo CD's default label or field manager alone can be taken over", () => {
  const argo: V1ObjectMeta = {
    labels: { "app.kubernetes.io/instance": "mesh" },
    managedFields: [wrote("argocd-controller", "2026-01-01")],
  };
  assert.deepEqual(removeOwners(argo), {
    labels: { "app.kubernetes.io/instance": null },
    annotations: {
      "argocd.argoproj.io/sync-options": "Prune=false",
      "clustermesh-secrets/taken-from": "Argo CD application mesh",
    },
  });
  assert.deepEqual(removeOwners({ managedFields: [wrote("helm", "2026-01-01")] }).annotations, {
    "helm.sh/resource-policy": "keep",
    "clustermesh-secrets/taken-from": "Helm release",
  });
  const flux = { labels: { "kustomize.toolkit.fluxcd.io/name": "apps" } };
  assert.equal(removeOwners(flux).annotations?.["kustomize.toolkit.fluxcd.io/prune"], "disabled");
});
