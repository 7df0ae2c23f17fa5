/** All commands, each loaded when it is needed. */
import type { Program } from "./cli/run.ts";

export interface CommandEntry {
  /** One line for the list of commands, and the first line of the help text. */
  summary: string;
  /** Name of the program that is this command alone. */
  standalone?: string;
  load(): Promise<Program>;
}

export const commands: Readonly<Record<string, CommandEntry>> = {
  extract: {
    summary: "Extract a cluster's secret for its peers",
    standalone: "extract-secret",
    load: async () => (await import("./extract.ts")).extractCommand,
  },
  import: {
    summary: "Import the secrets of other clusters",
    standalone: "import-secrets",
    load: async () => (await import("./import.ts")).importCommand,
  },
  inspect: {
    summary: "Check secret files offline",
    load: async () => (await import("./inspect.ts")).inspectCommand,
  },
  verify: {
    summary: "Test connections to peers",
    load: async () => (await import("./verify.ts")).verifyCommand,
  },
  status: {
    summary: "Show the state of a mesh",
    load: async () => (await import("./status.ts")).statusCommand,
  },
  connect: {
    summary: "Connect clusters with each other",
    load: async () => (await import("./connect.ts")).connectCommand,
  },
  disconnect: {
    summary: "Remove clusters from the configuration of others",
    load: async () => (await import("./disconnect.ts")).disconnectCommand,
  },
  rotate: {
    summary: "Distribute the renewed certificates of a cluster",
    load: async () => (await import("./rotate.ts")).rotateCommand,
  },
  demo: {
    summary: "Demonstrate the exchange with three embedded clusters",
    load: async () => (await import("./demo.ts")).demoCommand,
  },
  sandbox: {
    summary: "Run embedded clusters to experiment with",
    load: async () => (await import("./sandbox.ts")).sandboxCommand,
  },
  completion: {
    summary: "Generate a completion script for bash, zsh or fish",
    load: async () => (await import("./completion.ts")).completionCommand,
  },
};

/** The programs that have all commands: by itself, and as a kubectl plugin. */
export const PROGRAM = "clustermesh-secrets";
export const PLUGIN = "kubectl clustermesh-secrets";

/** The names of a command, one for each program that has it. */
export function programNames(command: string): string[] {
  const { standalone } = commands[command] ?? {};
  return [`${PROGRAM} ${command}`, `${PLUGIN} ${command}`, ...(standalone === undefined ? [] : [standalone])];
}
