/** `import-secrets`: files -> clusters. */
import { readPeers } from "../lib/exchange/files.ts";
import { importPeers, type TargetReport } from "../lib/exchange/import.ts";
import type { Plan } from "../lib/exchange/plan.ts";
import type { TlsMode } from "../lib/exchange/tls.ts";
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { isClusterName } from "../lib/peer/peer.ts";
import { showFindings } from "../lib/show/findings.ts";
import { announceChange, announcePlan, showReports } from "../lib/show/import.ts";
import { styleFor } from "../lib/show/style.ts";
import { type Arguments, type Command, clusterOptions, main } from "./cli.ts";
import { addressesOf, targetsOf } from "./targets.ts";
import { agreed, interruptible, style, tell } from "./terminal.ts";

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
  endpoint: {
    type: "array",
    string: true,
    describe: "NAME=HOST:PORT: reach this peer there, from now on (repeatable); NAME= as its file says again",
  },
  prune: { type: "boolean", default: false, describe: "drop the peers that are not among the files" },
  migrate: {
    type: "boolean",
    default: false,
    describe: "lay out anew what stands in the targets, for the Cilium that runs now; needs no files",
  },
  "take-ownership": { type: "boolean", default: false, describe: "write Secrets that Helm, Argo CD and others own" },
  yes: { type: "boolean", alias: "y", default: false, describe: "drop peers without asking" },
  "dry-run": {
    type: "string",
    choices: ["none", "client", "server"],
    default: "none",
    describe: "write nothing: work it out here (client), or have the API server check it (server)",
  },
  diff: {
    type: "boolean",
    default: false,
    describe: "write nothing, and show what would change; exits as kubectl diff",
  },
  output: {
    type: "string",
    alias: "o",
    choices: ["json", "yaml"],
    describe: "print the objects as they are then stored; they hold private keys",
  },
  ...clusterOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 [--context CONTEXT]... FILE...",
  description:
    "Merges other clusters' secrets into the target clusters, so that these connect to them. All targets are checked " +
    "before anything is written; peers that are not among the files stay. FILE may be a folder, or - for standard input.\n" +
    "What --output prints holds private keys, as the Secrets do; --diff shows their fingerprints.",
  positionals: "FILE",
  examples: [
    ["$0 cluster2-secret.json cluster3-secret.json", "into the current context"],
    ["$0 --context c1 --context c2 *-secret.json", "into two; each passes over its own file"],
    ["$0 --diff *-secret.json", "what would change"],
    ["$0 --prune --yes *-secret.json", "the files are the whole truth"],
    ["$0 --migrate --context c1", "after an upgrade of Cilium"],
    ["kubectl get secret cilium-kvstoremesh -n kube-system -o yaml | $0 --context c4 -", "what stands in a cluster"],
  ],
  options,
  run: runImport,
};

/** Runs it as `program`, with these arguments. */
export const importMain = (program: string, argv: string[]): Promise<void> => main(program, command, argv);

async function runImport(args: Arguments<typeof options>): Promise<number> {
  try {
    return await importInto(args);
  } catch (error) {
    // As for kubectl diff, 1 stands for changes.
    if (args.diff && error instanceof UserError) throw new UserError(error.message, EXIT.refused, { cause: error });
    throw error;
  }
}

async function importInto(args: Arguments<typeof options>): Promise<number> {
  const paths = [...args.files, ...args.filename];
  const endpoints = endpointsOf(args.endpoint);
  check(args, paths, endpoints);
  const dryRun = args.diff && args["dry-run"] === "none" ? "client" : (args["dry-run"] as "none" | "client" | "server");
  const writing = dryRun === "none";
  const asks = writing && process.stdin.isTTY && process.stderr.isTTY && !paths.includes("-");
  const interruption = interruptible();
  const result = await importPeers(await targetsOf(args), readPeers(paths, new Date()), {
    plan: {
      tls: args.tls as TlsMode,
      users: args.users,
      restarts: args["restart-agents"] ? "all" : args.restarts ? "deployments" : "none",
      prune: args.prune,
      migrate: args.migrate,
      takeOwnership: args["take-ownership"],
      now: new Date(),
    },
    endpoints,
    resolve: addressesOf,
    dryRun,
    signal: interruption.signal,
    ...(asks && { mayRestartAgents }),
    ...(writing && !args.yes && { mayDrop: asks ? mayDrop : dropUnasked }),
    warn: (found) => showFindings(found, style).forEach(tell),
    ...(writing &&
      (args.migrate || args.prune) && { intend: (source, plan) => said(announcePlan(source, plan, style)) }),
    announce: (source, change) => {
      if (!writing) return;
      interruption.begun();
      said(announceChange(source, change, style));
    },
  });
  if ("refused" in result) {
    showFindings(result.refused, style).forEach(tell);
    if (!args.diff) tell("nothing was written");
    return EXIT.refused;
  }
  const { reports } = result;
  const shown = args.diff ? reports.filter(({ state }) => state === "failed") : reports;
  showReports(shown, !writing, style).forEach(tell);
  if (args.diff || args.output !== undefined) await print(reports, args);
  return args.diff ? exitCodeOfDiff(reports) : exitCode(reports);
}

