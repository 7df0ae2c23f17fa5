/** `clustermesh-secrets disconnect`: clusters out of others. */
import { disconnect } from "../lib/mesh/disconnect.ts";
import { isClusterName } from "../lib/peer/peer.ts";
import { escapeLine } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { contextNamesOf } from "./cli/clusters.ts";
import { meshOptions, prepareRun, sourcesOf } from "./cli/mesh-arguments.ts";
import { type Arguments, type Command, runnable } from "./cli/run.ts";
import { log } from "./cli/terminal.ts";

/** Without what decides how peers are reached: none is added or changed here. */
const {
  addresses: { default: addresses },
  tls: { default: tls },
  "restart-agents": { default: restartAgents },
  restarts: { default: restarts },
  ...applicableOptions
} = meshOptions;

const options = {
  from: {
    type: "array",
    string: true,
    describe: "context of the only cluster to take it out of (repeatable)",
    completes: "contexts",
  },
  ...applicableOptions,
  users: { type: "boolean", default: true, describe: "revoke their etcd users where users are managed; --no-users" },
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 CLUSTER... --from CONTEXT | --context CONTEXT... | --all-contexts",
  description:
    "Takes clusters, by Cilium's names, out of the config and the users of others. The clusters that leave may be gone: " +
    "they are not contacted, and their own configs stay. A context with the name of one of them, or of its cluster, is skipped " +
    "if it does not answer. Agents forget at once what they knew of them.",
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
  const all = { ...args, addresses, tls, "restart-agents": restartAgents, restarts };
  const sources = await sourcesOf(all, args.from);
  const { read, write, finish } = prepareRun(all, "Write this");
  const result = await disconnect(sources, names, {
    read,
    write,
    skipUnreachable: args["skip-unreachable"],
    existing: await contextNamesOf(args),
    log: (line) => log(escapeLine(line)),
  });
  if ("reports" in result && result.reports.length === 0) {
    log(`no cluster that was read is configured for ${escapeLine([...names].join(", "))}`);
  }
  // What a cluster that leaves still has of the others is no part of the mesh that --wait waits for.
  const staying = sources.filter(({ source }) => !result.leaving.includes(source));
  return finish(result, staying, again);
}
