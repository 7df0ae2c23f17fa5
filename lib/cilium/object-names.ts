/** Names of the objects of an installation, as Cilium's chart calls them. */

/** The ConfigMap with name, id and networking of the cluster. */
export const CILIUM_CONFIG = "cilium-config";
/** The DaemonSet of the agents. */
export const AGENTS = "cilium";
/** The Deployment of the operator. */
export const OPERATOR = "cilium-operator";
/** The Secret with the client certificate that the cluster presents to peers. */
export const REMOTE_CERT = "clustermesh-apiserver-remote-cert";
/** The same Secret in older installs through the CLI. */
export const OLD_REMOTE_CERT = `${REMOTE_CERT}s`;
/** The Secret with the server certificate of etcd. */
export const SERVER_CERT = "clustermesh-apiserver-server-cert";
/** Holds the CA with its private key in charts up to 1.14, so it is read only if no other object has the CA. */
export const CA_CERT = "clustermesh-apiserver-ca-cert";
/** The Secret with the client certificate of external workloads (up to 1.17). */
export const WORKLOAD_CERT = "clustermesh-apiserver-client-cert";
/** The same Secret in older installs through the CLI. */
export const OLD_WORKLOAD_CERT = `${WORKLOAD_CERT}s`;
