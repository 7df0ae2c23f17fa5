/** The tables of permissions in docs/least-privilege.md. */
import { MANAGEMENT_PERMISSIONS, MEMBER_COMMANDS } from "../../lib/cilium/management-permissions.ts";
import {
  CLUSTER_COMMANDS,
  type ClusterCommand,
  type Feature,
  type Need,
  type Permission,
} from "../../lib/cilium/permission.ts";
import { PERMISSIONS } from "../../lib/cilium/permissions-table.ts";

/** What a command does without a permission; undefined if it does not need it. */
export type LevelOf = (permission: Permission, command: ClusterCommand) => Need["level"] | undefined;

/** The levels that the table of permissions declares. Permissions that are not printed have none. */
export const declaredLevel: LevelOf = ({ needs, withheld }, command) => {
  const level = needs[command]?.level;
  return withheld === undefined && level !== "unused" ? level : undefined;
};

/** Describes a permission: `get secrets/a, b`. */
export function describePermission({ verbs, resource, names, isClusterWide }: Permission): string {
  const type = `${resource.plural}${resource.group && `.${resource.group}`}`;
  const scope = isClusterWide && resource.clusterScoped !== true ? ", in all namespaces" : "";
  return `${verbs.join(", ")} ${type}${names.length > 0 ? `: ${names.map((name) => `\`${name}\``).join(", ")}` : ""}${scope}`;
}

/** Renders the permissions in a cluster of the mesh. */
export function renderPermissionTable(levelOf: LevelOf): string {
  return renderTable(PERMISSIONS, CLUSTER_COMMANDS, levelOf);
}

/** Renders the permissions in the cluster that clusters are managed from. */
export function renderManagementTable(levelOf: LevelOf): string {
  return renderTable(MANAGEMENT_PERMISSIONS, MEMBER_COMMANDS, levelOf);
}

/** Renders a row for each printed permission and a column for each command, and below it the conditions and effects. */
function renderTable(
  permissions: readonly Permission[],
  commands: readonly ClusterCommand[],
  levelOf: LevelOf,
): string {
  const printed = permissions.filter(({ withheld }) => withheld === undefined);
  const mark = (level: Need["level"] | undefined) => ({ required: "●", optional: "○", unused: "" })[level ?? "unused"];
  const rows = printed.map((one, i) => [
    `${i + 1}`,
    describePermission(one),
    ...commands.map((command) => mark(levelOf(one, command))),
  ]);
  const heading = ["", "permission", ...commands.map((command) => `\`${command}\``)];
  const details = printed.map((one, i) => [
    `${i + 1}`,
    one.purpose,
    conditionsOf(one).join("; "),
    effectsOf(one).join("; "),
  ]);
  return [
    ...markdownTable(heading, rows),
    "",
    ...markdownTable(["", "purpose", "condition", "without it, if optional"], details),
  ].join("\n");
}

/** When a permission is needed: the flags that select it, and the clusters in which commands require it. */
function conditionsOf({ needs, features = [] }: Permission): string[] {
  const flags = features.map((feature) => FLAGS[feature]);
  return [...flags, ...byText(needs, (need) => (need.level === "required" ? need.when : undefined))];
}

/** The flags of `rbac` by which features are selected. */
const FLAGS: Readonly<Record<Feature, string>> = {
  keys: "not with `--keyless`",
  externalWorkload: "with `--external-workload`",
  creation: "not with `--no-create`",
  users: "not with `--no-users`",
  restarts: "not with `--no-restarts`",
  agentRestarts: "with `--restart-agents`",
  detection: "not with `--namespace`",
};

function effectsOf({ needs }: Permission): string[] {
  return byText(needs, (need) => (need.level === "optional" ? need.without : undefined));
}

/** Returns texts about the needs of commands, each with its commands unless it is about all that need the permission. */
function byText(needs: Permission["needs"], textOf: (need: Need) => string | undefined): string[] {
  const concerned = CLUSTER_COMMANDS.filter(
    (command) => needs[command] !== undefined && needs[command].level !== "unused",
  );
  const texts = new Map<string, string[]>();
  for (const command of concerned) {
    const text = textOf(needs[command] as Need);
    if (text !== undefined) texts.set(text, [...(texts.get(text) ?? []), `\`${command}\``]);
  }
  return [...texts].map(([text, commands]) =>
    commands.length === concerned.length ? text : `${commands.join(", ")}: ${text}`,
  );
}

function markdownTable(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(heading), line(heading.map(() => "---")), ...rows.map(line)];
}

/**
 * Replaces the tables in a page.
 *
 * @param tables - each by its name in the comments around it.
 * @throws Error if the page has no place for a table.
 */
export function replacePermissionTables(page: string, tables: Readonly<Record<string, string>>): string {
  return Object.entries(tables).reduce((text, [name, table]) => {
    const [first, last] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
    const [begin, end] = [text.indexOf(first), text.indexOf(last)];
    if (begin < 0 || end < begin) throw new Error(`no ${first} … ${last}`);
    return `${text.slice(0, begin + first.length)}\n\n${table}\n\n${text.slice(end)}`;
  }, page);
}
