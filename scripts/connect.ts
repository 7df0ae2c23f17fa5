/** `clustermesh-secrets connect`: contexts -> a mesh. */
import type { Cluster } from "../lib/kube/cluster.ts";
import { meshMembersOf, planConnect } from "../lib/mesh/connect.ts";
import { showFindings } from "../lib/render/findings.ts";
import { enumerate, escapeLine } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { Contexts } from "./cli/clusters.ts";
import { MeshRun, meshOptions, namedClusters, readMesh, readOptions } from "./cli/mesh-arguments.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { inGroup, stringFlag, WRITE_EXIT_CODES } from "./cli/options.ts";
import { runnable } from "./cli/run.ts";
import { log, style, warn } from "./cli/terminal.ts";

/** How many clusters are listed: all that a mesh may have. */
const MOST_LISTED = 600;

const options = {
  ...inGroup("Target", {
    hub: stringFlag("context of the hub of a star: the other clusters connect to it only", { completes: "contexts" }),
    with: stringFlag("context of a mesh member: the other clusters connect to it and to all its peers", {
      completes: "contexts",
    }),
  }),
  ...meshOptions,
};

const command: Command<typeof options> = {
  usage: "$0 CONTEXT... [--hub CONTEXT | --with CONTEXT] [flags]",
  description:
    "Reads every cluster once, checks all of them together, shows the plan, asks for confirmation and writes. Running the " +
    "command again writes only what is missing.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster1 cluster2 cluster3", "Connect every cluster with every other"],
    ["$0 --hub cluster1 cluster1 cluster2 cluster3", "Connect cluster2 and cluster3 with cluster1 only"],
    ["$0 --with cluster1 cluster4", "Add cluster4 to the mesh of cluster1"],
    ["$0 --all-contexts --diff", "Show what would change"],
  ],
  options,
  exitCodes: WRITE_EXIT_CODES,
  run: runConnect,
};

export const connectCommand = runnable(command);

async function runConnect(args: Arguments<typeof options>, again = ""): Promise<number> {
  const { hub, with: known } = args;
  if (hub !== undefined && known !== undefined) {
    throw new UserError("--hub and --with are mutually exclusive", EXIT.refused);
  }
  using contexts = await Contexts.load(args);
  const named = await namedClusters(contexts, args, args.files);
  const run = new MeshRun(args, "Connect these clusters");
  const extra = known ?? hub;
  let clusters = extra === undefined ? named : union(await contexts.named([extra], "taken"), named);
  let joining: Set<string> | undefined;
  let lacking: string[] = [];
  if (known !== undefined) {
    joining = new Set(named.map(({ source }) => source).filter((source) => source !== known));
    const first = clusters.find(({ source }) => source === known);
    if (!first || joining.size === 0) throw new UserError("--with wants others that join it", EXIT.refused);
    const all = await contexts.all("taken");
    const members = await meshMembersOf(first, new Map(all.map((one) => [one.source, one])), readOptions(args));
    if (members.unread.length > 0) {
      showFindings(members.unread, style, args.details).forEach(log);
      return args.diff ? EXIT.refused : EXIT.failed;
    }
    const newcomers = joining;
    lacking = members.missing.filter((name) => !newcomers.has(name));
    logMembers(known, members.found, lacking);
    clusters = union(clusters, members.found);
  }
  if (clusters.length < 2) throw new UserError("connecting takes two clusters or more", EXIT.refused);
  const mesh = await readMesh(clusters, args, { forExtract: true });
  const change = planConnect(mesh, { hub, joining, skipUnreachable: args["skip-unreachable"], now: run.now });
  const code = await run.carryOut(change, clusters, again);
  return code === EXIT.done && lacking.length > 0 ? EXIT.findings : code;
}

function logMembers(known: string, found: readonly Cluster[], lacking: readonly string[]): void {
  const names = found.map(({ source }) => source);
  if (names.length > 0) log(`${known} knows ${escapeLine(enumerate(names, MOST_LISTED))}`);
  if (lacking.length > 0) {
    warn(`${known} knows ${enumerate(lacking, MOST_LISTED)} too, but no context of that name leads there`);
  }
}

function union(some: readonly Cluster[], others: readonly Cluster[]): Cluster[] {
  return [...new Map([...some, ...others].map((one) => [one.source, one])).values()];
}
