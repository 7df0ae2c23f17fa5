/**
 * The requests that each command sends to a cluster, and the permissions that it needs for them: the single table behind
 * `rbac`, the access reviews of an import, and the page on least privilege. Pure.
 */
import {
  configMaps,
  daemonSets,
  deployments,
  nodes,
  pods,
  type Resource,
  type Subject,
  secrets,
  services,
} from "../kube/api.ts";
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

/** The commands that contact a cluster. */
export const CLUSTER_COMMANDS = [
  "extract",
  "import",
  "connect",
  "status",
  "verify",
  "rotate",
  "disconnect",
  "render",
] as const;

export type ClusterCommand = (typeof CLUSTER_COMMANDS)[number];

/** What happens to a command without a permission. */
export type Need =
  /** It fails with a message that names the permission; with `when`, only in clusters of that kind. */
  | { level: "required"; when?: string }
  /** It continues; `without` describes what it then does. */
  | { level: "optional"; without: string }
  /** It works the same: it sends the request, but does not use the result. */
  | { level: "unused" };

/** The features of the commands that need additional permissions; each is a flag of `rbac`. */
export type Feature = "detection" | "keys" | "externalWorkload" | "users" | "creation" | "restarts" | "agentRestarts";

/** A permission: a verb for some objects of one resource. */
export interface Permission {
  verb: Subject["verb"];
  resource: Subject["resource"];
  /** Empty for all objects of the resource. */
  names: readonly string[];
  /** Whether it is required in all namespaces, or for a resource without one; else in that of Cilium. */
  isClusterWide?: boolean;
  /** What the objects are used for. */
  purpose: string;
  /** By command; a command that is absent does not send the request. */
  needs: Partial<Record<ClusterCommand, Need>>;
  /** Set if the permission is only needed with all of these features. */
  features?: readonly Feature[];
  /** Why `rbac` does not print it, although the commands send the request. */
  withheld?: string;
}

/** The permission by which each of these commands works. */
function by(commands: readonly ClusterCommand[], need: Need): Permission["needs"] {
  return Object.fromEntries(commands.map((command) => [command, need]));
}

const required = (when?: string): Need => ({ level: "required", ...(when !== undefined && { when }) });
const optional = (without: string): Need => ({ level: "optional", without });
const UNUSED: Need = { level: "unused" };

const WRITING: readonly ClusterCommand[] = ["import", "connect", "rotate", "disconnect"];
const ADDING: readonly ClusterCommand[] = ["import", "connect", "rotate"];
/** The commands that read a cluster as a peer of others. */
const EXTRACTING: readonly ClusterCommand[] = ["extract", "connect", "status", "rotate"];
/** The commands that read the peers of a cluster and treat a forbidden workload as an error. */
const STRICT: readonly ClusterCommand[] = ["import", "connect", "verify", "rotate", "disconnect", "render"];
const LENIENT: readonly ClusterCommand[] = ["extract", "status"];

