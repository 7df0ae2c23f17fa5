/** What the commands over many clusters have in common: which contexts they write, how they ask, and how they end. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ImportOptions } from "../../lib/import/import.ts";
import { readText } from "../../lib/import/peer-files.ts";
import type { MeshResult } from "../../lib/mesh/connect.ts";
import type { MemberSource, ReadOptions, WriteOptions } from "../../lib/mesh/member.ts";
import { meshStatus } from "../../lib/mesh/status.ts";
import { findingsOf } from "../../lib/mesh/status-report.ts";
import { hasErrors } from "../../lib/peer/findings.ts";
import { showFindings } from "../../lib/render/findings.ts";
import { escapeLine } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { addressesOf, clustersOf } from "./clusters.ts";
import { duration } from "./duration.ts";
import { type Arguments, clusterOptions } from "./run.ts";
import { signalOf } from "./signals.ts";
import { log, mayRetell, style, warn } from "./terminal.ts";
import { dryRunOf, importHooks, print, writingOptions } from "./writing.ts";

/** How long until --wait looks again, in milliseconds. */
const INTERVAL = 2_000;

export const meshOptions = {
  context: {
    type: "array",
    string: true,
    describe: "context of a cluster that may be written (repeatable)",
    completes: "contexts",
  },
  "all-contexts": { type: "boolean", default: false, describe: "every context of the kubeconfig" },
  "contexts-file": { type: "string", describe: "file with a context a line", completes: "files" },
  "skip-unreachable": { type: "boolean", default: false, describe: "go on without clusters that cannot be read" },
  addresses: { type: "number", min: 1, default: 3, describe: "how many addresses of a cluster at the most" },
  parallel: { type: "number", min: 1, default: 8, describe: "how many clusters are written at a time" },
  yes: { type: "boolean", alias: "y", default: false, describe: "write without asking" },
  wait: { type: "boolean", default: false, describe: "return when the mesh is healthy" },
  timeout: { type: "string", default: "5m", describe: "how long --wait waits" },
  ...writingOptions,
  ...clusterOptions,
} as const;

export type MeshArguments = Arguments<typeof meshOptions>;

/**
 * The clusters of the contexts that were named, by `names` and by flags.
 *
 * @throws UserError (exit code 2) where none is named: the current context alone is never meant.
 */
export async function sourcesOf(args: MeshArguments, names: readonly string[]): Promise<MemberSource[]> {
  const listed = args["contexts-file"] === undefined ? [] : await contextsIn(args["contexts-file"]);
  const named = [...names, ...args.context, ...listed];
  if (args["all-contexts"] && named.length > names.length) {
    throw new UserError("--all-contexts takes no other contexts", EXIT.refused);
  }
  if (!args["all-contexts"] && named.length === 0) {
    throw new UserError("no context was named: say --context, --contexts-file or --all-contexts", EXIT.refused);
  }
  return clustersOf(args, args["all-contexts"] ? "all" : named, "taken");
}

async function contextsIn(path: string): Promise<string[]> {
  const lines = (await readText(path)).split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

/**
 * How clusters are read and written by these arguments, and what ends the command.
 *
 * @param question what is asked before anything is written, without the question mark.
 */
export function prepareRun(args: MeshArguments, question: string) {
  const timeout = duration(args.timeout, "timeout");
  const dryRun = dryRunOf(args);
  const writing = dryRun === "none";
  const asks = process.stdin.isTTY && process.stderr.isTTY;
  const { hooks, end, interruption } = importHooks(args, dryRun, { question, always: true, asks, yes: args.yes });
  const read: Omit<ReadOptions, "forExtract"> = {
    namespace: args.namespace,
    addresses: args.addresses,
    resolve: addressesOf,
    warn,
  };
  const write: WriteOptions = {
    ...hooks,
    parallel: args.parallel,
    endpoints: new Map(),
    resolve: addressesOf,
    ...(writing && mayRetell && { finished: progress() }),
  };
  const finish = async (result: MeshResult, sources: readonly MemberSource[], again: string): Promise<number> => {
    if ("refused" in result) {
      const code = end(result);
      const unread = result.refused.some((one) => one.code === "cluster-unreadable");
      const others = result.refused.some((one) => one.severity === "error" && one.code !== "cluster-unreadable");
      if (unread) log("--skip-unreachable goes on without clusters that cannot be read");
      return unread && !others && !args.diff ? EXIT.failed : code;
    }
    const code = end(result);
    if (args.diff) await print(result.reports, args);
    showFindings(result.left, style, args.details).forEach(log);
    if ((code === EXIT.failed || signalOf(code)) && writing) log(`run again to complete: ${escapeLine(again)}`);
    if (args.diff && result.left.length > 0) return EXIT.refused;
    if (code !== EXIT.done) return code;
    if (result.left.length > 0) return EXIT.findings;
    if (!args.wait || !writing) return code;
    return interruption.exitCode() ?? waiting(sources, args, timeout);
  };
  return { read, write, finish };
}

/** One line that counts. */
function progress(): NonNullable<ImportOptions["finished"]> {
  let done = 0;
  return () => {
    done++;
    process.stderr.write(`\r\x1b[K${style.dim(`${done} done`)}`);
    // What comes next stands on a line of its own.
    queueMicrotask(() => process.stderr.write("\r\x1b[K"));
  };
}

/** Looks until the mesh of these clusters is healthy. */
async function waiting(sources: readonly MemberSource[], args: MeshArguments, timeout: number): Promise<number> {
  const deadline = Date.now() + timeout;
  let told = "";
  for (;;) {
    const status = await meshStatus(sources, { namespace: args.namespace, now: new Date(), resolve: addressesOf });
    const findings = findingsOf(status);
    if (!hasErrors(findings)) {
      log(style.green("the mesh is healthy"));
      return EXIT.done;
    }
    if (Date.now() > deadline) {
      showFindings(findings, style, args.details).forEach(log);
      log(`${style.red("error")}: timed out after ${args.timeout} waiting for the mesh to become healthy`);
      return EXIT.failed;
    }
    const first = findings.find(({ severity }) => severity === "error");
    const line = `waiting: ${first?.source}: ${first?.message}`;
    if (line !== told) log(style.dim(escapeLine(line)));
    told = line;
    await sleep(Math.min(INTERVAL, Math.max(0, deadline - Date.now())));
  }
}
