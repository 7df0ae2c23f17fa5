/** `clustermesh-secrets status`: every pair of clusters. */
import { observeMesh } from "../lib/mesh/observe.ts";
import { findingsOf } from "../lib/mesh/status-report.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { addressesOf, Contexts } from "./cli/clusters.ts";
import { duration, durationInDays } from "./cli/duration.ts";
import type { Arguments, Command } from "./cli/option.ts";
import {
  allContextsOption,
  clusterOptions,
  detailsOption,
  expiresWithinOption,
  failOnOption,
  waitOptions,
} from "./cli/options.ts";
import { fails } from "./cli/report.ts";
import { runnable } from "./cli/run.ts";
import { printStatus, waitingLog } from "./cli/show-status.ts";
import { isUnread } from "./cli/streams.ts";
import { log, style } from "./cli/terminal.ts";

const options = {
  context: {
    type: "array",
    string: true,
    describe: "context of a cluster (repeatable); else the current one",
    completes: "contexts",
  },
  "all-contexts": allContextsOption,
  probe: { type: "boolean", default: false, describe: "ask each peer's etcd too, from here" },
  "step-timeout": { type: "string", default: "5s", describe: "how long each step of --probe may take" },
  ...waitOptions,
  watch: { type: "boolean", alias: "w", default: false, describe: "look again every two seconds, until Ctrl-C" },
  "expires-within": expiresWithinOption,
  "fail-on": failOnOption,
  output: {
    type: "string",
    alias: "o",
    choices: ["json", "yaml", "wide", "mermaid"],
    describe: "print all of it, for programs; with more for people; or as a graph",
  },
  details: detailsOption,
  ...clusterOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 [CONTEXT]... [--all-contexts]",
  description:
    "Reads each cluster's API once and tells the state of every pair: configured in both directions, as the peer is now, " +
    "with certificates that hold; and of each clustermesh-apiserver. Nothing is written.",
  positionals: "CONTEXT",
  examples: [
    ["$0 --context c1 --context c2 --context c3", "three clusters"],
    ["$0 c1 c2 c3 --wait --timeout=5m", "until the mesh is healthy"],
    ["$0 --all-contexts -o mermaid", "a picture for the docs"],
  ],
  options,
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
