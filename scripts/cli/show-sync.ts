/** `status --sync`: prints the state of `sync`. */
import { styleFor } from "../../lib/render/style.ts";
import { isSettled, type SyncReport, showSyncStatus, toSyncReport } from "../../lib/render/sync-status.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { shellQuote } from "../../lib/util/shell.ts";
import { findCommands, maskQuoted } from "./find-commands.ts";
import { addGivenFlags } from "./given-flags.ts";
import type { Arguments } from "./option.ts";
import { checkOptions, stateOptions } from "./options.ts";
import { printDocument } from "./report.ts";
import { openStateStore } from "./state-options.ts";
import type { statusOptions } from "./status-flags.ts";
import { setGivenFlags, writeLines } from "./streams.ts";

type StatusArguments = Arguments<typeof statusOptions>;

/**
 * Prints the state of sync. No cluster of the mesh is read.
 *
 * @returns exit code 0 if it is settled ({@link isSettled}), else 3.
 * @throws UserError (exit code 1) if there is no state or it cannot be read, or (2) if another flag does not fit.
 */
export async function runSyncStatus(args: StatusArguments): Promise<number> {
  const { output, details } = args;
  checkSyncArguments(args);
  const { store, close } = await openStateStore(args, { isReader: true });
  try {
    const state = await store.load();
    if (!state) throw new UserError(`no state of sync in ${store.describe()}; has sync been started?`, EXIT.failed);
    const now = new Date();
    const report = completeReport(toSyncReport(state), args);
    // Remedies have the flags of the sync, not those that select its state.
    setGivenFlags({});
    if (output === "json" || output === "yaml") printDocument({ store: store.describe(), ...report }, output);
    else {
      const options = { now, where: store.describe(), details };
      writeLines(showSyncStatus(report, styleFor(process.stdout, process.env), options));
    }
    return isSettled(report, now) ? EXIT.done : EXIT.findings;
  } finally {
    await close();
  }
}

/**
 * Adds to remedies of a sync in a pod the context by which its cluster was reached: it has the Secrets that describe the
 * clusters, and in the pod no context leads to it.
 */
function completeReport(report: SyncReport, args: StatusArguments): SyncReport {
  const { kubeconfig, "state-context": context } = args;
  if (context === undefined) return report;
  const members = new Set(report.members.map(({ entry }) => shellQuote(entry)));
  const complete = (line: string) => {
    const given = findCommands(line)
      .map(({ args: one }) => maskQuoted(one))
      .join("");
    const from = / --clusters-from=(\S+)/.exec(given)?.[1];
    if (from === undefined || given.includes(" --clusters-context=")) return line;
    return addGivenFlags(line, { kubeconfig, "clusters-context": context, "clusters-from": from }, members);
  };
  const held = report.held.map(({ remedy, ...one }) => ({
    ...one,
    ...(remedy !== undefined && { remedy: remedy.split("\n").map(complete).join("\n") }),
  }));
  return { ...report, held };
}

function checkSyncArguments(args: StatusArguments): void {
  const { output, context, files, namespace } = args;
  const check = (["fail-on", "expires-within"] as const).find((name) => args[name] !== checkOptions[name].default);
  const problems: [isWrong: boolean, problem: string][] = [
    [
      !["json", "yaml"].includes(output ?? "json"),
      `--sync and -o ${output} are mutually exclusive; use -o json or yaml`,
    ],
    [
      context.length + files.length > 0,
      "--sync and contexts are mutually exclusive; select the cluster with the state by --state-context",
    ],
    [check !== undefined, `--sync and --${check} are mutually exclusive`],
    [namespace !== undefined, "--namespace is that of Cilium; select that of the state by --state-namespace"],
  ];
  const [, problem] = problems.find(([isWrong]) => isWrong) ?? [];
  if (problem !== undefined) throw new UserError(problem, EXIT.refused);
}

/**
 * Checks that the flags for the state of sync are used with `--sync` alone.
 *
 * @throws UserError (exit code 2) otherwise.
 */
export function assertNoStateFlags(args: StatusArguments): void {
  const given = (Object.keys(stateOptions) as (keyof typeof stateOptions)[]).find((name) => args[name] !== undefined);
  if (given !== undefined) throw new UserError(`--${given} requires --sync`, EXIT.refused);
}
