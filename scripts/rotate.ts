/** `clustermesh-secrets rotate`: a cluster's new certificates to its importers. */
import { readText } from "../lib/import/peer-files.ts";
import { planRotation, planTrust } from "../lib/mesh/rotate.ts";
import { hasErrors } from "../lib/peer/findings.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { Contexts } from "./cli/clusters.ts";
import { MeshRun, meshOptions, namedClusters, readMesh } from "./cli/mesh-arguments.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { inGroup, stringFlag, WRITE_EXIT_CODES } from "./cli/options.ts";
import { runnable } from "./cli/run.ts";

const options = {
  ...inGroup("Input", {
    trust: stringFlag("PEM file of a CA to trust in addition; changes nothing else", { completes: "files" }),
  }),
  ...meshOptions,
};

const command: Command<typeof options> = {
  usage: "$0 CONTEXT [--trust CA-FILE] --context CONTEXT... | --all-contexts [flags]",
  description:
    "Writes the current certificates of a cluster into the clusters that are connected with it. To replace its CA, first " +
    "run the command with --trust, so that the other clusters trust the old and the new CA, and restart its etcd with " +
    "both CAs (etcd reads its CA file at startup only). Run the command again without --trust once the CA is replaced.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster2 --context cluster1 --context cluster3", "Distribute renewed certificates of cluster2"],
    ["$0 cluster2 --trust new-ca.crt --all-contexts", "Trust a new CA of cluster2 before it is used"],
  ],
  options,
  exitCodes: WRITE_EXIT_CODES,
  run: runRotate,
};

export const rotateCommand = runnable(command);

async function runRotate(args: Arguments<typeof options>, again = ""): Promise<number> {
  const [name, ...others] = args.files;
  if (name === undefined || others.length > 0) throw new UserError("name one cluster; see --help", EXIT.refused);
  const trust = args.trust === undefined ? undefined : await readText(args.trust);
  using contexts = await Contexts.load(args);
  const named = await namedClusters(contexts, args, []);
  const importers = named.filter(({ source }) => source !== name);
  const run = new MeshRun(args, "Write these certificates");
  const own = trust === undefined ? await contexts.named([name], "taken") : [];
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
        : { targets: [], peers: [], findings: rotated.unread, left: [], notes: [] };
  if (change.targets.length + change.left.length === 0 && !hasErrors(change.findings)) {
    change.notes.push(`no cluster that was read is configured for ${name}`);
  }
  // Awaited, for the connections are closed at the end of this block.
  return await run.carryOut(change, [...own, ...importers], again);
}
