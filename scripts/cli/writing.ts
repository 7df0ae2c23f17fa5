/** Flags of the commands that write, and their run from plan through confirmation to exit code. */
import { applyImport, Interrupted, type TargetReport } from "../../lib/import/apply.ts";
import type { Plan } from "../../lib/import/plan/plan.ts";
import type { TlsMode } from "../../lib/import/plan/tls.ts";
import { hasChanges, type ImportOptions, type PreparedImport, removalsOf } from "../../lib/import/prepare.ts";
import { hasTrait } from "../../lib/peer/finding-codes.ts";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { showFindings, showRefusal } from "../../lib/render/findings.ts";
import { showDisruptions, showPlan } from "../../lib/render/plan.ts";
import { showReports } from "../../lib/render/reports.ts";
import { styleFor } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { resolveAddresses } from "./clusters.ts";
import type { Arguments } from "./option.ts";
import { detailsOption, flag, inGroup } from "./options.ts";
import { writeStdout } from "./streams.ts";
import {
  confirm,
  findStreamWithoutTerminal,
  handleInterruption,
  log,
  logError,
  promptForChoice,
  style,
  warnOfExposedKey,
} from "./terminal.ts";

export const writingOptions = {
  ...inGroup("Target", {
    tls: flag.string(
      "client certificate to use: from the file (peer), the target's own (common), or the target's own if the peer accepts it (auto)",
      {
        choices: ["auto", "peer", "common"],
        default: "auto",
      },
    ),
    users: flag.enabled("grant the etcd users of the peers if the target manages users; disable with --no-users"),
  }),
  ...inGroup("Safety", {
    restarts: flag.enabled(
      "patch Deployments that lack host aliases, which restarts their pods; disable with --no-restarts",
    ),
    "restart-agents": flag.boolean(
      "also patch daemonset/cilium if it lacks host aliases, which restarts all agents (before Cilium 1.20)",
    ),
    "take-ownership": flag.boolean("overwrite Secrets that Helm, Argo CD or another tool owns"),
    "dry-run": flag.string(
      "write nothing: compute the changes locally (client) or validate them in the API server (server)",
      {
        choices: ["none", "client", "server"],
        default: "none",
      },
    ),
    diff: flag.boolean("write nothing, print a diff; exit code 0 without changes, 1 with changes, 2 on errors"),
  }),
  ...inGroup("Output", { details: detailsOption }),
} as const;

type WritingArguments = Omit<Arguments<typeof writingOptions>, "files"> & {
  output?: string | undefined;
  parallel?: number;
  yes: boolean;
};

/** How a command prompts for confirmation. */
export interface PromptPolicy {
  /** Whether every write needs confirmation; else only removing peers and restarting agents. */
  alwaysConfirm?: boolean;
  /** Whether the command reads stdin, which is then not available for prompts. */
  readsStdin?: boolean;
  /** Whether to show the whole plan even without a prompt; else only disruptions are shown. */
  showsPlan?: boolean;
}

/** One run of a command that writes: reviews, applies and reports prepared changes. */
export class ImportRun {
  /** Options for {@link prepareImport}, from the flags. */
  readonly options: ImportOptions;
  /** Whether the run writes; else it is a preview. */
  readonly writes: boolean;
  readonly #args: WritingArguments;
  readonly #prompts: PromptPolicy;
  /** The stream of prompts that is not a terminal, or is read as input. */
  readonly #streamWithoutTerminal: "stdin" | "stderr" | undefined;
  readonly #dryRun: "none" | "client" | "server";
  readonly #interruption = handleInterruption();

