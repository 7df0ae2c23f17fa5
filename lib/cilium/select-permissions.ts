/** Selects permissions for requests, and for what `rbac` prints. Pure. */
import { configMaps, type Subject, secrets, services } from "../kube/api.ts";
import { MANAGEMENT_PERMISSIONS } from "./management-permissions.ts";
import {
  by,
  type ClusterCommand,
  EXTRACTING,
  type Feature,
  type Need,
  NOT_WATCHED,
  optional,
  type Permission,
  required,
  UNUSED,
} from "./permission.ts";
import { PERMISSIONS } from "./permissions-table.ts";

/** Returns the permission of the table for a request; undefined if no command sends it. */
export function findPermission({ verb, resource, namespace, name }: Subject): Permission | undefined {
  return PERMISSIONS.find(
    (one) =>
      one.verbs.includes(verb) &&
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

/** Selects the permissions of commands in a cluster of the mesh, in the order of the table. */
export function selectPermissions(selection: PermissionSelection): SelectedPermission[] {
  const table = PERMISSIONS.map((one) => renameService(one, selection.service));
  return [...table, ...furtherPermissions(selection)].flatMap((one) => select(one, selection));
}

/**
 * Selects the permissions of commands in the cluster that clusters are managed from.
 *
 * @param places - the namespaces to select permissions in.
 */
export function selectManagementPermissions(
  selection: Pick<PermissionSelection, "commands" | "features" | "includesOptional">,
  places: readonly Permission["place"][],
): SelectedPermission[] {
  return MANAGEMENT_PERMISSIONS.filter(({ place }) => places.includes(place)).flatMap((one) => select(one, selection));
}

function select(
  permission: Permission,
  { commands, features, includesOptional }: Pick<PermissionSelection, "commands" | "features" | "includesOptional">,
): SelectedPermission[] {
  const needs = commands.flatMap((command) => permission.needs[command] ?? []);
  const isSelected =
    permission.withheld === undefined && (permission.features ?? []).every((feature) => features.has(feature));
  const need = mergeNeeds(needs);
  if (!isSelected || need.level === "unused" || (need.level === "optional" && !includesOptional)) return [];
  return [{ ...permission, need }];
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
  return [...permissionsFor(secrets, others), ...permissionsFor(configMaps, maps)];
}

/** Returns the permissions for further objects that certificates are mounted from. */
function permissionsFor(resource: Subject["resource"], names: readonly string[]): Permission[] {
  if (names.length === 0) return [];
  const purpose = "certificates that the workloads mount from other objects";
  const objects = { resource, names: [...new Set(names)].sort() };
  return [
    {
      ...{ verbs: ["get"], ...objects, purpose },
      needs: {
        ...by(EXTRACTING, required("if the objects provide them")),
        ...by(["import", "verify", "render"], optional("these certificates are unknown")),
        ...by(["disconnect"], UNUSED),
      },
    },
    { ...{ verbs: ["list", "watch"], ...objects, purpose }, needs: by(["sync"], NOT_WATCHED) },
  ];
}
