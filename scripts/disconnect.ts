/** `clustermesh-secrets disconnect`: removes clusters from others. */
import { planDisconnect } from "../lib/mesh/disconnect.ts";
import { hasErrors } from "../lib/peer/findings.ts";
import { isClusterName } from "../lib/peer/peer.ts";
import { EXIT, UsageError, UserError } from "../lib/util/errors.ts";
import { formatCommand } from "./cli/call.ts";
import { openClusterSource } from "./cli/cluster-source.ts";
import { CONTEXT_FLAGS, MESH_EXCLUSIVE, MeshRun, meshOptions, readMesh, selectClusters } from "./cli/mesh-arguments.ts";
import type { Arguments } from "./cli/option.ts";
import { EXIT_CODES, flag, inGroup } from "./cli/options.ts";
import { toProgram } from "./cli/run.ts";

/** The flags of a mesh command, except those for adding or changing peers. */
const {
  addresses: { default: addresses },
  tls: { default: tls },
  "restart-agents": { default: restartAgents },
  restarts: { default: restarts },
  ...applicableOptions
} = meshOptions;

const options = {
  ...inGroup("Target", {
    from: flag.contexts("context to remove CLUSTER from (repeatable, not comma-separated)"),
  }),
  ...applicableOptions,
  ...inGroup("Target", {
    context: flag.contexts("same as --from (repeatable)"),
    users: flag.enabled("revoke the etcd users of CLUSTER if the target manages users; disable with --no-users"),
  }),
};

export const disconnectCommand = toProgram({
  usage: "$0 CLUSTER... (--from CONTEXT... | --all-contexts) [flags]",
  description:
    "Removes CLUSTER, by its Cilium name, from the peers and etcd users of other clusters. CLUSTER itself is not changed " +
    "and may no longer exist: a context of that name is skipped if it is unreachable. Agents drop the state of a removed peer " +
    "immediately.",
  positionals: "CLUSTER",
  examples: [
    ["$0 cluster3 --all-contexts", "Remove cluster3 from all other clusters"],
    ["$0 cluster3 --from cluster1", "Remove cluster3 from cluster1 only"],
  ],
  options,
  exclusive: MESH_EXCLUSIVE,
  exitCodes: EXIT_CODES.write,
  run: runDisconnect,
});

async function runDisconnect(args: Arguments<typeof options>, program: string): Promise<number> {
  const names = new Set(args.files);
  if (names.size === 0) {
    throw new UsageError(`no cluster given: pass CLUSTER..., and --from, ${CONTEXT_FLAGS}`);
  }
  const invalid = [...names].find((name) => !isClusterName(name));
  if (invalid !== undefined) {
    throw new UserError(
      `invalid cluster name ${JSON.stringify(invalid)}: at most 32 of a-z, 0-9 and -, and not "default"`,
      EXIT.refused,
    );
  }
  const all = { ...args, addresses, tls, "restart-agents": restartAgents, restarts };
  using contexts = await openClusterSource(args);
  const clusters = await selectClusters(contexts, all, args.from, "--from");
  const run = new MeshRun(all);
  const mesh = await readMesh(clusters, all, { forExtract: false });
  const { leaving, ...change } = planDisconnect(names, clusters, mesh, {
    skipUnreachable: args["skip-unreachable"],
    existing: contexts.names(),
  });
  if (change.targets.length === 0 && !hasErrors(change.findings)) {
    change.notes.push(`nothing to do: no cluster has this peer: ${[...names].join(", ")}`);
  }
  // --wait ignores the removed clusters, whose own config is unchanged.
  const remaining = clusters.filter(({ source }) => !leaving.includes(source));
  // Awaited, because the connections are closed at the end of this block.
  return await run.execute(change, remaining, formatCommand(program, options, args, args.files), names);
}