  /** Starts to handle signals. */
  constructor(args: WritingArguments, prompts: PromptPolicy) {
    this.#args = args;
    this.#prompts = prompts;
    this.#streamWithoutTerminal = prompts.readsStdin ? "stdin" : findStreamWithoutTerminal();
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
      resolve: resolveAddresses,
      proposeAgents: this.writes && this.#streamWithoutTerminal === undefined && !args.yes,
    };
  }

  /**
   * Shows the findings and the plan, and asks for confirmation.
   *
   * @returns the changes to apply; undefined if they are refused or declined, which is logged.
   */
  async review(prepared: PreparedImport): Promise<PreparedImport | undefined> {
    this.#log(showFindings(prepared.findings, style, this.#args.details));
    if (hasErrors(prepared.findings)) return this.#refuse(prepared.findings);
    const additional = prepared.withAgents?.findings.filter(({ severity }) => severity !== "error") ?? [];
    this.#log(showFindings(additional, style, this.#args.details));
    const chosen = this.writes && hasChanges(prepared) ? await this.#confirm(prepared) : prepared;
    if (chosen === undefined) return this.#refuse([]);
    const errors = chosen === prepared ? [] : chosen.findings.filter(({ severity }) => severity === "error");
    this.#log(showFindings(errors, style, this.#args.details));
    return errors.length > 0 ? this.#refuse(errors) : chosen;
  }

  /**
   * Writes the reviewed changes, and nothing else.
   *
   * @param onFinished - called for each finished target.
   */
  async apply(prepared: PreparedImport, onFinished: () => void = () => {}): Promise<TargetReport[]> {
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
        onFinished();
      } else if (this.writes) this.#interruption.startWriting();
    }
    this.#interruption.finishWriting();
    return prepared.targets.flatMap(({ source }) => reports.get(source) ?? []);
  }

  /** Reports the result of each target, and returns the exit code; that of a signal if one interrupted the work. */
  async finish(reports: readonly TargetReport[]): Promise<number> {
    const { diff, details } = this.#args;
    // The diff itself shows the changes.
    const shown = diff
      ? reports.filter((report) => report.state === "failed" || hasHeldBackPeers(report.plan))
      : reports;
    this.#log(showReports(shown, style, { dryRun: !this.writes, details }));
    if (diff || this.#args.output !== undefined) await printPreviews(reports, this.#args);
    const interrupted = reports.some((report) => report.state === "failed" && report.error instanceof Interrupted);
    if (interrupted && this.signalCode !== undefined) return this.signalCode;
    return diff ? diffExitCode(reports) : exitCode(reports);
  }

  /** The exit code of interrupted work; undefined without a signal. */
  get signalCode(): number | undefined {
    return this.#interruption.exitCode();
  }

  async #confirm(prepared: PreparedImport): Promise<PreparedImport | undefined> {
    const { details, yes } = this.#args;
    const { alwaysConfirm, showsPlan } = this.#prompts;
    const removals = removalsOf(prepared);
    const removes = removals.peers || removals.users;
    const stream = this.#streamWithoutTerminal;
    const offered = yes || stream !== undefined ? undefined : prepared.withAgents;
    if (!offered && (yes || !(alwaysConfirm || removes))) {
      this.#log((showsPlan ? showPlan : showDisruptions)(prepared.targets, style, { details }));
      return prepared;
    }
    const { targets } = offered ?? prepared;
    this.#log(showPlan(targets, style, { details, asked: offered !== undefined }));
    if (stream !== undefined) {
      const what =
        removes && !alwaysConfirm ? "refusing to remove peers without confirmation" : "confirmation required";
      logError(`${what}: ${stream} is not a terminal; pass --yes`);
      return undefined;
    }
    if (removals.peers) log("agents drop the state of removed peers immediately");
    if (!offered) return (await confirm(questionAbout(removals))) ? prepared : undefined;
    log("yes: write and restart the agents");
    log("no: write without restarting the agents; they connect after a later run with --restart-agents");
    log("abort: write nothing");
    const answer = await promptForChoice("Apply these changes and restart the agents?");
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

function questionAbout({ peers, users }: { peers: boolean; users: boolean }): string {
  if (peers && users) return "Remove these peers and revoke these etcd users?";
  if (peers) return "Remove these peers?";
  return users ? "Revoke these etcd users?" : "Apply these changes?";
}

/** Prints the objects, their names, or the differences to stdout. */
async function printPreviews(
  reports: readonly TargetReport[],
  { diff, output }: { diff: boolean; output?: string | undefined },
): Promise<void> {
  const { findDifferences, hasPrivateKey, showDiff, showDocuments, showNames } = await import(
    "../../lib/render/preview.ts"
  );
  const done = reports.filter((report) => report.state === "done");
  if (diff) {
    const found = done.map(({ source, previews }) => ({ source, differences: findDifferences(previews) }));
    const external = process.env.KUBECTL_EXTERNAL_DIFF?.trim();
    if (external) {
      const { runExternalDiff } = await import("./external-diff.ts");
      const failure = await runExternalDiff(external, found);
      if (failure !== undefined) throw new UserError(failure, EXIT.refused);
      return;
    }
    const onStdout = styleFor(process.stdout, process.env);
    for (const { source, differences } of found) {
      writeStdout(
        showDiff(differences, source, onStdout)
          .map((line) => `${line}\n`)
          .join(""),
      );
    }
  } else if (output === "name") {
    for (const { previews } of done) writeStdout(showNames(previews.filter(({ before, after }) => before !== after)));
  } else {
    for (const { previews, source } of done) {
      writeStdout(showDocuments(previews, source, output as "json" | "yaml"));
    }
    if (done.some(({ previews }) => previews.some(hasPrivateKey)))
      warnOfExposedKey("run umask 077 first, or pipe the output into a tool that encrypts it");
  }
}

/** As kubectl diff: 0 without changes, 1 with changes, 2 on errors. */
function diffExitCode(reports: readonly TargetReport[]): number {
  if (reports.some(({ state }) => state === "failed")) return EXIT.refused;
  return reports.some((report) => report.state === "done" && report.plan.changes.length > 0) ? 1 : 0;
}

function exitCode(reports: readonly TargetReport[]): number {
  const failed = reports.find((report) => report.state === "failed");
  if (reports.some((report) => report.state === "failed" && report.error.exitCode === EXIT.refused))
    return EXIT.refused;
  if (failed) return EXIT.failed;
  return reports.some((report) => report.state === "done" && !isConnected(report.plan)) ? EXIT.findings : EXIT.done;
}

/** Whether a requested change is held back: it needs another flag, or an earlier override has precedence. */
function hasHeldBackPeers({ missing, outcomes, keptOverrides, keptEndpoints, kept }: Plan): boolean {
  return (
    missing.length + keptOverrides.size + keptEndpoints.size + kept.length > 0 ||
    [...outcomes.values()].includes("held")
  );
}

/** Whether no known problem keeps a peer from connecting. */
function isConnected({ missing, findings }: Plan): boolean {
  return missing.length === 0 && !findings.some((one) => hasTrait(one, "unconnected"));
}
