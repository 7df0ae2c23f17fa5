/** `clustermesh-secrets connect`: connects clusters by their contexts. */
import type { Cluster } from "../lib/kube/cluster.ts";
import { assertTwoClusters, meshMembersOf, planConnect } from "../lib/mesh/connect.ts";
import { showFindings } from "../lib/render/findings.ts";
import { enumerate, escapeLine } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { formatCommand } from "./cli/call.ts";
import { openClusterSource } from "./cli/cluster-source.ts";
import { MESH_EXCLUSIVE, MeshRun, meshOptions, readMesh, selectClusters, toReadOptions } from "./cli/mesh-arguments.ts";
import type { Arguments } from "./cli/option.ts";
import { EXIT_CODES, flag, inGroup } from "./cli/options.ts";
import { toProgram } from "./cli/run.ts";
import { log, style, warn } from "./cli/terminal.ts";

/** Maximum number of names in a line: more than the clusters of the largest mesh. */
const MAX_LISTED = 600;

const options = {
  ...inGroup("Target", {
    hub: flag.context("context of the hub of a star: the other clusters connect only to it"),
    with: flag.context("context of a mesh member: the other clusters connect to it and to all its peers"),
  }),
  ...meshOptions,
};

export const connectCommand = toProgram({
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
  exclusive: [["hub", "with"], ...MESH_EXCLUSIVE],
  exitCodes: EXIT_CODES.write,
  run: runConnect,
});

async function runConnect(args: Arguments<typeof options>, program: string): Promise<number> {
  const { hub, with: member } = args;
  using contexts = await openClusterSource(args);
  const named = await selectClusters(contexts, args, args.files, "CONTEXT...");
  const run = new MeshRun(args);
  const extra = member ?? hub;
  let clusters = extra === undefined ? named : mergeClusters(await contexts.select([extra]), named);
  let joining: Set<string> | undefined;
  let missing: string[] = [];
  if (member !== undefined) {
    joining = new Set(named.map(({ source }) => source).filter((source) => source !== member));
    const first = clusters.find(({ source }) => source === member);
    if (!first || joining.size === 0) {
      throw new UserError("--with requires at least one other CONTEXT to add to the mesh", EXIT.refused);
    }
    const all = await contexts.selectAll();
    const members = await meshMembersOf(first, new Map(all.map((one) => [one.source, one])), toReadOptions(args));
    if (members.unreadable.length > 0) {
      showFindings(members.unreadable, style, args.details).forEach(log);
      return args.diff ? EXIT.refused : EXIT.failed;
    }
    const newcomers = joining;
    missing = members.missing.filter((name) => !newcomers.has(name));
    logPeers(member, members.found, missing);
    clusters = mergeClusters(clusters, members.found);
  }
  assertTwoClusters(clusters);
  const mesh = await readMesh(clusters, args, { forExtract: true });
  const change = planConnect(mesh, { hub, joining, skipUnreachable: args["skip-unreachable"], now: run.now });
  const code = await run.execute(change, clusters, formatCommand(program, options, args, args.files));
  return code === EXIT.done && missing.length > 0 ? EXIT.findings : code;
}

function logPeers(member: string, found: readonly Cluster[], missing: readonly string[]): void {
  const names = found.map(({ source }) => source);
  if (names.length > 0) log(`peers of ${escapeLine(member)}: ${escapeLine(enumerate(names, MAX_LISTED))}`);
  if (missing.length > 0) {
    warn(`skipped peers of ${member} without a context of that name: ${enumerate(missing, MAX_LISTED)}`);
  }
}

function mergeClusters(some: readonly Cluster[], others: readonly Cluster[]): Cluster[] {
  return [...new Map([...some, ...others].map((one) => [one.source, one])).values()];
}
