/** `extract-secret`: writes the secret of a cluster to a file. */
import { type Extraction, extract, extractWhenReachable } from "../lib/extract/extract.ts";
import { writePeerFile } from "../lib/peer/secret.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { writePrivateFile } from "../lib/util/private-file.ts";
import { openNamedSource } from "./cli/cluster-source.ts";
import { parseDuration } from "./cli/duration.ts";
import { type ExtractArguments, extractOptions, readContextName, readExtractOptions } from "./cli/extract-flags.ts";
import { EXIT_CODES } from "./cli/options.ts";
import { toProgram } from "./cli/run.ts";
import { writeStdout } from "./cli/streams.ts";
import { note, warn, warnOfExposedKey } from "./cli/terminal.ts";

export const extractCommand = toProgram({
  usage: "$0 [CONTEXT] [flags]",
  description:
    "Prints a Secret for import-secrets with everything that other clusters need to connect to this one: endpoint, host " +
    "alias, CA, client certificate and private key. The Secret has no private key with authMode cluster, or if " +
    "certificates come from CSI, Vault or SPIFFE. Protect the file like any private key.",
  positionals: "CONTEXT",
  examples: [
    ["$0 --output-file cluster1-secret.json", "Extract the current context into a file that only you can read"],
    ["$0 cluster2 --output-file cluster2-secret.json", "Extract another context"],
    ["$0 --endpoint lb.example.com:2379 --output-file cluster1-secret.json", "Use the address of a load balancer"],
    ["$0 --keyless > cluster1-secret.json", "Omit the private key, if all clusters trust one CA"],
  ],
  exitCodes: EXIT_CODES.read,
  options: extractOptions,
  exclusive: [["keyless", "external-workload"]],
  run: runExtract,
});

async function runExtract(args: ExtractArguments): Promise<number> {
  const options = readExtractOptions(args);
  const timeout = parseDuration(args.timeout, "timeout");
  const names = readContextName(args);
  using contexts = await openNamedSource(args, names, "CONTEXT");
  const [cluster] = await contexts.select(names);
  if (!cluster) throw new UserError("no context", EXIT.refused);

  const { peer, targetFacts, warnings, notes } = args.wait
    ? await logProgress(extractWhenReachable(cluster.api, timeout, options))
    : await extract(cluster.api, options);
  warnings.forEach(warn);
  notes.forEach(note);

  const secret = writePeerFile(peer, targetFacts);
  const text =
    args.output === "yaml"
      ? (await import("yaml")).stringify(secret, { lineWidth: 0, version: "1.1" })
      : `${JSON.stringify(secret, null, 2)}\n`;
  if (args["output-file"] !== undefined) {
    await writePrivateFile(args["output-file"], text);
  } else {
    writeStdout(text);
    if (peer.client !== "importer") warnOfExposedKey("use --output-file FILE to create it with mode 0600");
  }
  return EXIT.done;
}

/** Logs the progress of an extraction, and returns its result. */
async function logProgress(steps: AsyncGenerator<string, Extraction>): Promise<Extraction> {
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return value;
    note(value);
  }
}
