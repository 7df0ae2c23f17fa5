/**
 * The requests to the cluster from which the clusters of a mesh are managed, which need not be one of them: it has the Secrets
 * that describe them, and the state of `sync`. The table behind `rbac` with the flags for these. Pure.
 */
import { configMaps, leases, secrets } from "../kube/api.ts";
import { SYNC_OBJECT_NAME } from "../peer/annotations.ts";
import { by, CLUSTER_COMMANDS, type ClusterCommand, optional, type Permission, required } from "./permission.ts";

/** The commands that read their clusters from Secrets. */
export const MEMBER_COMMANDS: readonly ClusterCommand[] = CLUSTER_COMMANDS.filter((command) => command !== "render");
/** The commands that use the state of `sync`. */
export const STATE_COMMANDS: readonly ClusterCommand[] = ["status", "sync"];

const NOT_SAVED = optional("the state is lost with the process");

export const MANAGEMENT_PERMISSIONS: readonly Permission[] = [
  {
    ...{ verbs: ["list"], resource: secrets, names: [], place: "clusters" },
    purpose: "Secrets that describe the clusters; list cannot be limited to names or labels",
    needs: by(MEMBER_COMMANDS, required()),
  },
  {
    ...{ verbs: ["watch"], resource: secrets, names: [], place: "clusters" },
    purpose: "added, changed and removed Secrets of clusters",
    needs: by(["sync"], optional("they are noticed after --interval")),
  },
  {
    ...{ verbs: ["get"], resource: configMaps, names: [SYNC_OBJECT_NAME], place: "state" },
    purpose: "members, absences and what is held back, from one process to the next",
    needs: {
      ...by(["sync"], optional("nothing is removed from other clusters, and each process starts without them")),
      ...by(["status"], required("with --sync")),
    },
  },
  {
    ...{ verbs: ["create"], resource: configMaps, names: [], place: "state" },
    purpose: `first run: configmap/${SYNC_OBJECT_NAME}`,
    features: ["creation"],
    needs: by(["sync"], NOT_SAVED),
  },
  {
    ...{ verbs: ["patch"], resource: configMaps, names: [SYNC_OBJECT_NAME], place: "state" },
    purpose: "save the state",
    needs: by(["sync"], NOT_SAVED),
  },
  {
    ...{ verbs: ["create"], resource: leases, names: [], place: "state" },
    purpose: `first run: lease/${SYNC_OBJECT_NAME}`,
    features: ["creation"],
    needs: by(["sync"], required()),
  },
  {
    ...{ verbs: ["get", "patch"], resource: leases, names: [SYNC_OBJECT_NAME], place: "state" },
    purpose: "one of several replicas works",
    needs: by(["sync"], required()),
  },
];
