/** The table of permissions in docs/least-privilege.md. */
import {
  CLUSTER_COMMANDS,
  type ClusterCommand,
  type Feature,
  type Need,
  PERMISSIONS,
  type Permission,
} from "../../lib/cilium/permissions-table.ts";

/** What a command does without a permission; undefined if it does not need it. */
export type LevelOf = (permission: Permission, command: ClusterCommand) => Need["level"] | undefined;

/** The levels that the table of permissions declares. Permissions that are not printed have none. */
export const declaredLevel: LevelOf = ({ needs, withheld }, command) => {
  const level = needs[command]?.level;
  return withheld === undefined && level !== "unused" ? level : undefined;
};

/** Describes a permission: `get secrets/a, b`. */
export function describePermission({ verb, resource, names, isClusterWide }: Permission): string {
  const type = `${resource.plural}${resource.group && `.${resource.group}`}`;
  const scope = isClusterWide && resource.clusterScoped !== true ? ", in all namespaces" : "";
  return `${verb} ${type}${names.length > 0 ? `: ${names.map((name) => `\`${name}\``).join(", ")}` : ""}${scope}`;
}

/** Renders a row for each printed permission and a column for each command, and below it the conditions and effects. */
export function renderPermissionTable(levelOf: LevelOf): string {
  const printed = PERMISSIONS.filter(({ withheld }) => withheld === undefined);
  const mark = (level: Need["level"] | undefined) => ({ required: "●", optional: "○", unused: "" })[level ?? "unused"];
  const rows = printed.map((one, i) => [
    `${i + 1}`,
    describePermission(one),
    ...CLUSTER_COMMANDS.map((command) => mark(levelOf(one, command))),
  ]);
  const heading = ["", "permission", ...CLUSTER_COMMANDS.map((command) => `\`${command}\``)];
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

const [BEGIN, END] = ["<!-- permissions: begin -->", "<!-- permissions: end -->"];

/**
 * Replaces the table in a page.
 *
 * @throws Error if the page has no place for it.
 */
export function replacePermissionTable(page: string, table: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`no ${BEGIN} … ${END}`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${table}\n\n${page.slice(end)}`;
}
