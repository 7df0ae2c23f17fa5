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

/** The commands that accept clusters from Secrets. */
const MESH_COMMAND = /clustermesh-secrets (?:connect|disconnect|rotate|status|verify)$/;

/** The connection flags that other programs in printed commands support. */
const SUPPORTED: Readonly<Record<string, readonly string[]>> = {
  kubectl: ["kubeconfig", "as", "as-group", "as-uid"],
  helm: ["kubeconfig"],
  cmctl: ["kubeconfig", "as", "as-group", "as-uid"],
};

/** A command at the start of a line or after a separator, up to the next separator. */
const COMMAND =
  /(?<=^ *|: |\| |&& |; |while )((?:kubectl )?clustermesh-secrets (?:extract|import|connect|disconnect|rotate|status|verify|render)|extract-secret|import-secrets|kubectl|helm|cmctl)( (?:(?! \||&&|; | > ).)*)/g;

/** Adds to each command in a line of a remedy the flags that it supports and lacks. */
export function addGivenFlags(line: string, flags: ConnectionFlags): string {
  return line.replace(COMMAND, (command: string, program: string, args: string) => {
    if (/ --help\b/.test(args)) return command;
    const supported: readonly string[] = SUPPORTED[program] ?? (MESH_COMMAND.test(program) ? NAMES : CONNECTION);
    const added = NAMES.filter((name) => supported.includes(name) && !hasFlag(args, name)).flatMap((name) =>
      [flags[name] || []].flat().map((value) => ` --${name}${value === true ? "" : `=${shellQuote(value)}`}`),
    );
    return `${program}${added.join("")}${args}`;
  });
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
