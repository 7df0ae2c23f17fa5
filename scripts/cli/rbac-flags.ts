/** The flags of `rbac`. */
import { DEFAULT_NAMESPACE, LABEL } from "../../lib/cilium/locate.ts";
import { MEMBER_COMMANDS, STATE_COMMANDS } from "../../lib/cilium/management-permissions.ts";
import { CLUSTER_COMMANDS, type ClusterCommand, type Feature } from "../../lib/cilium/permission.ts";
import {
  type PermissionSelection,
  type SelectedPermission,
  selectManagementPermissions,
  selectPermissions,
} from "../../lib/cilium/select-permissions.ts";
import { SECRET_FORMATS } from "../../lib/members/format-names.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import type { RbacOptions } from "../../lib/render/rbac.ts";
import { EXIT, UsageError, UserError } from "../../lib/util/errors.ts";
import type { Arguments } from "./option.ts";
import { flag, inGroup } from "./options.ts";

export const rbacOptions = {
  ...inGroup("Input", {
    for: flag.list("command to grant permissions for (repeatable)", { choices: CLUSTER_COMMANDS }),
    namespace: flag.string("namespace of Cilium; default: kube-system, with a rule to detect another one", {
      alias: "n",
    }),
    service: flag.string("name of a custom Service for the clustermesh-apiserver (Cilium 1.19+)"),
    "secret-name": flag.list("name of a further Secret that the workloads mount certificates from (repeatable)"),
    "configmap-name": flag.list("name of a ConfigMap that the workloads mount a CA from (repeatable)"),
  }),
  ...inGroup("Permissions", {
    optional: flag.enabled("grant permissions that the commands can do without; disable with --no-optional"),
    keyless: flag.boolean("do not grant the Secret with the client certificate and key, for extract --keyless"),
    "external-workload": flag.boolean("grant the Secret of external workloads, for extract --external-workload"),
    users: flag.enabled("grant writing the etcd users of peers; disable with --no-users, as in import"),
    create: flag.enabled("grant creating the Secrets and the ConfigMap; disable with --no-create if they exist"),
    restarts: {
      type: "boolean",
      describe: "grant patching Deployments; default: yes, but not for sync alone",
    } as const,
    "restart-agents": flag.boolean("grant patching daemonset/cilium, for import --restart-agents"),
  }),
  ...inGroup("Management", {
    "clusters-from": flag.string(
      "grant listing the Secrets of clusters, in the cluster that has them, instead of what the others have to permit",
      { choices: SECRET_FORMATS },
    ),
    "clusters-namespace": flag.string("namespace of the Secrets; default: --state-namespace"),
    "state-namespace": flag.string(
      "namespace of the Lease and the state of sync: grant these, instead of what the clusters have to permit",
    ),
  }),
  ...inGroup("Output", {
    "service-account": flag.string("name of the ServiceAccount, its roles and bindings", { default: FIELD_MANAGER }),
    "service-account-namespace": flag.string(
      "namespace of the ServiceAccount; default: --state-namespace, --clusters-namespace or that of Cilium",
    ),
    output: flag.string("format: documents with comments (yaml), or a List (json)", {
      alias: "o",
      choices: ["json", "yaml"],
      default: "yaml",
    }),
  }),
};

/** The commands that flags for additional or fewer permissions apply to. */
const FLAG_COMMANDS = {
  keyless: ["extract"],
  "external-workload": ["extract", "status"],
  "restart-agents": ["import", "connect", "rotate", "sync"],
  "clusters-from": MEMBER_COMMANDS,
  "state-namespace": STATE_COMMANDS,
} as const satisfies Partial<Record<keyof typeof rbacOptions, readonly ClusterCommand[]>>;

const isIn = (commands: readonly string[]) => (command: string) => commands.includes(command);

export type RbacArguments = Arguments<typeof rbacOptions>;

/**
 * Selects the permissions that the flags ask for: in a cluster of the mesh or, with the flags for it, in the cluster that
 * clusters are managed from.
 *
 * @throws UserError (exit code 2) if there is no command, or flags or names are invalid.
 */
