/** Secrets of clusters with all fields that Argo CD and Cluster API write, after their documentation and source. */
import { stringify } from "yaml";
import { encode, type KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Access, kubeconfigSecret } from "./cluster-secrets.ts";

/** The namespace of the Secrets. */
const NAMESPACE = "members";

/** A client certificate in PEM. */
export interface ClientPair {
  cert: string;
  key: string;
}

/** How the user of a Secret authenticates. */
export type Credentials = { token: string } | ClientPair;

/** Where a cluster is, and as whom it is accessed. */
export type MemberAccess = Pick<Access, "server" | "ca"> & { credentials: Credentials };

/** Writes the Secrets of one cluster as a tool does. */
export type SecretsOf = (name: string, access: MemberAccess) => KubernetesObject[];

const base64 = (text: string) => Buffer.from(text).toString("base64");

/**
 * What `argocd cluster add` writes: keys and JSON of argoproj/argo-cd, docs/operator-manual/declarative-setup.md, "Clusters"
 * (commit 015ba5e7), name and annotation of util/db/cluster.go, `CreateCluster`, `serverToSecretName` and `clusterToSecret`
 * (commit 013a096d).
 */
export const argoCdSecrets: SecretsOf = (name, { server, ca, credentials }) => {
  const { hostname } = new URL(server);
  const pair = "token" in credentials ? {} : { certData: base64(credentials.cert), keyData: base64(credentials.key) };
  const config = {
    ...("token" in credentials && { bearerToken: credentials.token }),
    tlsClientConfig: { insecure: false, caData: ca, ...pair },
    disableCompression: false,
  };
  return [
    {
      apiVersion: "v1",
      kind: "Secret",
      type: "Opaque",
      metadata: {
        name: `cluster-${hostname}-${hashFnv32a(server)}`,
        namespace: NAMESPACE,
        labels: { "argocd.argoproj.io/secret-type": "cluster", env: "test" },
        annotations: { "managed-by": "argocd.argoproj.io" },
      },
      data: encode({
        name,
        server,
        config: JSON.stringify(config),
        namespaces: "kube-system",
        clusterResources: "true",
        project: "mesh",
      }),
    },
  ];
};

/** FNV-1a, 32 bits. */
function hashFnv32a(text: string): number {
  return [...Buffer.from(text)].reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}

/**
 * What the control plane of a cluster gets from Cluster API: the kubeconfig of kubernetes-sigs/cluster-api,
 * util/kubeconfig/kubeconfig.go, `New` and `GenerateSecretWithOwner` (commit ea24498f), and the key pairs of
 * docs/book/src/tasks/certs/using-custom-certificates.md (commit 422a4cd8), which have the same label. The type is
 * `ClusterSecretType` of its API.
 */
export const clusterApiSecrets: SecretsOf = (name, { server, ca, credentials }) => {
  const user = `${name}-admin`;
  const auth =
    "token" in credentials
      ? { token: credentials.token }
      : { "client-certificate-data": base64(credentials.cert), "client-key-data": base64(credentials.key) };
  // clientcmd.Write sorts the keys.
  const kubeconfig = stringify({
    apiVersion: "v1",
    clusters: [{ cluster: { "certificate-authority-data": ca, server }, name }],
    contexts: [{ context: { cluster: name, user }, name: `${user}@${name}` }],
    "current-context": `${user}@${name}`,
    kind: "Config",
    preferences: {},
    users: [{ name: user, user: auth }],
  });
  const owner = {
    apiVersion: "cluster.x-k8s.io/v1beta1",
    kind: "Cluster",
    name,
    uid: "2e6d4fcf-7d92-4b8a-9c3c-1a63d5ac7b4c",
  };
  const secret = (purpose: string, data: Record<string, string>): KubernetesObject => ({
    apiVersion: "v1",
    kind: "Secret",
    type: "cluster.x-k8s.io/secret",
    metadata: {
      name: `${name}-${purpose}`,
      namespace: NAMESPACE,
      labels: { "cluster.x-k8s.io/cluster-name": name },
      ownerReferences: [owner],
    } as KubernetesObject["metadata"],
    data: encode(data),
  });
  const pair = { "tls.crt": "certificate", "tls.key": "private key" };
  const others = ["ca", "etcd", "proxy", "sa"].map((purpose) => secret(purpose, pair));
  return [secret("kubeconfig", { value: kubeconfig }), ...others];
};

/** A kubeconfig as `kubectl create secret generic --from-file=kubeconfig` stores it, with our label. */
export const labelledSecrets: SecretsOf = (name, { server, ca, credentials }) => {
  const auth =
    "token" in credentials
      ? { token: credentials.token }
      : { "client-certificate-data": base64(credentials.cert), "client-key-data": base64(credentials.key) };
  const kubeconfig = stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "default",
    contexts: [{ name: "default", context: { cluster: "default", user: "default", namespace: "default" } }],
    clusters: [{ name: "default", cluster: { server, "certificate-authority-data": ca } }],
    users: [{ name: "default", user: auth }],
  });
  return [kubeconfigSecret(name, kubeconfig)];
};
