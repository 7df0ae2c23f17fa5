/** `clustermesh-secrets sandbox`: keeps the embedded clusters up. */
import { once } from "node:events";
import { EXIT } from "../lib/peer/errors.ts";
import { defaultClusters, startSandbox } from "../lib/sandbox/sandbox.ts";
import { type Command, main } from "./cli.ts";
import { style, tell } from "./terminal.ts";

const options = {} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0",
  description:
    "Starts three embedded clusters on loopback, of Cilium 1.14, 1.18 and 1.20, prints the KUBECONFIG to export, and " +
    "keeps them up until Ctrl-C. Their nodes do not exist: secrets can be exchanged, but nothing connects.",
  examples: [["$0", "then, in another terminal: export KUBECONFIG=… and extract-secret --context cluster1"]],
  options,
  run: runSandbox,
};

/** Runs it as `program`, with these arguments. */
export const sandboxMain = (program: string, argv: string[]): Promise<void> => main(program, command, argv);

async function runSandbox(): Promise<number> {
  const sandbox = await startSandbox({ clusters: defaultClusters() });
  const stopped = Promise.race(["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => once(process, signal)));
  process.stdout.write(`export KUBECONFIG=${sandbox.kubeconfig}\n`);
  const contexts = sandbox.clusters.map(({ description: { name, version } }) => `${name} (Cilium ${version})`);
  tell(`${style.bold("contexts")}: ${contexts.join(", ")}`);
  tell(style.dim("up until Ctrl-C"));
  await stopped;
  await sandbox.stop();
  return EXIT.done;
}