export function readPermissions(args: RbacArguments): SelectedPermission[] {
  validateFlags(args);
  const { "clusters-from": from, "state-namespace": state } = args;
  const selection = readSelection(args);
  if (from === undefined && state === undefined) return selectPermissions(selection);
  return selectManagementPermissions(selection, [
    ...(from === undefined ? [] : (["clusters"] as const)),
    ...(state === undefined ? [] : (["state"] as const)),
  ]);
}

function validateFlags(args: RbacArguments): void {
  if (args.for.length === 0) throw new UsageError(`--for is required: ${CLUSTER_COMMANDS.join(", ")}`);
  for (const [name, commands] of Object.entries(FLAG_COMMANDS)) {
    const isApplicable = name === "keyless" ? args.for.every(isIn(commands)) : args.for.some(isIn(commands));
    if (args[name as keyof typeof FLAG_COMMANDS] && !isApplicable) {
      throw new UserError(`--${name} is only allowed with --for ${commands.join(" or ")}`, EXIT.refused);
    }
  }
  if (args["restart-agents"] && args.restarts === false) {
    throw new UserError("--restart-agents and --no-restarts are mutually exclusive", EXIT.refused);
  }
  const { "clusters-from": from, "clusters-namespace": clusters, "state-namespace": state } = args;
  if (clusters !== undefined && from === undefined) {
    throw new UserError("--clusters-namespace requires --clusters-from", EXIT.refused);
  }
  if (from !== undefined && clusters === undefined && state === undefined) {
    throw new UserError("--clusters-from requires --clusters-namespace", EXIT.refused);
  }
  for (const name of args["secret-name"]) checkName("secret-name", name);
  for (const name of args["configmap-name"]) checkName("configmap-name", name);
  if (args.service !== undefined) checkLabel("service", args.service);
}

function readSelection(args: RbacArguments): PermissionSelection {
  const restartsByDefault = args["restart-agents"] || args.for.some((command) => command !== "sync");
  const features: Readonly<Record<Feature, boolean>> = {
    detection: args.namespace === undefined,
    keys: !args.keyless,
    externalWorkload: args["external-workload"],
    users: args.users,
    creation: args.create,
    restarts: args.restarts ?? restartsByDefault,
    agentRestarts: args["restart-agents"],
  };
  const names = Object.keys(features) as Feature[];
  return {
    commands: args.for as ClusterCommand[],
    features: new Set(names.filter((name) => features[name])),
    includesOptional: args.optional,
    service: args.service,
    secrets: args["secret-name"],
    configMaps: args["configmap-name"],
  };
}

/**
 * Reads where the manifests are applied.
 *
 * @throws UserError (exit code 2) if a name is invalid.
 */
export function readRbacOptions(args: RbacArguments): RbacOptions {
  const { namespace = DEFAULT_NAMESPACE, "service-account": name, "state-namespace": state } = args;
  const clusters = args["clusters-from"] === undefined ? undefined : (args["clusters-namespace"] ?? state);
  const accountNamespace = args["service-account-namespace"] ?? state ?? clusters ?? namespace;
  checkLabel("namespace", namespace);
  checkName("service-account", name);
  if (state !== undefined) checkLabel("state-namespace", state);
  if (clusters !== undefined) checkLabel("clusters-namespace", clusters);
  checkLabel("service-account-namespace", accountNamespace);
  return {
    ...{ name, accountNamespace, namespace },
    places: { ...(clusters !== undefined && { clusters }), ...(state !== undefined && { state }) },
  };
}

/** Requires the name of a namespace or a Service, as the API server does. */
function checkLabel(option: string, name: string): void {
  if (!LABEL.test(name)) throw invalidName(option, name, "at most 63 of a-z, 0-9 and -");
}

/** Requires the name of another object: a subdomain of RFC 1123. */
function checkName(option: string, name: string): void {
  if (name.length > 253 || !name.split(".").every((part) => /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(part)))
    throw invalidName(option, name, "at most 253 of a-z, 0-9, - and .");
}

function invalidName(option: string, name: string, allowed: string): UserError {
  return new UserError(`invalid value ${JSON.stringify(name)} for --${option}: must be ${allowed}`, EXIT.refused);
}
