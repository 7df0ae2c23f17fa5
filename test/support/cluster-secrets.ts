/** Secrets that describe sandbox clusters, as Argo CD, Cluster API and people write them. */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { encode, type KubernetesObject } from "../../lib/sandbox/object.ts";
import type { Sandbox } from "../../lib/sandbox/sandbox.ts";

/** How a sandbox cluster is reached. */
export interface Access {
  server: string;
  /** Base64 of PEM. */
  ca: string;
  token: string;
}

/** Reads how a cluster is reached from the kubeconfig of its sandbox. */
export function accessOf({ kubeconfig }: Sandbox, name: string): Access {
  const { clusters, users } = parse(readFileSync(kubeconfig, "utf8"));
  const named = <T extends { name: string }>(entries: T[]) => entries.find((entry) => entry.name === name) as T;
  const { cluster } = named<{ name: string; cluster: Record<string, string> }>(clusters);
  const { user } = named<{ name: string; user: Record<string, string> }>(users);
  return { server: cluster.server ?? "", ca: cluster["certificate-authority-data"] ?? "", token: user.token ?? "" };
}

/** Returns a kubeconfig with one context, with overrides of its cluster and its user. */
export function kubeconfigOf(
  { server, ca, token }: Access,
  overrides: { cluster?: object; user?: object } = {},
): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "admin@cluster",
    contexts: [{ name: "admin@cluster", context: { cluster: "cluster", user: "admin" } }],
    clusters: [{ name: "cluster", cluster: { server, "certificate-authority-data": ca, ...overrides.cluster } }],
    users: [{ name: "admin", user: overrides.user ?? { token } }],
  });
}

interface SecretParts {
  name: string;
  labels: Record<string, string>;
  type?: string;
  data: Record<string, string>;
}

function secretOf({ name, labels, type = "Opaque", data }: SecretParts): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    type,
    metadata: { name, namespace: "members", labels },
    data: encode(data),
  };
}

/** A Secret by the declarative setup of Argo CD; `config` replaces parts of the connection. */
export function argoSecret(
  secret: string,
  name: string,
  { server, ca, token }: Access,
  config: object = {},
): KubernetesObject {
  const connection = { bearerToken: token, tlsClientConfig: { insecure: false, caData: ca }, ...config };
  const labels = { "argocd.argoproj.io/secret-type": "cluster" };
  return secretOf({ name: secret, labels, data: { name, server, config: JSON.stringify(connection) } });
}

/** The Secrets that Cluster API creates for a cluster: its kubeconfig, and its CA with the private key. */
export function capiSecrets(name: string, access: Access): KubernetesObject[] {
  const labels = { "cluster.x-k8s.io/cluster-name": name };
  const type = "cluster.x-k8s.io/secret";
  return [
    secretOf({ name: `${name}-kubeconfig`, labels, type, data: { value: kubeconfigOf(access) } }),
    secretOf({ name: `${name}-ca`, labels, type, data: { "tls.crt": "certificate", "tls.key": "private key" } }),
    secretOf({ name: `${name}-user-kubeconfig`, labels, type, data: { value: kubeconfigOf(access) } }),
  ];
}

/** A Secret with a kubeconfig. */
export function kubeconfigSecret(
  name: string,
  kubeconfig: string,
  labels: Record<string, string> = {},
): KubernetesObject {
  const own = { "clustermesh-secrets/cluster": "true", ...labels };
  return secretOf({ name, labels: own, data: { kubeconfig } });
}
