/** Flags of the mesh commands, their selection of clusters, and their run from plan to exit code. */
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
import { EXIT, UsageError, UserError } from "../../lib/util/errors.ts";
import { truncateLine } from "../../lib/util/line.ts";
import { type ClusterSource, resolveAddresses } from "./clusters.ts";
import { parseDuration } from "./duration.ts";
import type { Arguments } from "./option.ts";
import { allContextsOption, clusterOptions, clusterSecretOptions, flag, inGroup, waitOptions } from "./options.ts";
import { createWaitingLog } from "./show-status.ts";
import { signalFromExitCode } from "./signals.ts";
import { canOverwriteLine, log, logError, style, warn } from "./terminal.ts";
import { ImportRun, writingOptions } from "./writing.ts";

export const meshOptions = {
  ...inGroup("Target", {
    context: flag.contexts("context of a target cluster (repeatable, not comma-separated)"),
    "all-contexts": allContextsOption,
    "contexts-file": flag.file("file with one context per line"),
    addresses: flag.count("maximum number of addresses per cluster", 3),
    parallel: flag.count("number of target clusters to update concurrently", 8),
  }),
  ...inGroup("Safety", {
    yes: { ...flag.boolean("write without confirmation"), alias: "y" },
    "skip-unreachable": flag.boolean("continue without clusters that cannot be read"),
  }),
  ...inGroup("Output", {
    output: flag.string("print the names of changed objects", { alias: "o", choices: ["name"] }),
  }),
  ...waitOptions,
  ...writingOptions,
  ...clusterSecretOptions,
  ...clusterOptions,
};

/** The flags of mesh commands that are mutually exclusive. */
export const MESH_EXCLUSIVE = [
  ["diff", "output"],
  ["all-contexts", "clusters-from"],
] as const;

export type MeshArguments = Arguments<typeof meshOptions>;

/** The flags that select contexts in all mesh commands, for messages. */
export const CONTEXT_FLAGS = "--context, --contexts-file or --all-contexts";

/**
 * Selects the clusters of the contexts in flags and in `names`, or all clusters of `--clusters-from` if none is named.
 *
 * @param placeholder - the argument or flag that contains `names`, for the message.
 * @throws UserError (exit code 2) if there is no context: mesh commands never default to the current one.
 */
export async function selectClusters(
  contexts: ClusterSource,
  args: Pick<MeshArguments, "context" | "contexts-file" | "all-contexts" | "clusters-from">,
  names: readonly string[] = [],
  placeholder?: string,
): Promise<Cluster[]> {
  const file = args["contexts-file"];
  const listed = file === undefined ? [] : await readContextsFile(file);
  const named = [...names, ...args.context, ...listed];
  if (args["all-contexts"] && named.length > names.length) {
    throw new UserError("--all-contexts cannot be combined with other contexts", EXIT.refused);
  }
  const isFromSecrets = args["clusters-from"] !== undefined;
  if (!args["all-contexts"] && named.length === 0 && !isFromSecrets) {
    throw new UsageError(
      `no contexts given: pass ${placeholder === undefined ? "" : `${placeholder}, `}${CONTEXT_FLAGS}`,
    );
  }
  if (args["all-contexts"]) return contexts.selectAll();
  try {
    return await contexts.select(named);
  } catch (error) {
    const known = new Set(contexts.names());
    const unknown = named.find((name) => !known.has(name));
    throw unknown !== undefined && listed.includes(unknown) ? inContextsFile(file, error) : error;
  }
}

/** Returns an error with the name of the file of contexts that causes it. */
export function inContextsFile(file: string | undefined, error: unknown): unknown {
  if (file === undefined || !(error instanceof UserError)) return error;
  return new UserError(`${truncateLine(file)}: ${error.message}`, error.exitCode, { cause: error });
}

/** @throws UserError (exit code 2) if the file cannot be read, or has no contexts, as while it is written. */
async function readContextsFile(path: string): Promise<string[]> {
  const lines = (await readText(path)).split("\n").map((line) => line.trim());
  const names = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (names.length === 0) throw new UserError(`${truncateLine(path)}: no contexts`, EXIT.refused);
  return names;
}

/** Converts the flags to options for reading clusters. */
export function toReadOptions(args: MeshArguments): Omit<ReadOptions, "forExtract"> {
  return { namespace: args.namespace, addresses: args.addresses, resolve: resolveAddresses };
}

