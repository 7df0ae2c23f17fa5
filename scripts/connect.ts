/** `clustermesh-secrets connect`: contexts -> a mesh. */
import { connectMesh, meshMembersOf } from "../lib/mesh/connect.ts";
import { showFindings } from "../lib/render/findings.ts";
import { enumerate, escapeLine } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { meshOptions, prepareRun, sourcesOf } from "./cli/mesh-arguments.ts";
import { type Arguments, type Command, runnable } from "./cli/run.ts";
import { log, style, warn } from "./cli/terminal.ts";

const options = {
  hub: {
    type: "string",
    describe: "context that all others are connected with, and with nobody else",
    completes: "contexts",
  },
  with: {
    type: "string",
    describe: "context of a cluster that those named join, and all that it knows",
    completes: "contexts",
  },
  ...meshOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 CONTEXT... [--hub CONTEXT | --with CONTEXT]",
  description:
    "Connects clusters with each other: each is read once, everything is checked over all of them, the plan is shown and " +
    "asked about, and then each is written. Running it again does only what is missing.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster1 cluster2 cluster3", "each with each"],
    ["$0 --hub cluster1 cluster1 cluster2 cluster3", "a star"],
    ["$0 --with cluster1 cluster4", "cluster4 joins cluster1 and those that cluster1 knows"],
    ["$0 --all-contexts --diff", "what would change"],
  ],
  options,
  run: runConnect,
};

export const connectCommand = runnable(command);

async function runConnect(args: Arguments<typeof options>, again = ""): Promise<number> {
  const { hub, with: known } = args;
  if (hub !== undefined && known !== undefined) {
    throw new UserError("--hub and --with are mutually exclusive", EXIT.refused);
  }
  const extra = known ?? hub;
  const named = await sourcesOf(args, args.files);
  const { read, write, finish } = prepareRun(args, "Connect these clusters");
  let sources =
    extra === undefined ? named : withContext(await sourcesOf({ ...args, "all-contexts": false }, [extra]), named);
  let joining: Set<string> | undefined;
  let lacking: string[] = [];
  if (known !== undefined) {
    joining = new Set(named.map(({ source }) => source).filter((source) => source !== known));
    const first = sources.find(({ source }) => source === known);
    if (!first || joining.size === 0) throw new UserError("--with wants others that join it", EXIT.refused);
    const all = await sourcesOf({ ...args, context: [], "contexts-file": undefined, "all-contexts": true }, []);
    const { found, missing, unread } = await meshMembersOf(first, new Map(all.map((one) => [one.source, one])), read);
    if (unread.length > 0) {
      showFindings(unread, style, args.details).forEach(log);
      return args.diff ? EXIT.refused : EXIT.failed;
    }
    const newcomers = joining;
    lacking = missing.filter((name) => !newcomers.has(name));
    if (found.length > 0)
      log(
        `${known} knows ${escapeLine(
          enumerate(
            found.map(({ source }) => source),
            600,
          ),
        )}`,
      );
    if (lacking.length > 0)
      warn(`${known} knows ${enumerate(lacking, 600)} too, but no context of that name leads there`);
    sources = withContext(sources, found);
  }
  if (sources.length < 2) throw new UserError("connecting takes two clusters or more", EXIT.refused);
  const result = await connectMesh(sources, {
    read,
    write,
    hub,
    joining,
    skipUnreachable: args["skip-unreachable"],
  });
  const code = await finish(result, sources, again);
  return code === EXIT.done && lacking.length > 0 ? EXIT.findings : code;
}

function withContext<T extends { source: string }>(some: readonly T[], others: readonly T[]): T[] {
  return [...new Map([...some, ...others].map((one) => [one.source, one])).values()];
}
