/** Adds the connection flags of the running command to the commands that it prints, so that they can be pasted. */
import { shellQuote } from "../../lib/util/shell.ts";
import {
  contextsIn,
  type FoundCommand,
  findCommands,
  maskQuoted,
  removeFlag,
  replaceContexts,
} from "./find-commands.ts";

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

/** The words for clusters of the mesh in remedies of several findings. */
const PLACEHOLDERS = ["IMPORTER", "PEER"];

/**
 * Adds to each command in a line of a remedy the flags that it supports and lacks.
 *
 * No context leads to a cluster that a Secret describes. Commands of ours find such a cluster by the flags of the Secrets;
 * other programs get a placeholder for a kubeconfig of the reader, which the line explains: a kubeconfig from a Secret is not
 * trusted, so no command passes it on.
 *
 * @param members - the names of clusters from Secrets, quoted for a shell.
 * @param from - the position in the line before which commands stay as they are.
 */
export function addGivenFlags(
  line: string,
  flags: ConnectionFlags,
  members: ReadonlySet<string> = new Set(),
  from = 0,
): string {
  const isFromSecrets = flags["clusters-from"] !== undefined;
  const isMember = (name: string) => members.has(name) || (isFromSecrets && PLACEHOLDERS.includes(name));
  const unreachable = new Set<string>();
  const complete = ({ program, args }: FoundCommand): string => {
    if (/ --help\b/.test(maskQuoted(args))) return `${program}${args}`;
    const named = contextsIn(args).filter(isMember);
    if (named.length > 0 && Object.hasOwn(SUPPORTED, program)) {
      for (const name of named) unreachable.add(name);
      return `${program}${replaceContexts(args, "--kubeconfig FILE")}`;
    }
    if (hasFlag(args, "kubeconfig FILE")) return `${program}${args}`;
    return `${program}${missingFlags(program, args, flags, named.length > 0)}`;
  };
  const commands = findCommands(line).filter(({ start }) => start >= from);
  const [first] = commands;
  if (!first) return line;
  let [completed, end] = ["", first.start];
  for (const command of commands) {
    completed += `${line.slice(end, command.start)}${complete(command)}`;
    end = command.end;
  }
  return `${explainFile(line.slice(0, first.start), [...unreachable])}${completed}${line.slice(end)}`;
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
  return `${added.join("")}${isAll ? removeFlag(args, "all-contexts") : args}`;
}

/** Adds to the text before a command whose kubeconfig its placeholder stands for. */
function explainFile(before: string, names: readonly string[]): string {
  if (names.length === 0) return before;
  const joined = before.endsWith(": ") ? `${before.slice(0, -2)}, ` : before;
  return `${joined}with a kubeconfig of ${names.join(" and ")} as FILE: `;
}

function hasFlag(args: string, name: string): boolean {
  const bare = `${maskQuoted(args)} `;
  return new RegExp(` --${name}[ =]`).test(bare) || (name === "namespace" && / -n(?:[ =]|\w)/.test(bare));
}
