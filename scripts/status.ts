/** `clustermesh-secrets status`: every pair of clusters. */
import { observeMesh } from "../lib/mesh/observe.ts";
import { findingsOf } from "../lib/mesh/status-report.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { addressesOf, Contexts } from "./cli/clusters.ts";
import { duration, durationInDays } from "./cli/duration.ts";
import type { Arguments, Command } from "./cli/option.ts";
import {
  allContextsOption,
  booleanFlag,
  checkOptions,
  clusterOptions,
  detailsOption,
  FINDINGS_EXIT_CODE,
  inGroup,
  listFlag,
  stringFlag,
  waitOptions,
} from "./cli/options.ts";
import { fails } from "./cli/report.ts";
import { runnable } from "./cli/run.ts";
import { printStatus, waitingLog } from "./cli/show-status.ts";
import { isUnread } from "./cli/streams.ts";
import { log, style } from "./cli/terminal.ts";

const options = {
  ...inGroup("Input", {
    context: listFlag("context of a cluster (repeatable); default: the current context", { completes: "contexts" }),
    "all-contexts": allContextsOption,
  }),
  ...inGroup("Checks", {
    probe: booleanFlag("also connect to the etcd of every peer, from this machine"),
    "step-timeout": stringFlag("timeout of each step of --probe", { default: "5s" }),
  }),
  ...checkOptions,
  ...waitOptions,
  ...inGroup("Output", {
    output: stringFlag("output format; wide adds columns, mermaid draws a graph", {
      alias: "o",
      choices: ["json", "yaml", "wide", "mermaid"],
    }),
    details: detailsOption,
    watch: { ...booleanFlag("refresh every two seconds until interrupted"), alias: "w" },
  }),
  ...clusterOptions,
};

const command: Command<typeof options> = {
  usage: "$0 [CONTEXT]... [--all-contexts] [flags]",
  description:
    "Reads every cluster and reports for every pair whether both directions are configured, the endpoints are current " +
    "and the certificates are valid, and for every cluster the state of its clustermesh-apiserver. Writes nothing.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster1 cluster2 cluster3", "Show the state of three clusters"],
    ["$0 cluster1 cluster2 cluster3 --wait --timeout=5m", "Wait until the mesh is healthy"],
    ["$0 --all-contexts -o mermaid", "Draw a graph of the mesh"],
  ],
  options,
  exitCodes: {
    0: "the mesh is healthy",
    1: "a cluster cannot be read, or --wait timed out",
    2: "invalid arguments or kubeconfig",
    ...FINDINGS_EXIT_CODE,
  },
  run: runStatus,
};

export const statusCommand = runnable(command);

async function runStatus(args: Arguments<typeof options>): Promise<number> {
  if (args.wait && args.watch) throw new UserError("--wait and --watch are mutually exclusive", EXIT.refused);
  const deadline = Date.now() + duration(args.timeout, "timeout");
  const stepTimeout = duration(args["step-timeout"], "step-timeout");
  const expiresWithin = durationInDays(args["expires-within"], "expires-within");
  const names = [...args.context, ...args.files];
  if (args["all-contexts"] && names.length > 0) {
    throw new UserError("--all-contexts takes no other contexts", EXIT.refused);
  }
  using contexts = await Contexts.load(args);
  const clusters = args["all-contexts"] ? await contexts.all("read") : await contexts.named(names, "read");
  const { namespace } = args;
  const probe = args.probe && { probe: { stepTimeout } };
  const logWaiting = waitingLog();
  const looking = { namespace, expiresWithin, resolve: addressesOf, ...probe };
  for await (const status of observeMesh(clusters, looking, args.wait ? deadline : undefined)) {
    const isUnreadable = status.clusters.some(({ error }) => error !== undefined);
    const isGood = !isUnreadable && !fails(findingsOf(status), args["fail-on"]);
    const waits = args.wait && !isGood && Date.now() < deadline;
    if (args.watch && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
    if (waits) logWaiting(status);
    else printStatus(status, args);
    if (waits || (args.watch && !isUnread())) continue;
    if (isGood) return EXIT.done;
    if (isUnreadable || !args.wait) return isUnreadable ? EXIT.failed : EXIT.findings;
    log(`${style.red("error")}: timed out after ${args.timeout} waiting for the mesh to become healthy`);
    return EXIT.failed;
  }
  return EXIT.failed;
}
