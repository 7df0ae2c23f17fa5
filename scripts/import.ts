/** `import-secrets`: merges secret files into clusters. */
import { existsSync } from "node:fs";
import { readPeers } from "../lib/import/peer-files.ts";
import { prepareImport } from "../lib/import/prepare.ts";
import { readTargets } from "../lib/import/read-target.ts";
import { EXIT, UsageError } from "../lib/util/errors.ts";
import { ParseCache } from "../lib/util/parse-cache.ts";
import { describeCall } from "./cli/call.ts";
import { openNamedSource } from "./cli/cluster-source.ts";
import { type ImportArguments, importOptions, parseEndpointFlags } from "./cli/import-flags.ts";
import { EXIT_CODES } from "./cli/options.ts";
import { toProgram } from "./cli/run.ts";
import { warn } from "./cli/terminal.ts";
import { ImportRun } from "./cli/writing.ts";

export const importCommand = toProgram({
  usage: "$0 [--context CONTEXT]... FILE... [flags]",
  description:
    "Merges the secrets of other clusters into the target clusters, so that the targets connect to those clusters. Checks all targets " +
    "before it writes, and keeps existing peers that are not in the files. FILE can be a directory, or - for stdin. --diff " +
    "shows fingerprints in place of private keys; --output prints the keys themselves.",
  positionals: "FILE",
  examples: [
    ["$0 cluster2-secret.json cluster3-secret.json", "Import two clusters into the current context"],
    ["$0 --context cluster1 --context cluster2 *-secret.json", "Import into two clusters; each skips its own file"],
    ["$0 --diff *-secret.json", "Show what would change"],
    ["$0 --prune --yes *-secret.json", "Remove all peers that are not in the files"],
    ["$0 --migrate --context cluster1", "Rewrite existing peers after an upgrade of Cilium"],
    [
      "kubectl get secret cilium-kvstoremesh -n kube-system -o yaml | $0 --context cluster4 -",
      "Copy the peers of the current context",
    ],
  ],
  exitCodes: EXIT_CODES.write,
  options: importOptions,
  exclusive: [
    ["restart-agents", "restarts"],
    ["prune", "migrate"],
    ["diff", "output"],
  ],
  run: runImport,
});

async function runImport(args: ImportArguments, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  const endpoints = parseEndpointFlags(args.endpoint);
  if (paths.length === 0 && !args.migrate && endpoints.size === 0) {
    const file = args.context.find((one) => existsSync(one));
    const hint = file === undefined ? "" : `; ${file} is the value of --context`;
    throw new UsageError(`at least one FILE is required (- for stdin)${hint}`);
  }
  const run = new ImportRun(args, { readsStdin: paths.includes("-"), showsPlan: args.prune || args.migrate });
  using contexts = await openNamedSource(args, args.context, "--context");
  const clusters = await contexts.select(args.context);
  // --prune is omitted: rerun with a single file, it would remove all other peers.
  const call = describeCall(program, importOptions, { ...args, prune: false });
  const cache = new ParseCache();
  const [read, files] = await Promise.all([
    readTargets(clusters, { namespace: args.namespace, cache }),
    readPeers(paths, { call, cache }),
  ]);
  read.warnings.forEach(warn);
  const prepared = await prepareImport(
    read.targets.map((target) => ({ ...target, peers: files.peers })),
    {
      ...run.options,
      plan: { ...run.options.plan, prune: args.prune, migrate: args.migrate },
      endpoints,
      findings: [...files.findings, ...read.findings],
      peers: files.peers,
    },
  );
  const confirmed = await run.review(prepared);
  if (!confirmed) return EXIT.refused;
  const failed = read.failed.map((one) => ({ ...one, state: "failed" as const, writes: 0 }));
  const reports = [...failed, ...(await run.apply(confirmed))];
  const order = clusters.map(({ source }) => source);
  return run.finish(reports.sort((a, b) => order.indexOf(a.source) - order.indexOf(b.source)));
}