/** Reads the clusters to write, and logs warnings. */
export async function readMesh(
  clusters: readonly Cluster[],
  args: MeshArguments,
  { forExtract }: Pick<ReadOptions, "forExtract">,
): Promise<MeshReading> {
  const reading = await readMembers(clusters, { ...toReadOptions(args), forExtract });
  reading.warnings.forEach(warn);
  return reading;
}

/** One run of a mesh command. */
export class MeshRun {
  readonly #args: MeshArguments;
  readonly #timeout: number;
  readonly #run: ImportRun;

  /** @throws UserError (exit code 2) if `--timeout` is not a duration. */
  constructor(args: MeshArguments) {
    this.#args = args;
    this.#timeout = parseDuration(args.timeout, "timeout");
    this.#run = new ImportRun(args, { alwaysConfirm: true });
  }

  /** The reference time of certificate checks. */
  get now(): Date {
    return this.#run.options.plan.now;
  }

  /**
   * Shows a change of a mesh, asks for confirmation and writes it.
   *
   * @param waitFor - the clusters that `--wait` waits for.
   * @param command - the command line, to rerun it after a failure.
   * @param removed - names of the removed peers.
   * @returns the exit code.
   */
  async execute(
    { targets, peers, findings, omitted, notes }: MeshChange,
    waitFor: readonly Cluster[],
    command: string,
    removed: ReadonlySet<string> = new Set(),
  ): Promise<number> {
    for (const line of notes) log(escapeLine(line));
    const { plan, ...options } = this.#run.options;
    const prepared = await prepareImport(targets, {
      ...options,
      plan: { ...plan, remove: removed },
      peers,
      findings,
      checkPermissions: true,
    });
    const confirmed = await this.#run.review(prepared);
    if (!confirmed) return this.#refuse(prepared.findings);
    const reports = await this.#run.apply(confirmed, this.#run.writes && canOverwriteLine ? showProgress() : undefined);
    const code = await this.#run.finish(reports);
    return this.#conclude(code, omitted, waitFor, command);
  }

  /** Logs how to continue without unreadable clusters, and returns the exit code. */
  #refuse(findings: MeshChange["findings"]): number {
    const errors = findings.filter(({ severity }) => severity === "error");
    const unreadable = errors.filter((one) => hasTrait(one, "skippable"));
    if (unreadable.length > 0) log("to continue without unreadable clusters, pass --skip-unreachable");
    return unreadable.length > 0 && unreadable.length === errors.length && !this.#args.diff
      ? EXIT.failed
      : EXIT.refused;
  }

  async #conclude(
    code: number,
    omitted: MeshChange["omitted"],
    waitFor: readonly Cluster[],
    command: string,
  ): Promise<number> {
    const { diff, details, wait } = this.#args;
    const { writes } = this.#run;
    showFindings(omitted, style, details).forEach(log);
    if ((code === EXIT.failed || signalFromExitCode(code)) && writes) log(`to complete, rerun: ${escapeLine(command)}`);
    if (diff && omitted.length > 0) return EXIT.refused;
    if (code !== EXIT.done) return code;
    if (omitted.length > 0) return EXIT.findings;
    if (!wait || !writes) return code;
    return this.#run.signalCode ?? waitUntilHealthy(waitFor, this.#args, this.#timeout);
  }
}

/** Returns a function that counts finished clusters in one line. */
function showProgress(): () => void {
  let done = 0;
  return () => {
    done++;
    process.stderr.write(`\r\x1b[K${style.dim(`${done} done`)}`);
    // Cleared before anything else is logged.
    queueMicrotask(() => process.stderr.write("\r\x1b[K"));
  };
}

/**
 * Observes a mesh until it is healthy.
 *
 * @param timeout - milliseconds.
 * @returns the exit code.
 */
async function waitUntilHealthy(clusters: readonly Cluster[], args: MeshArguments, timeout: number): Promise<number> {
  const deadline = Date.now() + timeout;
  const logWaiting = createWaitingLog();
  for await (const status of observeMesh(
    clusters,
    { namespace: args.namespace, resolve: resolveAddresses },
    deadline,
  )) {
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
  logError(`timed out after ${args.timeout} waiting for the mesh to become healthy`);
  return EXIT.failed;
}
