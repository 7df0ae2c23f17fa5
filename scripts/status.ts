/** `clustermesh-secrets status`: shows the state of every pair of clusters. */
import { observeMesh } from "../lib/mesh/observe.ts";
import { findingsOf } from "../lib/mesh/status-report.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { openClusterSource } from "./cli/cluster-source.ts";
import { resolveAddresses } from "./cli/clusters.ts";
import { parseDuration, parseDurationInDays } from "./cli/duration.ts";
import type { Arguments } from "./cli/option.ts";
import { EXIT_CODES } from "./cli/options.ts";
import { hasFailures, validateOutputFile } from "./cli/report.ts";
import { toProgram } from "./cli/run.ts";
import { createWaitingLog, FILE_OUTPUTS, printStatus } from "./cli/show-status.ts";
import { assertNoStateFlags, runSyncStatus } from "./cli/show-sync.ts";
import { statusOptions } from "./cli/status-flags.ts";
import { isStdoutClosed } from "./cli/streams.ts";
import { logError } from "./cli/terminal.ts";

/** Flags that have no meaning for the state of sync. */
const WITHOUT_SYNC = ["wait", "watch", "probe", "all-contexts", "clusters-from", "output-file"];

export const statusCommand = toProgram({
  usage: "$0 [CONTEXT]... [--all-contexts] [flags]",
  description:
    "Reads every cluster and reports for every pair whether both directions are configured, the endpoints are current " +
    "and the certificates are valid, and for every cluster the state of its clustermesh-apiserver. Writes nothing.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster1 cluster2 cluster3", "Show the state of three clusters"],
    ["$0 cluster1 cluster2 cluster3 --wait --timeout=5m", "Wait until the mesh is healthy"],
    ["$0 --all-contexts -o mermaid", "Draw a graph of the mesh"],
    ["$0 --all-contexts -o html --output-file mesh.html", "Write a page for a browser"],
    ["$0 --sync --state-context=management", "Show what sync holds and why"],
  ],
  options: statusOptions,
  exclusive: [
    ["wait", "watch"],
    ["all-contexts", "clusters-from"],
    ...WITHOUT_SYNC.map((flag) => ["sync", flag] as const),
  ],
  exitCodes: {
    0: "the mesh is healthy; with --sync, nothing is held and all members were read",
    1: "a cluster or the state of sync cannot be read, or --wait timed out",
    2: "invalid arguments or kubeconfig",
    3: `${EXIT_CODES.findings}; with --sync, something is held or was not read, or sync was stopped`,
  },
  run: runStatus,
});

async function runStatus(args: Arguments<typeof statusOptions>): Promise<number> {
  if (args.sync) return runSyncStatus(args);
  assertNoStateFlags(args);
  const deadline = Date.now() + parseDuration(args.timeout, "timeout");
  const stepTimeout = parseDuration(args["step-timeout"], "step-timeout");
  const expiresWithin = parseDurationInDays(args["expires-within"], "expires-within");
  validateOutputFile(args, FILE_OUTPUTS);
  const names = [...args.context, ...args.files];
  if (args["all-contexts"] && names.length > 0) {
    throw new UserError("--all-contexts cannot be combined with other contexts", EXIT.refused);
  }
  using contexts = await openClusterSource(args);
  const clusters = args["all-contexts"] ? await contexts.selectAll() : await contexts.select(names);
  const probe = args.probe && { probe: { stepTimeout } };
  const logWaiting = createWaitingLog();
  const observation = { namespace: args.namespace, expiresWithin, resolve: resolveAddresses, ...probe };
  for await (const status of observeMesh(clusters, observation, args.wait ? deadline : undefined)) {
    const isUnreadable = status.clusters.some(({ error }) => error !== undefined);
    const isHealthy = !isUnreadable && !hasFailures(findingsOf(status), args["fail-on"]);
    const waits = args.wait && !isHealthy && Date.now() < deadline;
    if (args.watch && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
    if (waits) logWaiting(status);
    else await printStatus(status, args);
    if (waits || (args.watch && !isStdoutClosed())) continue;
    if (isHealthy) return EXIT.done;
    if (isUnreadable || !args.wait) return isUnreadable ? EXIT.failed : EXIT.findings;
    logError(`timed out after ${args.timeout} waiting for the mesh to become healthy`);
    return EXIT.failed;
  }
  return EXIT.failed;
}
