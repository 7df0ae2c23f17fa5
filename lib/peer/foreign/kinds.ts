/** Recognizes Kubernetes objects of kinds that cannot be imported. Pure. */
import { type Fields, getField, parseObjectName } from "../../util/fields.ts";
import { EXTRACT, type ForeignFile, getSecretCommand, OMIT } from "./foreign.ts";

/**
 * Objects that generate or copy a Secret in their cluster, by API group and kind: the possible paths of the Secret's
 * name, and why the object itself cannot be used.
 */
const SECRET_GENERATORS: Readonly<Record<string, { name: string[][]; namespaced: boolean; reason: string }>> = {
  "bitnami.com/SealedSecret": {
    name: [
      ["spec", "template", "metadata", "name"],
      ["metadata", "name"],
    ],
    namespaced: true,
    reason: "can be decrypted only by the controller in its cluster",
  },
  "external-secrets.io/ExternalSecret": {
    name: [
      ["spec", "target", "name"],
      ["metadata", "name"],
    ],
    namespaced: true,
    reason: "contains no values: the operator creates the Secret in the cluster",
  },
  "external-secrets.io/ClusterExternalSecret": {
    name: [
      ["spec", "externalSecretSpec", "target", "name"],
      ["spec", "externalSecretName"],
      ["metadata", "name"],
    ],
    namespaced: false,
    reason: "contains no values: the operator creates the Secrets in the cluster",
  },
  "external-secrets.io/PushSecret": {
    name: [["spec", "selector", "secret", "name"]],
    namespaced: true,
    reason: "contains no values: it copies a Secret from the cluster to an external store",
  },
  "external-secrets.io/ClusterPushSecret": {
    name: [["spec", "pushSecretSpec", "selector", "secret", "name"]],
    namespaced: false,
    reason: "contains no values: it copies Secrets from the cluster to an external store",
  },
  "secrets.hashicorp.com/VaultStaticSecret": {
    name: [["spec", "destination", "name"]],
    namespaced: true,
    reason: "contains no values: the operator creates the Secret in the cluster",
  },
};

/** Objects that deploy others, by API group and kind, with their tool. */
const DEPLOYERS: Readonly<Record<string, string>> = {
  "argoproj.io/Application": "Argo CD",
  "argoproj.io/ApplicationSet": "Argo CD",
  "helm.toolkit.fluxcd.io/HelmRelease": "Flux",
  "kustomize.toolkit.fluxcd.io/Kustomization": "Flux",
  "kustomize.config.k8s.io/Kustomization": "Kustomize",
  "helm.cattle.io/HelmChart": "the Helm controller",
  "helm.cattle.io/HelmChartConfig": "the Helm controller",
};

/** Returns the API group and kind of an object. */
function typeOf({ apiVersion, kind }: Fields): string | undefined {
  if (typeof kind !== "string" || typeof apiVersion !== "string") return undefined;
  return `${apiVersion.replace(/\/[^/]*$/, "")}/${kind}`;
}

/**
 * Returns the name of the Secret that an object generates in its cluster, or copies from it.
 *
 * @returns undefined for other objects, and if the name is invalid.
 */
export function generatedSecretName(object: Fields): string | undefined {
  const type = typeOf(object);
  const generator = type !== undefined && Object.hasOwn(SECRET_GENERATORS, type) ? SECRET_GENERATORS[type] : undefined;
  return generator?.name.map((path) => parseObjectName(getField(object, path))).find((one) => one !== undefined);
}

/** Recognizes an object by its kind; undefined for other kinds. */
export function recognizeByKind(object: Fields): ForeignFile | undefined {
  const { kind } = object;
  const type = typeOf(object);
  if (type === undefined) return undefined;
  const name = parseObjectName(getField(object, ["metadata", "name"]));
  const namespace = parseObjectName(getField(object, ["metadata", "namespace"]));
  const label = name === undefined ? kind : `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
  const foreign = (message: string, remedy = EXTRACT): ForeignFile => ({ code: "foreign-file", message, remedy });
  const generator = Object.hasOwn(SECRET_GENERATORS, type) ? SECRET_GENERATORS[type] : undefined;
  if (generator) {
    const secret = generatedSecretName(object);
    return foreign(
      `contains ${label}, which ${generator.reason}`,
      getSecretCommand({ namespace: generator.namespaced ? namespace : undefined, name: secret }),
    );
  }
  if (Object.hasOwn(DEPLOYERS, type)) return foreign(`contains ${label} of ${DEPLOYERS[type]}, not a Secret`, OMIT);
  if (type === "v1/ConfigMap" && name === "cilium-config") {
    const cluster = parseObjectName(getField(object, ["data", "cluster-name"]));
    return foreign(`contains ${label}${cluster === undefined ? "" : ` of cluster ${cluster}`}, not a Secret`);
  }
  return undefined;
}
