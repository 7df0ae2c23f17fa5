/** Foreign files that are Kubernetes objects of a known kind. Pure. */
import { type Fields, getField, parseObjectName } from "../../util/fields.ts";
import { EXTRACT, type ForeignFile, getSecretCommand, OMIT } from "./foreign.ts";

/**
 * Objects that generate a Secret in their cluster, or copy one, by API group and kind: the path of the Secret's name, and
 * why the object by itself is of no use.
 */
const SECRET_MAKERS: Readonly<Record<string, { name: string[][]; namespaced: boolean; does: string }>> = {
  "bitnami.com/SealedSecret": {
    name: [
      ["spec", "template", "metadata", "name"],
      ["metadata", "name"],
    ],
    namespaced: true,
    does: "can be decrypted only by the controller in its cluster",
  },
  "external-secrets.io/ExternalSecret": {
    name: [
      ["spec", "target", "name"],
      ["metadata", "name"],
    ],
    namespaced: true,
    does: "contains no values: the operator in its cluster makes the Secret",
  },
  "external-secrets.io/ClusterExternalSecret": {
    name: [
      ["spec", "externalSecretSpec", "target", "name"],
      ["spec", "externalSecretName"],
      ["metadata", "name"],
    ],
    namespaced: false,
    does: "contains no values: the operator in its cluster makes the Secrets",
  },
  "external-secrets.io/PushSecret": {
    name: [["spec", "selector", "secret", "name"]],
    namespaced: true,
    does: "contains no values: it copies a Secret of its cluster to a store",
  },
  "external-secrets.io/ClusterPushSecret": {
    name: [["spec", "pushSecretSpec", "selector", "secret", "name"]],
    namespaced: false,
    does: "contains no values: it copies Secrets of its cluster to a store",
  },
  "secrets.hashicorp.com/VaultStaticSecret": {
    name: [["spec", "destination", "name"]],
    namespaced: true,
    does: "contains no values: the operator in its cluster makes the Secret",
  },
};

/** Objects that deploy others, by API group and kind, and whose they are. */
const DEPLOYERS: Readonly<Record<string, string>> = {
  "argoproj.io/Application": "Argo CD",
  "argoproj.io/ApplicationSet": "Argo CD",
  "helm.toolkit.fluxcd.io/HelmRelease": "Flux",
  "kustomize.toolkit.fluxcd.io/Kustomization": "Flux",
  "kustomize.config.k8s.io/Kustomization": "Kustomize",
  "helm.cattle.io/HelmChart": "the Helm controller",
  "helm.cattle.io/HelmChartConfig": "the Helm controller",
};

/** What an object is by its kind; undefined if none of these. */
export function recognizeByKind(object: Fields): ForeignFile | undefined {
  const { apiVersion, kind } = object;
  if (typeof kind !== "string" || typeof apiVersion !== "string") return undefined;
  const type = `${apiVersion.replace(/\/[^/]*$/, "")}/${kind}`;
  const name = parseObjectName(getField(object, ["metadata", "name"]));
  const namespace = parseObjectName(getField(object, ["metadata", "namespace"]));
  const called = name === undefined ? kind : `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
  const foreign = (message: string, remedy = EXTRACT): ForeignFile => ({ code: "foreign-file", message, remedy });
  const maker = Object.hasOwn(SECRET_MAKERS, type) ? SECRET_MAKERS[type] : undefined;
  if (maker) {
    const secret = maker.name.map((path) => parseObjectName(getField(object, path))).find((one) => one !== undefined);
    const where = maker.namespaced ? namespace : undefined;
    return foreign(`contains ${called}, which ${maker.does}`, getSecretCommand({ namespace: where, name: secret }));
  }
  if (Object.hasOwn(DEPLOYERS, type)) return foreign(`contains ${called} of ${DEPLOYERS[type]}, not a Secret`, OMIT);
  if (type === "v1/ConfigMap" && name === "cilium-config") {
    const cluster = parseObjectName(getField(object, ["data", "cluster-name"]));
    return foreign(`contains ${called}${cluster === undefined ? "" : ` of cluster ${cluster}`}, not a Secret`);
  }
  return undefined;
}
