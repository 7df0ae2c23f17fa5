/** Adds the connection flags of the running command to the commands that it prints, so that they can be pasted. */
import { shellQuote } from "../../lib/util/shell.ts";

/** Flags that select a kubeconfig, a namespace and a user, or the Secrets that describe the clusters. */
export interface ConnectionFlags {
  kubeconfig?: string | undefined;
  namespace?: string | undefined;
  as?: string | undefined;
  "as-group"?: readonly string[] | undefined;
  "as-uid"?: string | undefined;
  "clusters-from"?: string | undefined;
  "clusters-context"?: string | undefined;
  "clusters-namespace"?: string | undefined;
  selector?: string | undefined;
  "allow-exec"?: readonly string[] | undefined;
  "allow-insecure-members"?: boolean | undefined;
}

const CONNECTION = ["kubeconfig", "namespace", "as", "as-group", "as-uid"] as const;
const CLUSTERS = [
  "clusters-from",
  "clusters-context",
  "clusters-namespace",
  "selector",
  "allow-exec",
  "allow-insecure-members",
] as const;
const NAMES = [...CLUSTERS, ...CONNECTION];

/** The commands whose clusters are all from Secrets with these flags. */
const MESH_COMMAND = /clustermesh-secrets (?:connect|disconnect|rotate|status|sync|verify)$/;

/** The commands for one cluster, which in remedies can also be one of the kubeconfig. */
const CLUSTER_COMMAND = /^(?:extract-secret|import-secrets)$|clustermesh-secrets (?:extract|import)$/;

/** The connection flags that other programs in printed commands support. */
const SUPPORTED: Readonly<Record<string, readonly string[]>> = {
  kubectl: ["kubeconfig", "as", "as-group", "as-uid"],
  helm: ["kubeconfig"],
  cmctl: ["kubeconfig", "as", "as-group", "as-uid"],
};

/** A command at the start of a line or after a separator, up to the next separator. */
const COMMAND =
  /(?<=^ *|: |\| |&& |; |while )((?:kubectl )?clustermesh-secrets (?:extract|import|connect|disconnect|rotate|status|sync|verify|render)|extract-secret|import-secrets|kubectl|helm|cmctl)( (?:(?! \||&&|; | > ).)*)/g;

/** The words for clusters of the mesh in remedies of several findings. */
const PLACEHOLDERS = ["IMPORTER", "PEER"];

/** A flag that selects a context, with its value, which may be quoted for a shell. */
const CONTEXT = / --(?:kube-)?context[ =]((?:\$?'(?:\\.|[^'])*'|\\.|[^\s'\\])+)/g;

/**
 * Adds to each command in a line of a remedy the flags that it supports and lacks.
 *
 * No context leads to a cluster that a Secret describes. Commands of ours find such a cluster by the flags of the Secrets;
 * other programs get a placeholder for a kubeconfig of the reader, which the line explains: a kubeconfig from a Secret is not
 * trusted, so no command passes it on.
 *
 * @param members - the names of clusters from Secrets, quoted for a shell.
 */
export function addGivenFlags(line: string, flags: ConnectionFlags, members: ReadonlySet<string> = new Set()): string {
  const isFromSecrets = flags["clusters-from"] !== undefined;
  const unreachable = new Set<string>();
  const completed = line.replace(COMMAND, (command: string, program: string, args: string) => {
    if (/ --help\b/.test(args)) return command;
    const isMember = (name: string) => members.has(name) || (isFromSecrets && PLACEHOLDERS.includes(name));
    const named = [...args.matchAll(CONTEXT)].flatMap(([, name = ""]) => (isMember(name) ? [name] : []));
    if (named.length > 0 && Object.hasOwn(SUPPORTED, program)) {
      for (const name of named) unreachable.add(name);
      return `${program}${args.replace(CONTEXT, " --kubeconfig FILE")}`;
    }
    if (hasFlag(args, "kubeconfig FILE")) return command;
    return `${program}${missingFlags(program, args, flags, named.length > 0)}`;
  });
  return unreachable.size === 0 ? completed : explainFile(completed, [...unreachable]);
}

/** Returns the arguments of a command after the flags that it lacks. */
function missingFlags(program: string, args: string, flags: ConnectionFlags, isMember: boolean): string {
  const isFromSecrets = MESH_COMMAND.test(program) || (isMember && CLUSTER_COMMAND.test(program));
  const supported: readonly string[] = SUPPORTED[program] ?? (isFromSecrets ? NAMES : CONNECTION);
  const added = NAMES.filter((name) => supported.includes(name) && !hasFlag(args, name)).flatMap((name) =>
    [flags[name] || []].flat().map((value) => ` --${name}${value === true ? "" : `=${shellQuote(value)}`}`),
  );
  // Without names, all clusters of the Secrets are used.
  const isAll = isFromSecrets && flags["clusters-from"] !== undefined;
  return `${added.join("")}${isAll ? args.replace(/ --all-contexts(?= |$)/, "") : args}`;
}

/** Inserts before the first command of a line whose kubeconfig its placeholder stands for. */
function explainFile(line: string, names: readonly string[]): string {
  const start = line.search(COMMAND);
  const before = line.slice(0, start);
  const note = `with a kubeconfig of ${names.join(" and ")} as FILE: `;
  const joined = before.endsWith(": ") ? `${before.slice(0, -2)}, ` : before;
  return `${joined}${note}${line.slice(start)}`;
}

/**
 * Splits a line of a remedy into prose and commands, in turns: `to connect them: `, then a command. Prose may be empty.
 * A command ends at `; then `, with which remedies continue.
 */
export function splitCommands(line: string): string[] {
  const start = line.search(COMMAND);
  if (start === -1) return [line];
  const end = line.indexOf("; then ", start);
  if (end === -1) return [line.slice(0, start), line.slice(start)];
  return [line.slice(0, start), line.slice(start, end), ...splitCommands(line.slice(end))];
}

function hasFlag(args: string, name: string): boolean {
  return new RegExp(` --${name}[ =]`).test(`${args} `) || (name === "namespace" && / -n(?:[ =]|[a-z0-9])/.test(args));
}
