/** `clustermesh-secrets status`: every pair of clusters. */
import { setTimeout as sleep } from "node:timers/promises";
import { type MeshStatus, meshStatus } from "../lib/mesh/status.ts";
import { findingsOf, reportOf } from "../lib/mesh/status-report.ts";
import { showMermaid, showStatus } from "../lib/render/status.ts";
import { styleFor } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { addressesOf, Contexts } from "./cli/clusters.ts";
import { duration, durationInDays } from "./cli/duration.ts";
import { detailsOption, expiresWithinOption, failOnOption, fails, printDocument } from "./cli/report.ts";
import { type Arguments, type Command, clusterOptions, runnable } from "./cli/run.ts";
import { isUnread, toStdout } from "./cli/streams.ts";
import { log, style } from "./cli/terminal.ts";

/** How long until it looks again, with --wait and --watch, in milliseconds. */
const INTERVAL = 2_000;

const options = {
  context: {
    type: "array",
    string: true,
    describe: "context of a cluster (repeatable); else the current one",
    completes: "contexts",
  },
  "all-contexts": { type: "boolean", default: false, describe: "every context of the kubeconfig" },
  probe: { type: "boolean", default: false, describe: "ask each peer's etcd too, from here" },
  "step-timeout": { type: "string", default: "5s", describe: "how long each step of --probe may take" },
  wait: { type: "boolean", default: false, describe: "return when the mesh is healthy" },
  timeout: { type: "string", default: "5m", describe: "how long --wait waits" },
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
  const look = () =>
    meshStatus(clusters, {
      namespace: args.namespace,
      now: new Date(),
      expiresWithin,
      resolve: addressesOf,
      ...(args.probe && { probe: { stepTimeout } }),
    });
  let status = await look();
  let told = "";
  while ((args.watch && !isUnread()) || (args.wait && !isGood(status, args) && Date.now() < deadline)) {
    if (args.watch) {
      if (process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
      print(status, args);
    } else {
      const line = progress(status);
      if (line !== told) log(style.dim(line));
      told = line;
    }
    await sleep(INTERVAL);
    status = await look();
  }
  print(status, args);
  const unread = status.clusters.some(({ error }) => error !== undefined);
  if (unread) return EXIT.failed;
  if (isGood(status, args)) return EXIT.done;
  if (!args.wait) return EXIT.findings;
  log(`${style.red("error")}: timed out after ${args.timeout} waiting for the mesh to become healthy`);
  return EXIT.failed;
}

function isGood(status: MeshStatus, args: Arguments<typeof options>): boolean {
  return !status.clusters.some(({ error }) => error !== undefined) && !fails(findingsOf(status), args["fail-on"]);
}

function progress(status: MeshStatus): string {
  const [first, ...others] = findingsOf(status).filter(({ severity }) => severity === "error");
  if (!first) return "waiting for warnings to go";
  const more = others.length > 0 ? `, and ${others.length} more` : "";
  return `waiting: ${first.source}: ${first.message}${more}`;
}

function print(status: MeshStatus, { output, details }: Arguments<typeof options>): void {
  if (output === "json" || output === "yaml") {
    printDocument(reportOf(status), output);
  } else if (output === "mermaid") toStdout(showMermaid(status));
  else {
    const lines = showStatus(status, styleFor(process.stdout, process.env), { wide: output === "wide", details });
    toStdout(lines.map((line) => `${line}\n`).join(""));
  }
}
