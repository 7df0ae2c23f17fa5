/** `extract-secret`: cluster -> file. */
import { type Extraction, extract, extractWhenReachable } from "../lib/extract/extract.ts";
import { writePeerFile } from "../lib/peer/secret.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { writePrivateFile } from "../lib/util/private-file.ts";
import { Contexts } from "./cli/clusters.ts";
import { duration } from "./cli/duration.ts";
import { type ExtractArguments, extractOptions, namedContexts, readExtractOptions } from "./cli/extract-flags.ts";
import type { Command } from "./cli/option.ts";
import { READ_EXIT_CODES } from "./cli/options.ts";
import { runnable } from "./cli/run.ts";
import { toStdout } from "./cli/streams.ts";
import { note, warn, warnOfKey } from "./cli/terminal.ts";

const command: Command<typeof extractOptions> = {
  usage: "$0 [CONTEXT] [flags]",
  description:
    "Prints a Secret for import-secrets with everything that other clusters need to connect to this one: endpoint, host " +
    "alias, CA, client certificate and private key. There is no private key in authMode cluster, or if certificates " +
    "are issued by CSI, Vault or SPIFFE. Protect the file like any private key.",
  positionals: "CONTEXT",
  examples: [
    ["$0 --output-file cluster1-secret.json", "Extract the current context into a file that only you can read"],
    ["$0 cluster2 --output-file cluster2-secret.json", "Extract another context"],
    ["$0 --endpoint lb.example.com:2379 --output-file cluster1-secret.json", "Use the address of a load balancer"],
    ["$0 --keyless > cluster1-secret.json", "Omit the private key, if all clusters trust one CA"],
  ],
  exitCodes: READ_EXIT_CODES,
  options: extractOptions,
  run: runExtract,
};

export const extractCommand = runnable(command);

async function runExtract(args: ExtractArguments): Promise<number> {
  const options = readExtractOptions(args);
  const timeout = duration(args.timeout, "timeout");
  using contexts = await Contexts.load(args);
  const [cluster] = await contexts.named(namedContexts(args), "read");
  if (!cluster) throw new UserError("no context", EXIT.refused);

  const { peer, warnings, notes } = args.wait
    ? await waitFor(extractWhenReachable(cluster.api, timeout, options))
    : await extract(cluster.api, options);
  warnings.forEach(warn);
  notes.forEach(note);

  const secret = writePeerFile(peer);
  const text =
    args.output === "yaml"
      ? (await import("yaml")).stringify(secret, { lineWidth: 0, version: "1.1" })
      : `${JSON.stringify(secret, null, 2)}\n`;
  if (args["output-file"] !== undefined) {
    await writePrivateFile(args["output-file"], text);
  } else {
    toStdout(text);
    if (peer.client !== "importer") warnOfKey("--output-file FILE writes one that only you can read");
  }
  return EXIT.done;
}

/** The extraction that comes at last; lines before it are printed. */
async function waitFor(steps: AsyncGenerator<string, Extraction>): Promise<Extraction> {
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return value;
    note(value);
  }
}
