/** `clustermesh-secrets rotate`: a cluster's new certificates to its importers. */
import { readText } from "../lib/import/peer-files.ts";
import { planRotation, planTrust } from "../lib/mesh/rotate.ts";
import { hasErrors } from "../lib/peer/findings.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { Contexts } from "./cli/clusters.ts";
import { MeshRun, meshOptions, namedClusters, readMesh } from "./cli/mesh-arguments.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { runnable } from "./cli/run.ts";

const options = {
  trust: {
    type: "string",
    describe: "PEM file of a CA that importers trust from now on too; nothing else changes",
    completes: "files",
  },
  ...meshOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 CONTEXT [--trust CA-FILE] --context CONTEXT... | --all-contexts",
  description:
    "Brings a cluster's certificates, as they are now, to the clusters that are connected with it. Before its CA changes: " +
    "--trust, so that importers take the old and the new one; and let its etcd serve with both (etcd reads its CA file at " +
    "its start only). After it has changed: again, without --trust.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster2 --context cluster1 --context cluster3", "cluster2's certificates were renewed"],
    ["$0 cluster2 --trust new-ca.crt --all-contexts", "before its CA changes"],
  ],
  options,
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
