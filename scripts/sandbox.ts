/** `clustermesh-secrets sandbox`: runs embedded clusters until interrupted. */
import { once } from "node:events";
import { enumerate } from "../lib/render/style.ts";
import { servingClusters, startSandbox } from "../lib/sandbox/sandbox.ts";
import { EXIT } from "../lib/util/errors.ts";
import type { Arguments } from "./cli/option.ts";
import { flag, inGroup } from "./cli/options.ts";
import { toProgram } from "./cli/run.ts";
import { log, style } from "./cli/terminal.ts";

const options = inGroup("Clusters", {
  clusters: { ...flag.count("number of clusters; all run Cilium 1.20, unless there are three", 3), max: 511 },
  "shared-ca": flag.boolean("use one CA for all clusters"),
  csi: flag.boolean("mount certificates from CSI volumes instead of Secrets; implies --shared-ca"),
});

export const sandboxCommand = toProgram({
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
});

async function runSandbox({ clusters: count, "shared-ca": sharedCa, csi }: Arguments<typeof options>): Promise<number> {
  const sandbox = await startSandbox({ clusters: await servingClusters({ count, sharedCa, csi }) });
  const stopped = Promise.race(["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => once(process, signal)));
  process.stdout.write(`export KUBECONFIG=${sandbox.kubeconfig}\n`);
  const contexts = sandbox.clusters.map(({ description: { name, version } }) => `${name} (Cilium ${version})`);
  log(`${style.bold("contexts")}: ${enumerate(contexts)}`);
  log(style.dim("running; press Ctrl-C to stop"));
  await stopped;
  await sandbox.stop();
  return EXIT.done;
}
