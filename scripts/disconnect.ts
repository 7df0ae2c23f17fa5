/** `clustermesh-secrets disconnect`: clusters out of others. */
import { disconnect } from "../lib/mesh/disconnect.ts";
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { isClusterName } from "../lib/peer/peer.ts";
import { inLine } from "../lib/show/style.ts";
import { type Arguments, type Command, runnable } from "./cli.ts";
import { meshOptions, sourcesOf, working } from "./mesh.ts";
import { tell } from "./terminal.ts";

const options = {
  from: {
    type: "array",
    string: true,
    describe: "context of the only cluster to take it out of (repeatable)",
    completes: "contexts",
  },
  ...meshOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 CLUSTER... --from CONTEXT | --context CONTEXT... | --all-contexts",
  description:
    "Takes clusters, by Cilium's names, out of the config and the users of others. The clusters that leave may be gone: " +
    "nobody asks them, and their own configs stay. Agents forget at once what they knew of them.",
  positionals: "CLUSTER",
  examples: [
    ["$0 cluster3 --all-contexts", "out of every other"],
    ["$0 cluster3 --from cluster1", "out of one"],
  ],
  options,
  run: runDisconnect,
};

export const disconnectCommand = runnable(command);

async function runDisconnect(args: Arguments<typeof options>, again = ""): Promise<number> {
  const names = new Set(args.files);
  if (names.size === 0) throw new UserError("no cluster was named; see --help", EXIT.refused);
  const wrong = [...names].find((name) => !isClusterName(name));
  if (wrong !== undefined) {
    throw new UserError(`${JSON.stringify(wrong)} is no name of a cluster in a mesh`, EXIT.refused);
  }
  const sources = await sourcesOf(args, args.from);
  const { read, write, finish } = working(args, "Write this");
  const result = await disconnect(sources, names, { read, write, skipUnreachable: args["skip-unreachable"] });
  if ("reports" in result && result.reports.length === 0) {
    tell(`no cluster that was read is configured for ${inLine([...names].join(", "))}`);
  }
  return finish(result, sources, again);
}
