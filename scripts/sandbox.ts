/** `clustermesh-secrets sandbox`: keeps the embedded clusters up. */
import { once } from "node:events";
import { enumerate } from "../lib/render/style.ts";
import { servingClusters, startSandbox } from "../lib/sandbox/sandbox.ts";
import { EXIT } from "../lib/util/errors.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { booleanFlag, countFlag, inGroup } from "./cli/options.ts";
import { runnable } from "./cli/run.ts";
import { log, style } from "./cli/terminal.ts";

const options = inGroup("Clusters", {
  clusters: { ...countFlag("number of clusters; all run Cilium 1.20, unless there are three", 3), max: 511 },
  "shared-ca": booleanFlag("use one CA for all clusters"),
  csi: booleanFlag("mount certificates from CSI volumes instead of Secrets; implies --shared-ca"),
});

const command: Command<typeof options> = {
  usage: "$0 [flags]",
  description:
    "Starts embedded clusters on loopback addresses, prints the KUBECONFIG to export in another terminal, and runs until " +
    "interrupted. By default there are three, with Cilium 1.14, 1.18 and 1.20. Their clustermesh-apiservers listen on " +
    "this machine, so that verify and status --probe make real connections.",
  examples: [
    ["$0", "Run three clusters"],
    ["$0 --clusters 10 --shared-ca", "Run ten clusters that trust one CA"],
  ],
  options,
  exitCodes: { 0: "stopped", 1: "a cluster failed to start", 2: "invalid arguments" },
  run: runSandbox,
};

export const sandboxCommand = runnable(command);

async function runSandbox({ clusters: count, "shared-ca": sharedCa, csi }: Arguments<typeof options>): Promise<number> {
  const sandbox = await startSandbox({ clusters: await servingClusters({ count, sharedCa, csi }) });
  const stopped = Promise.race(["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => once(process, signal)));
  process.stdout.write(`export KUBECONFIG=${sandbox.kubeconfig}\n`);
  const contexts = sandbox.clusters.map(({ description: { name, version } }) => `${name} (Cilium ${version})`);
  log(`${style.bold("contexts")}: ${enumerate(contexts)}`);
  log(style.dim("up until Ctrl-C"));
  await stopped;
  await sandbox.stop();
  return EXIT.done;
}