/** All permissions, in the order in which they are printed. */
export const PERMISSIONS: readonly Permission[] = [
  {
    ...{ verb: "get", resource: configMaps, names: [CILIUM_CONFIG] },
    purpose: "name, id and networking of the cluster",
    needs: by(CLUSTER_COMMANDS, required()),
  },
  {
    ...{ verb: "get", resource: deployments, names: [APISERVER] },
    purpose: "version, KVStoreMesh and mounted files of the clustermesh-apiserver",
    needs: by(CLUSTER_COMMANDS, required()),
  },
  {
    ...{ verb: "get", resource: daemonSets, names: [AGENTS] },
    purpose: "mounted files and host aliases of the agents",
    needs: {
      ...by(STRICT, required()),
      ...by(LENIENT, optional("files that only the agents mount are unknown")),
    },
  },
  {
    ...{ verb: "get", resource: deployments, names: [OPERATOR] },
    purpose: "mounted files and host aliases of the operator",
    needs: {
      ...by(STRICT, required("without KVStoreMesh")),
      ...by(LENIENT, optional("files that only the operator mounts are unknown")),
    },
  },
  {
    ...{ verb: "get", resource: services, names: [APISERVER] },
    purpose: "type, port and addresses of the clustermesh-apiserver",
    needs: {
      ...by(EXTRACTING, required()),
      ...by(["import", "render"], optional("its node port is not compared with those of the peers")),
      ...by(["verify", "disconnect"], UNUSED),
    },
  },
  {
    ...{ verb: "list", resource: nodes, names: [], isClusterWide: true },
    purpose: "node addresses and pod CIDRs",
    needs: {
      ...by(EXTRACTING, required("with a Service of type NodePort")),
      ...by(["import", "render"], optional("pod CIDRs that are assigned to nodes are not compared")),
      ...by(["verify", "disconnect"], UNUSED),
    },
  },
  {
    ...{ verb: "list", resource: pods, names: [] },
    purpose: "pods of the clustermesh-apiserver: why it is not running, and their nodes",
    needs: {
      ...by(["status"], required()),
      ...by(["extract", "connect", "rotate"], required("with externalTrafficPolicy Local")),
    },
  },
  {
    ...{ verb: "get", resource: secrets, names: [REMOTE_CERT, OLD_REMOTE_CERT] },
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
    ...{ verb: "get", resource: secrets, names: [SERVER_CERT] },
    purpose: "names in the server certificate (the Secret holds its private key)",
    needs: by(EXTRACTING, optional("the names of the chart are assumed")),
  },
  {
    ...{ verb: "get", resource: secrets, names: [CA_CERT] },
    purpose: "CA of charts up to 1.14, if no other object has it",
    withheld: `the Secret holds the private key of the CA; grant it with --secret-name ${CA_CERT}`,
    needs: by(EXTRACTING, optional("the CA is read from the other objects only")),
  },
  {
    ...{ verb: "get", resource: secrets, names: [WORKLOAD_CERT, OLD_WORKLOAD_CERT] },
    purpose: "client certificate and key of external workloads",
    features: ["externalWorkload"],
    needs: {
      ...by(["extract"], required()),
      ...by(["status"], optional("the expiry of this certificate is not checked")),
    },
  },
  {
    ...{ verb: "get", resource: secrets, names: [AGENTS_SECRET, KVSTOREMESH_SECRET] },
    purpose: "configured peers",
    needs: by(["import", "connect", "status", "verify", "rotate", "disconnect", "render"], required()),
  },
  {
    ...{ verb: "get", resource: configMaps, names: [USERS_CONFIG_MAP] },
    purpose: "etcd users granted to peers",
    needs: {
      ...by(STRICT, required("with managed etcd users")),
      ...by(LENIENT, optional("whether the first import is awaited is unknown")),
    },
  },
  {
    ...{ verb: "list", resource: deployments, names: [APISERVER], isClusterWide: true },
    purpose: "namespace of Cilium",
    features: ["detection"],
    needs: by(CLUSTER_COMMANDS, optional("kube-system is assumed, unless --namespace is set")),
  },
  {
    ...{ verb: "list", resource: pods, names: [], isClusterWide: true },
    purpose: "namespace of Cilium, if its Deployment has another name",
    withheld: "listing Deployments suffices",
    needs: by(CLUSTER_COMMANDS, optional("the namespace is detected by the Deployment only")),
  },
  {
    ...{ verb: "create", resource: secrets, names: [] },
    purpose: `first import: secret/${AGENTS_SECRET} and secret/${KVSTOREMESH_SECRET}`,
    features: ["creation"],
    needs: by(ADDING, required("if a Secret does not exist")),
  },
  {
    ...{ verb: "patch", resource: secrets, names: [AGENTS_SECRET, KVSTOREMESH_SECRET] },
    purpose: "add, change and remove peers",
    needs: by(WRITING, required()),
  },
  {
    ...{ verb: "create", resource: configMaps, names: [] },
    purpose: `first import: configmap/${USERS_CONFIG_MAP}`,
    features: ["users", "creation"],
    needs: by(ADDING, required("with managed etcd users")),
  },
  {
    ...{ verb: "patch", resource: configMaps, names: [USERS_CONFIG_MAP] },
    purpose: "grant and revoke etcd users",
    features: ["users"],
    needs: by(WRITING, required("with managed etcd users")),
  },
  {
    ...{ verb: "patch", resource: deployments, names: [APISERVER, OPERATOR] },
    purpose: "add host aliases, which restarts the pods",
    features: ["restarts"],
    needs: by(ADDING, required("before Cilium 1.20")),
  },
  {
    ...{ verb: "patch", resource: daemonSets, names: [AGENTS] },
    purpose: "add host aliases, which restarts all agents",
    features: ["agentRestarts"],
    needs: by(ADDING, required("before Cilium 1.20, without KVStoreMesh")),
  },
];

