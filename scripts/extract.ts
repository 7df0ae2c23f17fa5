/** `extract-secret`: cluster -> file. */
import { type Extraction, extract, extractWhenReachable } from "../lib/extract/extract.ts";
import { writePeerFile } from "../lib/peer/secret.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { writePrivately } from "../lib/util/private-file.ts";
import { Contexts } from "./cli/clusters.ts";
import { duration } from "./cli/duration.ts";
import { type ExtractArguments, extractOptions, namedContexts, readExtractOptions } from "./cli/extract-flags.ts";
import type { Command } from "./cli/option.ts";
import { runnable } from "./cli/run.ts";
import { toStdout } from "./cli/streams.ts";
import { note, warn, warnOfKey } from "./cli/terminal.ts";

const command: Command<typeof extractOptions> = {
  usage: "Usage: $0 [CONTEXT] > FILE",
  description:
    "Prints what other clusters need to reach this one, as a Secret for import-secrets: endpoint, host alias, CA, and " +
    "client certificate with its private key (none in authMode cluster, nor if certificates come by CSI, Vault or SPIFFE). " +
    "Keep the file as you keep keys.",
  positionals: "CONTEXT",
  examples: [
    ["$0 --output-file cluster1-secret.json", "of the current context; a file that only you can read"],
    ["$0 c2 --output-file c2-secret.json", "of another context"],
    ["$0 --endpoint lb.example.com:2379 --output-file c1.json", "behind a proxy or a static address"],
    ["$0 --keyless > c1.json", "no key leaves the cluster: all clusters trust one CA"],
  ],
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
    await writePrivately(args["output-file"], text);
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
