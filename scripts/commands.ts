/** All commands, each loaded on use. */
import type { Program } from "./cli/run.ts";

export interface CommandEntry {
  /** One line for the list of commands, and the first line of the help text. */
  summary: string;
  /** Name of the program with only this command. */
  standalone?: string;
  /** Imports the module of the command. */
  load(): Promise<Program>;
}

export const commands: Readonly<Record<string, CommandEntry>> = {
  extract: {
    ...entry("Extract a cluster's secret for its peers", async () => (await import("./extract.ts")).extractCommand),
    standalone: "extract-secret",
  },
  import: {
    ...entry("Import the secrets of other clusters", async () => (await import("./import.ts")).importCommand),
    standalone: "import-secrets",
  },
  inspect: entry("Check secret files offline", async () => (await import("./inspect.ts")).inspectCommand),
  verify: entry("Test connections to peers", async () => (await import("./verify.ts")).verifyCommand),
  status: entry("Show the state of a mesh", async () => (await import("./status.ts")).statusCommand),
  connect: entry("Connect clusters with each other", async () => (await import("./connect.ts")).connectCommand),
  disconnect: entry(
    "Remove clusters from the configuration of others",
    async () => (await import("./disconnect.ts")).disconnectCommand,
  ),
  rotate: entry(
    "Distribute the renewed certificates of a cluster",
    async () => (await import("./rotate.ts")).rotateCommand,
  ),
  sync: entry("Keep clusters connected", async () => (await import("./sync.ts")).syncCommand),
  rbac: entry("Print the permissions that commands need", async () => (await import("./rbac.ts")).rbacCommand),
  render: entry("Render manifests or Helm values for Git", async () => (await import("./render.ts")).renderCommand),
  demo: entry("Run a demo on three embedded clusters", async () => (await import("./demo.ts")).demoCommand),
  sandbox: entry("Run embedded clusters to experiment with", async () => (await import("./sandbox.ts")).sandboxCommand),
  completion: entry(
    "Generate a shell completion script",
    async () => (await import("./completion.ts")).completionCommand,
  ),
};

function entry(summary: string, load: () => Promise<Program>): CommandEntry {
  return { summary, load };
}

/** The program with all commands: standalone, and as a kubectl plugin. */
export const PROGRAM = "clustermesh-secrets";
export const PLUGIN = "kubectl clustermesh-secrets";

/** Returns the names of a command, one for each program with it. */
export function programNames(command: string): string[] {
  const { standalone } = commands[command] ?? {};
  return [`${PROGRAM} ${command}`, `${PLUGIN} ${command}`, ...(standalone === undefined ? [] : [standalone])];
}
