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
import type { Need, SelectedPermission } from "../cilium/permissions-table.ts";
import { toYamlDocument } from "../util/yaml.ts";

export interface RbacOptions {
  /** Name of the ServiceAccount, and of its roles and bindings. */
  name: string;
  /** Namespace of the ServiceAccount. */
  accountNamespace: string;
  /** Namespace of Cilium. */
  namespace: string;
}

type RbacObject = V1ServiceAccount | V1Role | V1ClusterRole | V1RoleBinding | V1ClusterRoleBinding;

const GROUP = "rbac.authorization.k8s.io";
const VERSION = `${GROUP}/v1`;

/**
 * Builds the manifests that grant permissions: ServiceAccount, Role and RoleBinding, ClusterRole and ClusterRoleBinding. A
 * role without rules is left out with its binding. Each permission is one rule, in the order of the permissions.
 */
function buildRbac(permissions: readonly SelectedPermission[], options: RbacOptions): RbacObject[] {
  const { name, accountNamespace, namespace } = options;
  const account = { name, namespace: accountNamespace };
  const subjects = [{ kind: "ServiceAccount", ...account }];
  const objects: RbacObject[] = [{ apiVersion: "v1", kind: "ServiceAccount", metadata: account }];
  for (const scope of ["", "Cluster"]) {
    const metadata = scope === "" ? { name, namespace } : { name };
    const rules = permissions.filter((one) => isInScope(one, scope)).map(toRule);
    if (rules.length === 0) continue;
    const kind = `${scope}Role`;
    const roleRef = { apiGroup: GROUP, kind, name };
    objects.push({ apiVersion: VERSION, kind, metadata, rules });
    objects.push({ apiVersion: VERSION, kind: `${kind}Binding`, metadata, roleRef, subjects });
  }
  return objects;
}

/** Renders the manifests as a List. */
export function showRbacList(permissions: readonly SelectedPermission[], options: RbacOptions): string {
  const list = { apiVersion: "v1", kind: "List", items: buildRbac(permissions, options) };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** Renders the manifests as YAML documents, with a comment for each rule: why it is needed, and what happens without it. */
export function showRbacDocuments(permissions: readonly SelectedPermission[], options: RbacOptions): string {
  return buildRbac(permissions, options)
    .map((object) => {
      const document = toYamlDocument(object);
      const rules = document.get("rules") as YAMLSeq<YAMLMap> | undefined;
      const scope = object.kind === "ClusterRole" ? "Cluster" : "";
      for (const [i, one] of permissions.filter((permission) => isInScope(permission, scope)).entries()) {
        const rule = rules?.items[i];
        if (isMap(rule))
          rule.commentBefore = describePermission(one)
            .map((line) => ` ${line}`)
            .join("\n");
      }
      return document.toString({ lineWidth: 0 });
    })
    .join("---\n");
}

function isInScope({ isClusterWide = false }: SelectedPermission, scope: string): boolean {
  return isClusterWide === (scope === "Cluster");
}

function toRule({ verb, resource, names }: SelectedPermission): V1PolicyRule {
  return {
    apiGroups: [resource.group],
    resources: [resource.plural],
    ...(names.length > 0 && { resourceNames: [...names] }),
    verbs: [verb],
  };
}

function describePermission({ verb, purpose, need }: SelectedPermission): string[] {
  return [
    `${describeNeed(need)}: ${purpose}`,
    ...(need.level === "optional" ? [`without it, ${need.without}`] : []),
    ...(verb === "create" ? ["create cannot be limited by resourceNames, so it has a separate rule"] : []),
  ];
}

function describeNeed(need: Need): string {
  return need.level === "required" && need.when !== undefined ? `required ${need.when}` : need.level;
}
