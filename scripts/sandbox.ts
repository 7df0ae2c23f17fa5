/** `clustermesh-secrets sandbox`: keeps the embedded clusters up. */
import { once } from "node:events";
import { enumerate } from "../lib/render/style.ts";
import { servingClusters, startSandbox } from "../lib/sandbox/sandbox.ts";
import { EXIT } from "../lib/util/errors.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { runnable } from "./cli/run.ts";
import { log, style } from "./cli/terminal.ts";

const options = {
  clusters: {
    type: "number",
    min: 1,
    max: 511,
    default: 3,
    describe: "how many; other than three: all of Cilium 1.20",
  },
  "shared-ca": { type: "boolean", default: false, describe: "one CA for all, instead of one each" },
  csi: { type: "boolean", default: false, describe: "certificates by CSI volumes instead of Secrets; one CA for all" },
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 [--clusters N]",
  description:
    "Starts embedded clusters on loopback, by default of Cilium 1.14, 1.18 and 1.20, prints the KUBECONFIG to export, and " +
    "keeps them up until Ctrl-C. Their clustermesh-apiservers answer at addresses of this machine, so that verify and " +
    "status --probe are real.",
  examples: [["$0", "then, in another terminal: export KUBECONFIG=… and extract-secret --context cluster1"]],
  options,
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
