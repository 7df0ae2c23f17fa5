/** `clustermesh-secrets sync`: keeps clusters connected with each other. */
import { EXIT_CODES } from "./cli/options.ts";
import { toProgram } from "./cli/run.ts";
import { type SyncArguments, syncOptions } from "./cli/sync-flags.ts";
import { SyncRun } from "./cli/sync-run.ts";

export const syncCommand = toProgram({
  usage: "$0 (CONTEXT... | --all-contexts | --contexts-file FILE | --clusters-from SOURCE) [flags]",
  description:
    "Connects the clusters as connect does, and keeps them connected: watches their certificates, Services, nodes and " +
    "configs, and writes what has changed. Shows the first plan and asks for confirmation. Ctrl-C ends after the write " +
    "under way. Nothing is removed unless --prune-after is set, and no pod is restarted unless --restarts is set.",
  positionals: "CONTEXT",
  examples: [
    ["$0 --all-contexts", "Keep all clusters of the kubeconfig connected"],
    ["$0 --once --yes --contexts-file mesh.txt", "Run one round, as in a CronJob"],
    ["$0 --clusters-from=argocd --clusters-namespace argocd", "Connect the clusters of Argo CD"],
    ["$0 --hub cluster1 cluster1 cluster2 cluster3", "Keep a star connected"],
  ],
  options: syncOptions,
  exclusive: [
    ["hub", "pairs"],
    ["once", "listen"],
    ["all-contexts", "clusters-from"],
  ],
  exitCodes: {
    ...EXIT_CODES.write,
    0: "stopped by SIGTERM, or with --once: all changes written, or nothing to change",
    3: "with --once: something is held back, as the log shows",
    130: "stopped by Ctrl-C, after the write under way",
    143: "with --once: stopped by SIGTERM, after the write under way",
  },
  run: runSync,
});

async function runSync(args: SyncArguments): Promise<number> {
  await using run = await SyncRun.open(args);
  // Awaited, because the state is closed at the end of this block.
  return await (args.once ? run.runOnce() : run.runUntilStopped());
}
