/** What the commands that write have in common: their flags, how a plan is shown and confirmed, and how it is applied. */
import { applyImport, Interrupted, type TargetReport } from "../../lib/import/apply.ts";
import type { Plan } from "../../lib/import/plan/plan.ts";
import type { TlsMode } from "../../lib/import/plan/tls.ts";
import { hasChanges, type ImportOptions, type PreparedImport, removesPeers } from "../../lib/import/prepare.ts";
import { hasTrait } from "../../lib/peer/finding-codes.ts";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { showFindings, showRefusal } from "../../lib/render/findings.ts";
import { showDisruptions, showPlan } from "../../lib/render/plan.ts";
import { showReports } from "../../lib/render/reports.ts";
import { styleFor } from "../../lib/render/style.ts";
import { EXIT } from "../../lib/util/errors.ts";
import { addressesOf } from "./clusters.ts";
import type { Arguments } from "./option.ts";
import { booleanFlag, detailsOption, inGroup, stringFlag } from "./options.ts";
import { toStdout } from "./streams.ts";
import { choose, confirm, interruptible, log, style, warnOfKey } from "./terminal.ts";

export const writingOptions = {
  ...inGroup("Target", {
    tls: stringFlag("client certificate: the file's (peer), the target's own (common), or its own if it works (auto)", {
      choices: ["auto", "peer", "common"],
      default: "auto",
    }),
    users: {
      type: "boolean",
      default: true,
      describe: "grant the etcd users of the peers if the target manages users; disable with --no-users",
    },
  }),
  ...inGroup("Safety", {
    restarts: {
      type: "boolean",
      default: true,
      describe: "patch Deployments that lack host aliases, which restarts their pods; disable with --no-restarts",
    },
    "restart-agents": booleanFlag(
      "also patch daemonset/cilium if it lacks host aliases, which restarts all agents (before Cilium 1.20)",
    ),
    "take-ownership": booleanFlag("overwrite Secrets that Helm, Argo CD or another tool owns"),
    "dry-run": stringFlag(
      "write nothing: compute the changes locally (client) or validate them in the API server (server)",
      {
        choices: ["none", "client", "server"],
        default: "none",
      },
    ),
    diff: booleanFlag("write nothing, print a diff; exit code 0 without changes, 1 with changes, 2 on errors"),
  }),
  ...inGroup("Output", { details: detailsOption }),
} as const;

type WritingArguments = Omit<Arguments<typeof writingOptions>, "files"> & {
  output?: string | undefined;
  parallel?: number;
  yes: boolean;
};

/** How a command has its plan confirmed. */
export interface Conversation {
  /** What is asked, without the question mark, if no peers are removed. */
  question: string;
  /** Whether to ask before anything is written; else only before peers are removed or agents restarted. */
  always: boolean;
  /** Whether somebody can be asked. */
  asks: boolean;
  /** Show the whole plan if nothing is asked, too; else then only what restarts pods or removes peers. */
  showsPlan?: boolean;
}

/** One run of a command that writes: what was prepared is reviewed, applied, and reported. */
export class ImportRun {
  /** What the flags say, for {@link prepareImport}. */
  readonly options: ImportOptions;
  /** Whether anything is written; else it is a preview. */
  readonly writes: boolean;
  readonly #args: WritingArguments;
  readonly #conversation: Conversation;
  readonly #dryRun: "none" | "client" | "server";
  readonly #interruption = interruptible();

  /** From here on, signals end the work. */
  constructor(args: WritingArguments, conversation: Conversation) {
    this.#args = args;
    this.#conversation = conversation;
    const dryRun = args["dry-run"] as "none" | "client" | "server";
    this.#dryRun = args.diff && dryRun === "none" ? "client" : dryRun;
    this.writes = this.#dryRun === "none";
    this.options = {
      plan: {
        tls: args.tls as TlsMode,
        users: args.users,
        restarts: args["restart-agents"] ? "all" : args.restarts ? "deployments" : "none",
        takeOwnership: args["take-ownership"],
        previewOnly: !this.writes,
        now: new Date(),
      },
      resolve: addressesOf,
      proposeAgents: this.writes && conversation.asks && !args.yes,
    };
  }

