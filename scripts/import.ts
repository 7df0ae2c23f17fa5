/** `import-secrets`: files -> clusters. */
import { readPeers } from "../lib/exchange/files.ts";
import { importPeers, type TargetReport } from "../lib/exchange/import.ts";
import type { TlsMode } from "../lib/exchange/tls.ts";
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { showFindings } from "../lib/show/findings.ts";
import { announceChange, showReports } from "../lib/show/import.ts";
import { type Arguments, type Command, clusterOptions, main } from "./cli.ts";
import { targetsOf } from "./targets.ts";
import { style, tell } from "./terminal.ts";

const options = {
  context: { type: "array", string: true, describe: "context of a target (repeatable); else the current one" },
  filename: { type: "array", string: true, alias: "f", describe: "file, folder or - (repeatable), besides arguments" },
  tls: {
    type: "string",
    choices: ["auto", "peer", "common"],
    default: "auto",
    describe: "certificate to come with: the file's (peer), the target's own (common), or its own where it will do",
  },
  users: { type: "boolean", default: true, describe: "let the peers' users in where users are managed; --no-users" },
  "restart-agents": {
    type: "boolean",
    default: false,
    describe: "before Cilium 1.20: patch DaemonSet cilium too where it lacks host aliases",
  },
  restarts: { type: "boolean", default: true, describe: "patch Deployments that lack host aliases; --no-restarts" },
  ...clusterOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 [--context CONTEXT]... FILE...",
  description:
    "Merges other clusters' secrets into the target clusters, so that these connect to them. All targets are checked " +
    "before anything is written; peers that are not among the files stay. FILE may be a folder, or - for standard input.",
  positionals: "FILE",
  examples: [
    ["$0 cluster2-secret.json cluster3-secret.json", "into the current context"],
    ["$0 --context c1 --context c2 *-secret.json", "into two; each passes over its own file"],
    ["kubectl get secret cilium-kvstoremesh -n kube-system -o yaml | $0 --context c4 -", "what stands in a cluster"],
  ],
  options,
  run: runImport,
};

/** Runs it as `program`, with these arguments. */
export const importMain = (program: string, argv: string[]): Promise<void> => main(program, command, argv);

async function runImport(args: Arguments<typeof options>): Promise<number> {
  const paths = [...args.files, ...args.filename];
  if (paths.length === 0) throw new UserError("no file was named; see --help", EXIT.refused);
  if (!args.restarts && args["restart-agents"]) {
    throw new UserError("--restart-agents and --no-restarts exclude each other", EXIT.refused);
  }
  const targets = await targetsOf(args);
  const result = await importPeers(targets, readPeers(paths, new Date()), {
    plan: {
      tls: args.tls as TlsMode,
      users: args.users,
      restarts: args["restart-agents"] ? "all" : args.restarts ? "deployments" : "none",
    },
    ...(process.stdin.isTTY && process.stderr.isTTY && !paths.includes("-") && { mayRestartAgents }),
    warn: (found) => showFindings(found, style).forEach(tell),
    announce: (source, change) => {
      const line = announceChange(source, change, style);
      if (line !== undefined) tell(line);
    },
  });
  if ("refused" in result) {
    showFindings(result.refused, style).forEach(tell);
    tell("nothing was written");
    return EXIT.refused;
  }
  showReports(result.reports, style).forEach(tell);
  return exitCode(result.reports);
}

async function mayRestartAgents(sources: string[]): Promise<boolean> {
  const { createInterface } = await import("node:readline/promises");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(
      `${sources.join(", ")}: the agents need host aliases, which restarts all Cilium agents there. Do it now? [y/N] `,
    );
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}

function exitCode(reports: readonly TargetReport[]): number {
  const failed = reports.find((report) => report.state === "failed");
  if (reports.some((report) => report.state === "failed" && report.error.exitCode === EXIT.refused))
    return EXIT.refused;
  if (failed) return EXIT.failed;
  return reports.some((report) => report.state === "done" && report.plan.missing.length > 0)
    ? EXIT.findings
    : EXIT.done;
}
