/** All commands, each loaded only where it is needed. */
import type { Program } from "./cli/run.ts";

/** A command, as the list of commands shows it. */
export interface Listed {
  description: string;
  /** The program that is this command alone. */
  alone?: string;
  load(): Promise<Program>;
}

export const commands: Readonly<Record<string, Listed>> = {
  extract: {
    description: "a cluster's secret for its peers, as a file (extract-secret)",
    alone: "extract-secret",
    load: async () => (await import("./extract.ts")).extractCommand,
  },
  import: {
    description: "other clusters' files into clusters (import-secrets)",
    alone: "import-secrets",
    load: async () => (await import("./import.ts")).importCommand,
  },
  inspect: {
    description: "offline: would these files connect, where to, and until when?",
    load: async () => (await import("./inspect.ts")).inspectCommand,
  },
  verify: {
    description: "live: does a peer's etcd take these certificates, and is it alive?",
    load: async () => (await import("./verify.ts")).verifyCommand,
  },
  status: {
    description: "the state of a mesh: every pair of clusters, from their API servers",
    load: async () => (await import("./status.ts")).statusCommand,
  },
  connect: {
    description: "clusters with each other, straight from their contexts",
    load: async () => (await import("./connect.ts")).connectCommand,
  },
  disconnect: {
    description: "clusters out of others",
    load: async () => (await import("./disconnect.ts")).disconnectCommand,
  },
  rotate: {
    description: "a cluster's new certificates to those that are connected with it",
    load: async () => (await import("./rotate.ts")).rotateCommand,
  },
  demo: {
    description: "three embedded clusters, connected end to end",
    load: async () => (await import("./demo.ts")).demoCommand,
  },
  sandbox: {
    description: "keeps three embedded clusters up, to try things on",
    load: async () => (await import("./sandbox.ts")).sandboxCommand,
  },
  completion: {
    description: "what makes bash, zsh or fish complete all this",
    load: async () => (await import("./completion.ts")).completionCommand,
  },
};

/** The programs that have all commands: by itself, and as kubectl's plugin. */
export const PROGRAM = "clustermesh-secrets";
export const PLUGIN = "kubectl clustermesh-secrets";

/** What a command is called by people, in each program that has it. */
export function programNames(command: string): string[] {
  const { alone } = commands[command] ?? {};
  return [`${PROGRAM} ${command}`, `${PLUGIN} ${command}`, ...(alone === undefined ? [] : [alone])];
}