  /**
   * Shows what was found and what is about to be written, and has it confirmed.
   *
   * @returns what is to be applied; undefined if it is refused or declined, which is said.
   */
  async review(prepared: PreparedImport): Promise<PreparedImport | undefined> {
    this.#log(showFindings(prepared.findings, style, this.#args.details));
    if (hasErrors(prepared.findings)) return this.#refuse(prepared.findings);
    const besides = prepared.withAgents?.findings.filter(({ severity }) => severity !== "error") ?? [];
    this.#log(showFindings(besides, style, this.#args.details));
    const chosen = this.writes && hasChanges(prepared) ? await this.#confirm(prepared) : prepared;
    if (chosen === undefined) return this.#refuse([]);
    const errors = chosen === prepared ? [] : chosen.findings.filter(({ severity }) => severity === "error");
    this.#log(showFindings(errors, style, this.#args.details));
    return errors.length > 0 ? this.#refuse(errors) : chosen;
  }

  /**
   * Writes. What it does was said with the plan, and it does no more.
   *
   * @param finished told of each target when it is done.
   */
  async apply(prepared: PreparedImport, finished: () => void = () => {}): Promise<TargetReport[]> {
    const reports = new Map<string, TargetReport>();
    const events = applyImport(prepared, {
      dryRun: this.#dryRun,
      previews: this.#args.diff || this.#args.output !== undefined,
      signal: this.#interruption.signal,
      ...(this.#args.parallel !== undefined && { parallel: this.#args.parallel }),
    });
    for await (const event of events) {
      if (event.kind === "report") {
        reports.set(event.report.source, event.report);
        finished();
      } else if (this.writes) this.#interruption.startWriting();
    }
    this.#interruption.finishWriting();
    return prepared.targets.flatMap(({ source }) => reports.get(source) ?? []);
  }

  /** Shows what became of each target, and gives the exit code, which stands for a signal if one ended the work. */
  async finish(reports: readonly TargetReport[]): Promise<number> {
    const { diff, details } = this.#args;
    // What differs is told by the diff itself.
    const shown = diff ? reports.filter((report) => report.state === "failed" || isHeldBack(report.plan)) : reports;
    this.#log(showReports(shown, style, { dryRun: !this.writes, details }));
    if (diff || this.#args.output !== undefined) await print(reports, this.#args);
    const interrupted = reports.some((report) => report.state === "failed" && report.error instanceof Interrupted);
    const ended = this.endedBySignal();
    if (interrupted && ended !== undefined) return ended;
    return diff ? exitCodeOfDiff(reports) : exitCode(reports);
  }

  /** The exit code of work that a signal ended; undefined while none came. */
  endedBySignal(): number | undefined {
    return this.#interruption.exitCode();
  }

  async #confirm(prepared: PreparedImport): Promise<PreparedImport | undefined> {
    const { details, yes } = this.#args;
    const { question, always, asks, showsPlan = false } = this.#conversation;
    const removes = removesPeers(prepared);
    const offered = yes || !asks ? undefined : prepared.withAgents;
    if (!offered && (yes || !(always || removes))) {
      this.#log((showsPlan ? showPlan : showDisruptions)(prepared.targets, style, { details }));
      return prepared;
    }
    const { targets } = offered ?? prepared;
    this.#log(showPlan(targets, style, { details, asked: offered !== undefined }));
    if (!asks) {
      const what = removes && !always ? "refusing to remove peers without confirmation" : "confirmation required";
      log(`${style.red("error")}: ${what}: stdin is not a terminal; pass --yes`);
      return undefined;
    }
    const removing = "Remove these peers and revoke their access? Agents drop their state immediately";
    if (!offered) return (await confirm(removes ? removing : `${question}?`)) ? prepared : undefined;
    if (removes) log("agents drop the state of removed peers immediately");
    log("yes: write, and restart the agents");
    log("no: write without restarting the agents; they connect after a later run with --restart-agents");
    log("abort: write nothing");
    const answer = await choose(`${question}, and restart the agents?`);
    return { yes: offered, no: prepared, abort: undefined }[answer];
  }

  #refuse(findings: readonly Finding[]): undefined {
    const { diff, details } = this.#args;
    if (!diff) log(showRefusal(findings, style, details));
  }

  #log(lines: readonly string[]): void {
    lines.forEach(log);
  }
}

/** The objects or what differs, on stdout. Loaded only here. */
async function print(
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
  return missing.length === 0 && !findings.some((one) => hasTrait(one, "unconnected"));
}
