/** `clustermesh-secrets rotate`: distributes the certificates of a cluster to its peers. */
import { readText } from "../lib/import/peer-files.ts";
import { planRotation, planTrust } from "../lib/mesh/rotate.ts";
import { hasErrors } from "../lib/peer/findings.ts";
import { UsageError } from "../lib/util/errors.ts";
import { formatCommand } from "./cli/call.ts";
import { openClusterSource } from "./cli/cluster-source.ts";
import { MESH_EXCLUSIVE, MeshRun, meshOptions, readMesh, selectClusters } from "./cli/mesh-arguments.ts";
import type { Arguments } from "./cli/option.ts";
import { EXIT_CODES, flag, inGroup } from "./cli/options.ts";
import { toProgram } from "./cli/run.ts";

const options = {
  ...inGroup("Input", {
    trust: flag.file("PEM file of a CA to trust in addition; changes nothing else"),
  }),
  ...meshOptions,
};

export const rotateCommand = toProgram({
  usage: "$0 CONTEXT [--trust CA-FILE] (--context CONTEXT... | --all-contexts) [flags]",
  description:
    "Writes the current certificates of a cluster into the clusters that are connected with it. To replace its CA, first " +
    "run the command with --trust, so that the other clusters trust the old and the new CA, and restart its etcd with " +
    "both CAs (etcd reads its CA file at startup only). Rerun the command without --trust once the CA is replaced.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster2 --context cluster1 --context cluster3", "Distribute renewed certificates of cluster2"],
    ["$0 cluster2 --trust new-ca.crt --all-contexts", "Trust a new CA of cluster2 before it is used"],
  ],
  options,
  exclusive: MESH_EXCLUSIVE,
  exitCodes: EXIT_CODES.write,
  run: runRotate,
});

async function runRotate(args: Arguments<typeof options>, program: string): Promise<number> {
  const [name, ...others] = args.files;
  if (name === undefined || others.length > 0) throw new UsageError("exactly one CONTEXT is required");
  const trust = args.trust === undefined ? undefined : await readText(args.trust);
  using contexts = await openClusterSource(args);
  const named = await selectClusters(contexts, args);
  const importers = named.filter(({ source }) => source !== name);
  const run = new MeshRun(args);
  const own = trust === undefined ? await contexts.select([name]) : [];
  const [rotated, mesh] = await Promise.all([
    readMesh(own, args, { forExtract: true }),
    readMesh(importers, args, { forExtract: false }),
  ]);
  const [member] = rotated.members;
  const skipUnreachable = args["skip-unreachable"];
  const change =
    trust !== undefined
      ? planTrust(name, trust, mesh, { skipUnreachable, existing: contexts.names() })
      : member
        ? planRotation(member, mesh, { skipUnreachable, now: run.now })
        : { targets: [], peers: [], findings: rotated.unreadable, omitted: [], notes: [] };
  if (change.targets.length + change.omitted.length === 0 && !hasErrors(change.findings)) {
    change.notes.push(`nothing to do: no cluster has this peer: ${name}`);
  }
  // Awaited, because the connections are closed at the end of this block.
  return await run.execute(change, [...own, ...importers], formatCommand(program, options, args, args.files));
}
