/** `clustermesh-secrets disconnect`: removes clusters from others. */
import { planDisconnect } from "../lib/mesh/disconnect.ts";
import { hasErrors } from "../lib/peer/findings.ts";
import { isClusterName } from "../lib/peer/peer.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { Contexts } from "./cli/clusters.ts";
import { MeshRun, meshOptions, namedClusters, readMesh } from "./cli/mesh-arguments.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { inGroup, listFlag, WRITE_EXIT_CODES } from "./cli/options.ts";
import { runnable } from "./cli/run.ts";

/** Without what decides how peers are reached: none is added or changed here. */
const {
  addresses: { default: addresses },
  tls: { default: tls },
  "restart-agents": { default: restartAgents },
  restarts: { default: restarts },
  ...applicableOptions
} = meshOptions;

const options = {
  ...inGroup("Target", {
    from: listFlag("context to remove CLUSTER from (repeatable)", { completes: "contexts" }),
  }),
  ...applicableOptions,
  ...inGroup("Target", {
    users: {
      type: "boolean",
      default: true,
      describe: "revoke the etcd users of CLUSTER if the target manages users; --no-users keeps them",
    },
  }),
};

const command: Command<typeof options> = {
  usage: "$0 CLUSTER... --from CONTEXT | --context CONTEXT... | --all-contexts [flags]",
  description:
    "Removes CLUSTER, by its Cilium name, from the peers and etcd users of other clusters. CLUSTER itself is not changed " +
    "and can be gone: a context of that name is skipped if it is unreachable. Agents drop the state of a removed peer " +
    "immediately.",
  positionals: "CLUSTER",
  examples: [
    ["$0 cluster3 --all-contexts", "Remove cluster3 from all other clusters"],
    ["$0 cluster3 --from cluster1", "Remove cluster3 from cluster1 only"],
  ],
  options,
  exitCodes: WRITE_EXIT_CODES,
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
  using contexts = await Contexts.load(args);
  const clusters = await namedClusters(contexts, all, args.from);
  const run = new MeshRun(all, "Write this");
  const mesh = await readMesh(clusters, all, { forExtract: false });
  const { leaving, ...change } = planDisconnect(names, clusters, mesh, {
    skipUnreachable: args["skip-unreachable"],
    existing: contexts.names(),
  });
  if (change.targets.length === 0 && !hasErrors(change.findings)) {
    change.notes.push(`no cluster that was read is configured for ${[...names].join(", ")}`);
  }
  // What a cluster that leaves still has of the others is no part of the mesh that --wait waits for.
  const staying = clusters.filter(({ source }) => !leaving.includes(source));
  // Awaited, for the connections are closed at the end of this block.
  return await run.carryOut(change, staying, again, names);
}
