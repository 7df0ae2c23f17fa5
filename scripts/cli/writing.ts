/** What the commands that write have in common: their options, what they tell meanwhile, and how they end. */
import { Interrupted } from "../../lib/import/apply.ts";
import type { Answer, ImportOptions, Proposal, TargetReport } from "../../lib/import/import.ts";
import type { Change } from "../../lib/import/plan/change.ts";
import type { Plan } from "../../lib/import/plan/plan.ts";
import type { TlsMode } from "../../lib/import/plan/tls.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { showFindings, showRefusal } from "../../lib/render/findings.ts";
import { announceChange, showDisruptions, showPlan, showReports } from "../../lib/render/import.ts";
import { styleFor } from "../../lib/render/style.ts";
import { EXIT } from "../../lib/util/errors.ts";
import { detailsOption } from "./report.ts";
import type { Arguments } from "./run.ts";
import { toStdout } from "./streams.ts";
import { choose, confirm, interruptible, log, style, warnOfKey } from "./terminal.ts";

export const writingOptions = {
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
  "take-ownership": { type: "boolean", default: false, describe: "write Secrets that Helm, Argo CD and others own" },
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
  details: detailsOption,
} as const;

type WritingArguments = Omit<Arguments<typeof writingOptions>, "files"> & { output?: string | undefined };

export function dryRunOf(args: WritingArguments): "none" | "client" | "server" {
  return args.diff && args["dry-run"] === "none" ? "client" : (args["dry-run"] as "none" | "client" | "server");
}

/** How a command has its plan confirmed. */
export interface Confirming {
  /** What is asked, without the question mark, if no peers are removed. */
  question: string;
  /** Whether to ask before anything is written; else only before peers are removed or agents restarted. */
  always: boolean;
  /** Whether somebody can be asked. */
  asks: boolean;
  /** Whether it was confirmed by a flag. */
  yes: boolean;
  /** Show the whole plan if nothing is asked, too; else then only what restarts pods or removes peers. */
  showsPlan?: boolean;
}

/**
 * Shows what is about to be written and has it confirmed, in one conversation: whether to write, and whether to restart
 * agents too.
 *
 */
async function confirmed(
  { targets, withAgents, removes }: Proposal,
  { question, always, asks, yes, showsPlan = false }: Confirming,
  details: boolean,
): Promise<Answer> {
  const offered = yes || !asks ? undefined : withAgents;
  if (!offered && (yes || !(always || removes))) {
    (showsPlan ? showPlan : showDisruptions)(targets, style, { details }).forEach(log);
    return "write";
  }
  showPlan(offered ?? targets, style, { details, asked: offered !== undefined }).forEach(log);
  if (!asks) {
    const what = removes && !always ? "refusing to remove peers without confirmation" : "confirmation required";
    log(`${style.red("error")}: ${what}: stdin is not a terminal; pass --yes`);
    return "abort";
  }
  const removing = "Remove these peers and revoke their access? Agents drop their state immediately";
  if (!offered) return (await confirm(removes ? removing : `${question}?`)) ? "write" : "abort";
  if (removes) log("agents drop the state of removed peers immediately");
  log("yes: write, and restart the agents");
  log("no: write without restarting the agents; they connect after a later run with --restart-agents");
  log("abort: write nothing");
  const answer = await choose(`${question}, and restart the agents?`);
  return answer === "yes" ? "restart-agents" : answer === "no" ? "write" : "abort";
}

/**
 * What an import is given by these options, and what is told of it. `end` tells the result, and gives the exit code, which
 * stands for a signal if one ended the work.
 */
export function importHooks(args: WritingArguments, dryRun: "none" | "client" | "server", confirming: Confirming) {
  const writing = dryRun === "none";
  const interruption = interruptible();
  const { details } = args;
  /** The restarts that were shown with the plan. */
  const known = new Set<string>();
  const keyOf = (source: string, { kind, name }: Change) => JSON.stringify([source, kind, name]);
  const hooks = {
    plan: {
      tls: args.tls as TlsMode,
      users: args.users,
      restarts: args["restart-agents"] ? "all" : args.restarts ? "deployments" : "none",
      takeOwnership: args["take-ownership"],
      previewOnly: !writing,
      now: new Date(),
    },
    dryRun,
    previews: args.diff || args.output !== undefined,
    signal: interruption.signal,
    warn: (found) => showFindings(found, style, details).forEach(log),
    ...(writing && {
      proposeAgents: confirming.asks && !confirming.yes,
      confirm: async (proposal: Proposal) => {
        const answer = await confirmed(proposal, confirming, details);
        const accepted = answer === "restart-agents" ? proposal.withAgents : proposal.targets;
        for (const { source, plan } of accepted ?? []) {
          for (const change of plan.changes) known.add(keyOf(source, change));
        }
        return answer;
      },
    }),
    announce: (source, change) => {
      if (!writing) return;
      interruption.startWriting();
      if (!known.has(keyOf(source, change))) logIfPresent(announceChange(source, change, style));
    },
  } satisfies Partial<ImportOptions>;
  const end = (result: { refused: Finding[] } | { reports: TargetReport[] }): number => {
    interruption.finishWriting();
    if ("refused" in result) {
      showFindings(result.refused, style, details).forEach(log);
      if (!args.diff) log(showRefusal(result.refused, style, details));
      return EXIT.refused;
    }
    const { reports } = result;
    // What differs is told by the diff itself.
    const shown = args.diff
      ? reports.filter((report) => report.state === "failed" || isHeldBack(report.plan))
      : reports;
    showReports(shown, style, { dryRun: !writing, details }).forEach(log);
    const interrupted = reports.some((report) => report.state === "failed" && report.error instanceof Interrupted);
    const ended = interruption.exitCode();
    if (interrupted && ended !== undefined) return ended;
    return args.diff ? exitCodeOfDiff(reports) : exitCode(reports);
  };
  return { hooks, end, interruption };
}

/** Tells a line, where there is one. */
export function logIfPresent(line: string | undefined): void {
  if (line !== undefined) log(line);
}

/** The objects or what differs, on stdout. Loaded only here. */
export async function print(
  reports: readonly TargetReport[],
  { diff, output }: { diff: boolean; output?: string | undefined },
): Promise<void> {
  const { holdsPrivateKey, showDiff, showDocuments } = await import("../../lib/render/preview.ts");
  const onStdout = styleFor(process.stdout, process.env);
  for (const report of reports) {
    if (report.state === "failed") continue;
    const text = diff
      ? showDiff(report.previews, report.source, onStdout).map((line) => `${line}\n`)
      : [showDocuments(report.previews, report.source, output as "json" | "yaml")];
    toStdout(text.join(""));
  }
  const printed = diff ? [] : reports.flatMap((report) => (report.state === "failed" ? [] : report.previews));
  if (printed.some(holdsPrivateKey)) warnOfKey("run umask 077 before, or encrypt what is printed in a pipe");
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

/** Whether something that was asked for waits for another flag, or gives way to what was said before. */
function isHeldBack({ missing, outcomes, remembered, keptEndpoints, kept }: Plan): boolean {
  return (
    missing.length + remembered.size + keptEndpoints.size + kept.length > 0 || [...outcomes.values()].includes("held")
  );
}

/** Whether nothing that was looked at keeps a peer from connecting. */
function connects({ missing, findings }: Plan): boolean {
  return missing.length === 0 && !findings.some(({ code }) => code === "standing-unusable");
}
