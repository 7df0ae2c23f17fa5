/** What a command may do in a cluster, and what it does without it. Pure. */
import type { Subject } from "../kube/api.ts";

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
  "sync",
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

/** A permission: verbs for some objects of one resource, which are granted together. */
export interface Permission {
  verbs: readonly Subject["verb"][];
  resource: Subject["resource"];
  /** Empty for all objects of the resource. */
  names: readonly string[];
  /** Whether it is required in all namespaces, or for a resource without one. */
  isClusterWide?: boolean;
  /**
   * The namespace that it is required in, unless it is cluster-wide: of the Secrets that describe the clusters, or of the
   * state of `sync`. Default: of Cilium.
   */
  place?: "clusters" | "state";
  /** What the objects are used for. */
  purpose: string;
  /** By command; a command that is absent does not send the request. */
  needs: Partial<Record<ClusterCommand, Need>>;
  /** Set if the permission is only needed with all of these features. */
  features?: readonly Feature[];
  /** Why `rbac` does not print it, although the commands send the request. */
  withheld?: string;
}

/** Returns what several commands need alike. */
export function by(commands: readonly ClusterCommand[], need: Need): Permission["needs"] {
  return Object.fromEntries(commands.map((command) => [command, need]));
}

/** @param when - the clusters in which it is required; by default, in all. */
export function required(when?: string): Need {
  return { level: "required", ...(when !== undefined && { when }) };
}

/** @param without - what the command does without it. */
export function optional(without: string): Need {
  return { level: "optional", without };
}

export const UNUSED: Need = { level: "unused" };

/** What `sync` does if it may not watch an object. */
export const NOT_WATCHED = optional("changes are noticed after --interval");

/** The commands that read a cluster as a peer of others. */
export const EXTRACTING: readonly ClusterCommand[] = ["extract", "connect", "status", "rotate", "sync"];