function check(
  args: Arguments<typeof options>,
  paths: readonly string[],
  endpoints: ReadonlyMap<string, unknown>,
): void {
  if (paths.length === 0 && !args.migrate && endpoints.size === 0) {
    throw new UserError("no file was named; see --help", EXIT.refused);
  }
  const exclusive = [
    [!args.restarts, args["restart-agents"], "--restart-agents and --no-restarts"],
    [args.prune, args.migrate, "--prune and --migrate"],
    [args.diff, args.output !== undefined, "--diff and --output"],
  ] as const;
  for (const [one, other, names] of exclusive) {
    if (one && other) throw new UserError(`${names} exclude each other`, EXIT.refused);
  }
}

/** What `--endpoint` says, by peer; none for one whose endpoint is taken back. */
function endpointsOf(values: readonly string[]): Map<string, string[]> {
  const endpoints = new Map<string, string[]>();
  for (const value of values) {
    const [, name, endpoint] = /^([^=]+)=(.*)$/.exec(value) ?? [];
    if (name === undefined || endpoint === undefined || !isClusterName(name)) {
      throw new UserError(`--endpoint ${JSON.stringify(value)} is not of the form NAME=HOST:PORT`, EXIT.refused);
    }
    const before = endpoints.get(name);
    if (before && (endpoint === "" || before.length === 0)) {
      throw new UserError(`--endpoint ${name}= is given together with another of ${name}`, EXIT.refused);
    }
    endpoints.set(name, [...(before ?? []), ...(endpoint === "" ? [] : [endpoint])]);
  }
  return endpoints;
}

function said(line: string | undefined): void {
  if (line !== undefined) tell(line);
}

/** The objects or what differs, on stdout. Loaded only here. */
async function print(reports: readonly TargetReport[], { diff, output }: Arguments<typeof options>): Promise<void> {
  const { showDiff, showDocuments } = await import("../lib/show/preview.ts");
  const onStdout = styleFor(process.stdout, process.env);
  for (const report of reports) {
    if (report.state === "failed") continue;
    const text = diff
      ? showDiff(report.previews, report.source, onStdout).map((line) => `${line}\n`)
      : [showDocuments(report.previews, report.source, output as "json" | "yaml")];
    process.stdout.write(text.join(""));
  }
}

function mayRestartAgents(sources: string[]): Promise<boolean> {
  return agreed(
    `${sources.join(", ")}: the agents need host aliases, which restarts all Cilium agents there. Do it now?`,
  );
}

function mayDrop(): Promise<boolean> {
  return agreed("What was known of the peers that are dropped is forgotten at once. Do it?");
}

async function dropUnasked(): Promise<boolean> {
  tell(`${style.red("error")}: dropping peers wants --yes where nobody can be asked`);
  return false;
}

/** As kubectl diff: 0 where nothing differs, 1 where something does, 2 in any trouble. */
function exitCodeOfDiff(reports: readonly TargetReport[]): number {
  if (reports.some(({ state }) => state === "failed")) return EXIT.refused;
  return reports.some((report) => report.state === "done" && report.plan.changes.length > 0) ? 1 : 0;
}

function exitCode(reports: readonly TargetReport[]): number {
  const failed = reports.find((report) => report.state === "failed");
  if (reports.some((report) => report.state === "failed" && report.error.exitCode === EXIT.refused))
    return EXIT.refused;
  if (failed) return EXIT.failed;
  return reports.some((report) => report.state === "done" && !connects(report.plan)) ? EXIT.findings : EXIT.done;
}

/** Whether nothing that was looked at keeps a peer from connecting. */
function connects({ missing, findings }: Plan): boolean {
  return missing.length === 0 && !findings.some(({ code }) => code === "standing-unusable");
}
