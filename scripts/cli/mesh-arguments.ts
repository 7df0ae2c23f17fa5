/** What the commands over many clusters have in common: which contexts they write, how they ask, and how they end. */
import { readText } from "../../lib/import/peer-files.ts";
import { prepareImport } from "../../lib/import/prepare.ts";
import type { Cluster } from "../../lib/kube/cluster.ts";
import { type MeshChange, type MeshReading, type ReadOptions, readMembers } from "../../lib/mesh/member.ts";
import { observeMesh } from "../../lib/mesh/observe.ts";
import { findingsOf } from "../../lib/mesh/status-report.ts";
import { hasTrait } from "../../lib/peer/finding-codes.ts";
import { hasErrors } from "../../lib/peer/findings.ts";
import { showFindings } from "../../lib/render/findings.ts";
import { escapeLine } from "../../lib/render/style.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { addressesOf, type Contexts } from "./clusters.ts";
import { duration } from "./duration.ts";
import type { Arguments } from "./option.ts";
import {
  allContextsOption,
  booleanFlag,
  clusterOptions,
  countFlag,
  inGroup,
  listFlag,
  stringFlag,
  waitOptions,
} from "./options.ts";
import { waitingLog } from "./show-status.ts";
import { signalOf } from "./signals.ts";
import { log, mayRetell, style, warn } from "./terminal.ts";
import { ImportRun, writingOptions } from "./writing.ts";

export const meshOptions = {
  ...inGroup("Target", {
    context: listFlag("context of a cluster to write (repeatable)", { completes: "contexts" }),
    "all-contexts": allContextsOption,
    "contexts-file": stringFlag("file with one context per line", { completes: "files" }),
    addresses: countFlag("maximum number of addresses per cluster", 3),
    parallel: countFlag("number of clusters to write concurrently", 8),
  }),
  ...inGroup("Safety", {
    yes: { ...booleanFlag("write without confirmation"), alias: "y" },
    "skip-unreachable": booleanFlag("continue without clusters that cannot be read"),
  }),
  ...waitOptions,
  ...writingOptions,
  ...clusterOptions,
};

export type MeshArguments = Arguments<typeof meshOptions>;

/**
 * The clusters of the contexts that were named, by `names` and by flags.
 *
 * @throws UserError (exit code 2) where none is named: the current context alone is never meant.
 */
export async function namedClusters(
  contexts: Contexts,
  args: MeshArguments,
  names: readonly string[],
): Promise<Cluster[]> {
  const listed = args["contexts-file"] === undefined ? [] : await contextsIn(args["contexts-file"]);
  const named = [...names, ...args.context, ...listed];
  if (args["all-contexts"] && named.length > names.length) {
    throw new UserError("--all-contexts takes no other contexts", EXIT.refused);
  }
  if (!args["all-contexts"] && named.length === 0) {
    throw new UserError("no context was named: say --context, --contexts-file or --all-contexts", EXIT.refused);
  }
  return args["all-contexts"] ? contexts.all("taken") : contexts.named(named, "taken");
}

async function contextsIn(path: string): Promise<string[]> {
  const lines = (await readText(path)).split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

/** What is read of clusters, by these arguments. */
export function readOptions(args: MeshArguments): Omit<ReadOptions, "forExtract"> {
  return { namespace: args.namespace, addresses: args.addresses, resolve: addressesOf };
}

/** Reads clusters that are to be written, and warns of what was assumed. */
export async function readMesh(
  clusters: readonly Cluster[],
  args: MeshArguments,
  { forExtract }: Pick<ReadOptions, "forExtract">,
): Promise<MeshReading> {
  const reading = await readMembers(clusters, { ...readOptions(args), forExtract });
  reading.warnings.forEach(warn);
  return reading;
}

/** One run of a command over many clusters. */
export class MeshRun {
  readonly #args: MeshArguments;
  readonly #timeout: number;
  readonly #run: ImportRun;

  /**
   * @param question what is asked before anything is written, without the question mark.
   * @throws UserError (exit code 2) for a duration that is none.
   */
  constructor(args: MeshArguments, question: string) {
    this.#args = args;
    this.#timeout = duration(args.timeout, "timeout");
    const asks = process.stdin.isTTY && process.stderr.isTTY;
    this.#run = new ImportRun(args, { question, always: true, asks });
  }

  /** The time by which certificates are judged. */
  get now(): Date {
    return this.#run.options.plan.now;
  }

  /**
   * Shows a change of a mesh, has it confirmed, and writes it.
   *
   * @param meant the clusters that `--wait` waits for.
   * @param again the command, to say how to run it again.
   * @param removed names of the peers that are removed.
   * @returns the exit code.
   */
  async carryOut(
    { targets, peers, findings, left, notes }: MeshChange,
    meant: readonly Cluster[],
    again: string,
    removed: ReadonlySet<string> = new Set(),
  ): Promise<number> {
    for (const line of notes) log(escapeLine(line));
    const { plan, ...options } = this.#run.options;
    const prepared = await prepareImport(targets, {
      ...options,
      plan: { ...plan, drop: removed },
      peers,
      findings,
      checkRights: true,
    });
    const confirmed = await this.#run.review(prepared);
    if (!confirmed) return this.#refusal(prepared.findings);
    const reports = await this.#run.apply(confirmed, this.#run.writes && mayRetell ? progress() : undefined);
    const code = await this.#run.finish(reports);
    return this.#conclude(code, left, meant, again);
  }

  #refusal(findings: MeshChange["findings"]): number {
    const errors = findings.filter(({ severity }) => severity === "error");
    const unread = errors.filter((one) => hasTrait(one, "skippable"));
    if (unread.length > 0) log("--skip-unreachable goes on without clusters that cannot be read");
    return unread.length > 0 && unread.length === errors.length && !this.#args.diff ? EXIT.failed : EXIT.refused;
  }

  async #conclude(code: number, left: MeshChange["left"], meant: readonly Cluster[], again: string): Promise<number> {
    const { diff, details, wait } = this.#args;
    const { writes } = this.#run;
    showFindings(left, style, details).forEach(log);
    if ((code === EXIT.failed || signalOf(code)) && writes) log(`run again to complete: ${escapeLine(again)}`);
    if (diff && left.length > 0) return EXIT.refused;
    if (code !== EXIT.done) return code;
    if (left.length > 0) return EXIT.findings;
    if (!wait || !writes) return code;
    return this.#run.endedBySignal() ?? waitUntilHealthy(meant, this.#args, this.#timeout);
  }
}

/** One line that counts. */
function progress(): () => void {
  let done = 0;
  return () => {
    done++;
    process.stderr.write(`\r\x1b[K${style.dim(`${done} done`)}`);
    // What comes next stands on a line of its own.
    queueMicrotask(() => process.stderr.write("\r\x1b[K"));
  };
}

/** Looks until the mesh of these clusters is healthy. */
async function waitUntilHealthy(clusters: readonly Cluster[], args: MeshArguments, timeout: number): Promise<number> {
  const deadline = Date.now() + timeout;
  const logWaiting = waitingLog();
  for await (const status of observeMesh(clusters, { namespace: args.namespace, resolve: addressesOf }, deadline)) {
    const findings = findingsOf(status);
    if (!hasErrors(findings)) {
      log(style.green("the mesh is healthy"));
      return EXIT.done;
    }
    if (Date.now() > deadline) {
      showFindings(findings, style, args.details).forEach(log);
      break;
    }
    logWaiting(status);
  }
  log(`${style.red("error")}: timed out after ${args.timeout} waiting for the mesh to become healthy`);
  return EXIT.failed;
}