/** Returns the permission of the table for a request; undefined if no command sends it. */
export function findPermission({ verb, resource, namespace, name }: Subject): Permission | undefined {
  return PERMISSIONS.find(
    (one) =>
      one.verb === verb &&
      one.resource.plural === resource.plural &&
      (one.isClusterWide ?? false) === (namespace === undefined) &&
      (one.names.length === 0 || (name !== undefined && one.names.includes(name))),
  );
}

/** What `rbac` prints permissions for. */
export interface PermissionSelection {
  commands: readonly ClusterCommand[];
  features: ReadonlySet<Feature>;
  /** Whether to include permissions that none of the commands requires. */
  includesOptional: boolean;
  /** The name of the Service, if it is externally created. */
  service?: string | undefined;
  /** Names of further Secrets and ConfigMaps that the workloads mount certificates from. */
  secrets: readonly string[];
  configMaps: readonly string[];
}

/** A permission to print, and why some of the commands need it. */
export interface SelectedPermission extends Permission {
  need: Need;
}

/** Selects the permissions for some commands, in the order of the table. */
export function selectPermissions(selection: PermissionSelection): SelectedPermission[] {
  const { commands, features, includesOptional } = selection;
  return [...PERMISSIONS.map((one) => renameService(one, selection.service)), ...furtherPermissions(selection)].flatMap(
    (one) => {
      const needs = commands.flatMap((command) => one.needs[command] ?? []);
      const isSelected = one.withheld === undefined && (one.features ?? []).every((feature) => features.has(feature));
      const need = mergeNeeds(needs);
      if (!isSelected || need.level === "unused" || (need.level === "optional" && !includesOptional)) return [];
      return [{ ...one, need }];
    },
  );
}

/** Combines what several commands need: an unconditional requirement precedes conditions, and these precede options. */
function mergeNeeds(needs: readonly Need[]): Need {
  const requirements = needs.flatMap((one) => (one.level === "required" ? [one] : []));
  if (requirements.length > 0) {
    const conditions = requirements.map(({ when }) => when);
    return conditions.includes(undefined) ? required() : required([...new Set(conditions)].join(", or "));
  }
  const effects = needs.flatMap((one) => (one.level === "optional" ? [one.without] : []));
  return effects.length > 0 ? optional([...new Set(effects)].join(", and ")) : UNUSED;
}

function renameService(permission: Permission, service: string | undefined): Permission {
  const isService = permission.resource.plural === services.plural;
  return isService && service !== undefined ? { ...permission, names: [service] } : permission;
}

function furtherPermissions({ secrets: others, configMaps: maps }: PermissionSelection): Permission[] {
  const further = (resource: Resource<never>, names: readonly string[]): Permission[] =>
    names.length === 0
      ? []
      : [
          {
            ...{ verb: "get", resource, names: [...new Set(names)].sort() },
            purpose: "certificates that the workloads mount from other objects",
            needs: {
              ...by(EXTRACTING, required("if the objects provide them")),
              ...by(["import", "verify", "render"], optional("these certificates are unknown")),
              ...by(["disconnect"], UNUSED),
            },
          },
        ];
  return [...further(secrets as Resource<never>, others), ...further(configMaps as Resource<never>, maps)];
}
