/** Permissions as RBAC manifests: a ServiceAccount, its roles and bindings. Pure. */
import type {
  V1ClusterRole,
  V1ClusterRoleBinding,
  V1PolicyRule,
  V1Role,
  V1RoleBinding,
  V1ServiceAccount,
} from "@kubernetes/client-node";
import { isMap, type YAMLMap, type YAMLSeq } from "yaml";
import type { Need } from "../cilium/permission.ts";
import type { SelectedPermission } from "../cilium/select-permissions.ts";
import { formatYamlDocument, toYamlDocument } from "../util/yaml.ts";

export interface RbacOptions {
  /** Name of the ServiceAccount, and of its roles and bindings. */
  name: string;
  /** Namespace of the ServiceAccount. */
  accountNamespace: string;
  /** Namespace of Cilium. */
  namespace: string;
  /** Namespaces of the Secrets that describe the clusters, and of the state of `sync`. */
  places: Readonly<Partial<Record<NonNullable<SelectedPermission["place"]>, string>>>;
}

type RbacObject = V1ServiceAccount | V1Role | V1ClusterRole | V1RoleBinding | V1ClusterRoleBinding;

const GROUP = "rbac.authorization.k8s.io";
const VERSION = `${GROUP}/v1`;

/** A role to build: one for each namespace, and one for the whole cluster. */
interface RoleScope {
  kind: "Role" | "ClusterRole";
  metadata: { name: string; namespace?: string };
  permissions: SelectedPermission[];
}

/** Groups permissions by their roles, in the order of the permissions; the ClusterRole is last. */
function groupByRole(permissions: readonly SelectedPermission[], options: RbacOptions): RoleScope[] {
  const scopes = new Map<string, RoleScope>();
  for (const one of permissions) {
    const scope = scopeOf(one, options);
    const { name, namespace = "" } = scope.metadata;
    const key = `${scope.kind} ${namespace} ${name}`;
    scopes.set(key, scopes.get(key) ?? scope);
    scopes.get(key)?.permissions.push(one);
  }
  const all = [...scopes.values()];
  return [...all.filter(({ kind }) => kind === "Role"), ...all.filter(({ kind }) => kind === "ClusterRole")];
}

function scopeOf({ isClusterWide, place }: SelectedPermission, options: RbacOptions): RoleScope {
  const { name } = options;
  const permissions: SelectedPermission[] = [];
  if (isClusterWide) return { kind: "ClusterRole", metadata: { name }, permissions };
  if (place === undefined) return { kind: "Role", metadata: { name, namespace: options.namespace }, permissions };
  // Another name, because the cluster and its namespace of Cilium may be the same.
  const { [place]: namespace = options.namespace } = options.places;
  return { kind: "Role", metadata: { name: `${name}-management`, namespace }, permissions };
}

/**
 * Builds the manifests that grant permissions: a ServiceAccount, and roles with their bindings. Each permission is one rule, in
 * the order of the permissions.
 */
function buildRbac(scopes: readonly RoleScope[], options: RbacOptions): RbacObject[] {
  const account = { name: options.name, namespace: options.accountNamespace };
  const subjects = [{ kind: "ServiceAccount", ...account }];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: account },
    ...scopes.flatMap(({ kind, metadata, permissions }): RbacObject[] => [
      { apiVersion: VERSION, kind, metadata, rules: permissions.map(toRule) },
      {
        ...{ apiVersion: VERSION, kind: `${kind}Binding`, metadata },
        roleRef: { apiGroup: GROUP, kind, name: metadata.name },
        subjects,
      },
    ]),
  ];
}

/** Renders the manifests as a List. */
export function showRbacList(permissions: readonly SelectedPermission[], options: RbacOptions): string {
  const items = buildRbac(groupByRole(permissions, options), options);
  return `${JSON.stringify({ apiVersion: "v1", kind: "List", items }, null, 2)}\n`;
}

/** Renders the manifests as YAML documents, with a comment for each rule: why it is needed, and what happens without it. */
export function showRbacDocuments(permissions: readonly SelectedPermission[], options: RbacOptions): string {
  const scopes = groupByRole(permissions, options);
  const ordered = scopes.flatMap((scope) => scope.permissions);
  return buildRbac(scopes, options)
    .map((object) => {
      const document = toYamlDocument(object);
      const rules = document.get("rules") as YAMLSeq<YAMLMap> | undefined;
      for (const rule of rules?.items ?? []) {
        const permission = ordered.shift();
        if (isMap(rule) && permission) rule.commentBefore = toComment(describePermission(permission));
      }
      return formatYamlDocument(document);
    })
    .join("---\n");
}

function toComment(lines: readonly string[]): string {
  return lines.map((line) => ` ${line}`).join("\n");
}

function toRule({ verbs, resource, names }: SelectedPermission): V1PolicyRule {
  return {
    apiGroups: [resource.group],
    resources: [resource.plural],
    ...(names.length > 0 && { resourceNames: [...names] }),
    verbs: [...verbs],
  };
}

function describePermission({ verbs, purpose, need }: SelectedPermission): string[] {
  return [
    `${describeNeed(need)}: ${purpose}`,
    ...(need.level === "optional" ? [`without it, ${need.without}`] : []),
    ...(verbs.includes("create") ? ["create cannot be limited by resourceNames, so it has a separate rule"] : []),
  ];
}

function describeNeed(need: Need): string {
  return need.level === "required" && need.when !== undefined ? `required ${need.when}` : need.level;
}
