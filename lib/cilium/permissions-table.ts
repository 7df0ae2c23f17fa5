/**
 * The requests that each command sends to a cluster of the mesh, and the permissions that it needs for them: the table behind
 * `rbac`, the access reviews of an import, and the page on least privilege. Pure.
 */
import { configMaps, daemonSets, deployments, events, nodes, pods, secrets, services } from "../kube/api.ts";
import { AGENTS_SECRET, APISERVER, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import {
  AGENTS,
  CA_CERT,
  CILIUM_CONFIG,
  OLD_REMOTE_CERT,
  OLD_WORKLOAD_CERT,
  OPERATOR,
  REMOTE_CERT,
  SERVER_CERT,
  WORKLOAD_CERT,
} from "./object-names.ts";
import {
  by,
  CLUSTER_COMMANDS,
  type ClusterCommand,
  EXTRACTING,
  NOT_WATCHED,
  optional,
  type Permission,
  required,
  UNUSED,
} from "./permission.ts";

const WRITING: readonly ClusterCommand[] = ["import", "connect", "rotate", "disconnect", "sync"];
const ADDING: readonly ClusterCommand[] = ["import", "connect", "rotate", "sync"];
/** The commands that read the peers of a cluster and treat a forbidden workload as an error. */
const STRICT: readonly ClusterCommand[] = ["import", "connect", "verify", "rotate", "disconnect", "render", "sync"];
const LENIENT: readonly ClusterCommand[] = ["extract", "status"];

/** An object is listed by its name before it is watched: RBAC permits both with resourceNames. */
const WATCHING = ["list", "watch"] as const;

/** All permissions, in the order in which they are printed. */
export const PERMISSIONS: readonly Permission[] = [
  {
    ...{ verbs: ["get"], resource: configMaps, names: [CILIUM_CONFIG] },
    purpose: "name, id and networking of the cluster",
    needs: by(CLUSTER_COMMANDS, required()),
  },
  {
    ...{ verbs: ["get"], resource: deployments, names: [APISERVER] },
    purpose: "version, KVStoreMesh and mounted files of the clustermesh-apiserver",
    needs: by(CLUSTER_COMMANDS, required()),
  },
  {
    ...{ verbs: ["get"], resource: daemonSets, names: [AGENTS] },
    purpose: "mounted files and host aliases of the agents",
    needs: {
      ...by(STRICT, required()),
      ...by(LENIENT, optional("files that only the agents mount are unknown")),
    },
  },
  {
    ...{ verbs: ["get"], resource: deployments, names: [OPERATOR] },
    purpose: "mounted files and host aliases of the operator",
    needs: {
      ...by(STRICT, required("without KVStoreMesh")),
      ...by(LENIENT, optional("files that only the operator mounts are unknown")),
    },
  },
  {
    ...{ verbs: ["get"], resource: services, names: [APISERVER] },
    purpose: "type, port and addresses of the clustermesh-apiserver",
    needs: {
      ...by(EXTRACTING, required()),
      ...by(["import", "render"], optional("its node port is not compared with those of the peers")),
      ...by(["verify", "disconnect"], UNUSED),
    },
  },
  {
    ...{ verbs: ["list"], resource: nodes, names: [], isClusterWide: true },
    purpose: "node addresses and pod CIDRs",
    needs: {
      ...by(EXTRACTING, required("with a Service of type NodePort")),
      ...by(["import", "render"], optional("pod CIDRs that are assigned to nodes are not compared")),
      ...by(["verify", "disconnect"], UNUSED),
    },
  },
  {
    ...{ verbs: ["list"], resource: pods, names: [] },
    purpose: "pods of the clustermesh-apiserver: why it is not running, and their nodes",
    needs: {
      ...by(["status"], required()),
      ...by(["extract", "connect", "rotate", "sync"], required("with externalTrafficPolicy Local")),
    },
  },
  {
    ...{ verbs: ["get"], resource: secrets, names: [REMOTE_CERT, OLD_REMOTE_CERT] },
    purpose: "client certificate and key for peers, and their CA",
    features: ["keys"],
    needs: {
      ...by(EXTRACTING, required()),
      ...by(["import", "render"], optional("the cluster's authMode and client certificate are unknown")),
      ...by(["verify"], optional("peers without a certificate are tested with --cert and --key only")),
      ...by(["disconnect"], UNUSED),
    },
  },
  {
    ...{ verbs: ["get"], resource: secrets, names: [SERVER_CERT] },
    purpose: "names in the server certificate (the Secret holds its private key)",
    needs: by(EXTRACTING, optional("the names of the chart are assumed")),
  },
  {
    ...{ verbs: ["get"], resource: secrets, names: [CA_CERT] },
    purpose: "CA of charts up to 1.14, if no other object has it",
    withheld: `the Secret holds the private key of the CA; grant it with --secret-name ${CA_CERT}`,
    needs: by(EXTRACTING, optional("the CA is read from the other objects only")),
  },
  {
    ...{ verbs: ["get"], resource: secrets, names: [WORKLOAD_CERT, OLD_WORKLOAD_CERT] },
    purpose: "client certificate and key of external workloads",
    features: ["externalWorkload"],
    needs: {
      ...by(["extract"], required()),
      ...by(["status"], optional("the expiry of this certificate is not checked")),
    },
  },
  {
    ...{ verbs: ["get"], resource: secrets, names: [AGENTS_SECRET, KVSTOREMESH_SECRET] },
    purpose: "configured peers",
    needs: by(["import", "connect", "status", "verify", "rotate", "disconnect", "render", "sync"], required()),
  },
  {
    ...{ verbs: ["get"], resource: configMaps, names: [USERS_CONFIG_MAP] },
    purpose: "etcd users granted to peers",
    needs: {
      ...by(STRICT, required("with managed etcd users")),
      ...by(LENIENT, optional("whether the first import is awaited is unknown")),
    },
  },
  {
    ...{ verbs: ["list"], resource: deployments, names: [APISERVER], isClusterWide: true },
    purpose: "namespace of Cilium",
    features: ["detection"],
    needs: by(CLUSTER_COMMANDS, optional("kube-system is assumed, unless --namespace is set")),
  },
  {
    ...{ verbs: ["list"], resource: pods, names: [], isClusterWide: true },
    purpose: "namespace of Cilium, if its Deployment has another name",
    withheld: "listing Deployments suffices",
    needs: by(CLUSTER_COMMANDS, optional("the namespace is detected by the Deployment only")),
  },
  {
    ...{ verbs: ["create"], resource: secrets, names: [] },
    purpose: `first import: secret/${AGENTS_SECRET} and secret/${KVSTOREMESH_SECRET}`,
    features: ["creation"],
    needs: by(ADDING, required("if a Secret does not exist")),
  },
  {
    ...{ verbs: ["patch"], resource: secrets, names: [AGENTS_SECRET, KVSTOREMESH_SECRET] },
    purpose: "add, change and remove peers",
    needs: by(WRITING, required()),
  },
  {
    ...{ verbs: ["create"], resource: configMaps, names: [] },
    purpose: `first import: configmap/${USERS_CONFIG_MAP}`,
    features: ["users", "creation"],
    needs: by(ADDING, required("with managed etcd users")),
  },
  {
    ...{ verbs: ["patch"], resource: configMaps, names: [USERS_CONFIG_MAP] },
    purpose: "grant and revoke etcd users",
    features: ["users"],
    needs: by(WRITING, required("with managed etcd users")),
  },
  {
    ...{ verbs: ["patch"], resource: deployments, names: [APISERVER, OPERATOR] },
    purpose: "add host aliases, which restarts the pods",
    features: ["restarts"],
    needs: by(ADDING, required("before Cilium 1.20")),
  },
  {
    ...{ verbs: ["patch"], resource: daemonSets, names: [AGENTS] },
    purpose: "add host aliases, which restarts all agents",
    features: ["agentRestarts"],
    needs: by(ADDING, required("before Cilium 1.20, without KVStoreMesh")),
  },
  {
    ...{ verbs: WATCHING, resource: configMaps, names: [CILIUM_CONFIG, USERS_CONFIG_MAP] },
    purpose: "changes of the cluster's name, id and networking, and of its etcd users",
    needs: by(["sync"], NOT_WATCHED),
  },
  {
    ...{ verbs: WATCHING, resource: services, names: [APISERVER] },
    purpose: "changes of the addresses of the clustermesh-apiserver",
    needs: by(["sync"], NOT_WATCHED),
  },
  {
    ...{ verbs: WATCHING, resource: deployments, names: [APISERVER, OPERATOR] },
    purpose: "changes of versions, mounted files and host aliases",
    needs: by(["sync"], NOT_WATCHED),
  },
  {
    ...{ verbs: WATCHING, resource: daemonSets, names: [AGENTS] },
    purpose: "changes of versions, mounted files and host aliases of the agents",
    needs: by(["sync"], NOT_WATCHED),
  },
  {
    ...{ verbs: WATCHING, resource: secrets, names: [REMOTE_CERT, OLD_REMOTE_CERT, SERVER_CERT] },
    purpose: "renewed certificates",
    features: ["keys"],
    needs: by(["sync"], NOT_WATCHED),
  },
  {
    ...{ verbs: WATCHING, resource: secrets, names: [AGENTS_SECRET, KVSTOREMESH_SECRET] },
    purpose: "peers that somebody else changes",
    needs: by(["sync"], NOT_WATCHED),
  },
  {
    ...{ verbs: ["watch"], resource: nodes, names: [], isClusterWide: true },
    purpose: "changes of node addresses, with a Service of type NodePort",
    needs: by(["sync"], NOT_WATCHED),
  },
  {
    ...{ verbs: ["create", "patch"], resource: events, names: [] },
    purpose: "Events about the Secrets: what was written, and what is held back",
    needs: by(["sync"], optional("no Events are created")),
  },
];
