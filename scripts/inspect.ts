/** `clustermesh-secrets inspect`: checks secret files without contacting a cluster. */
import { readPeers } from "../lib/import/peer-files.ts";
import { type Inspection, inspectPeers } from "../lib/peer/inspect.ts";
import { showInspection } from "../lib/render/inspect.ts";
import { styleFor } from "../lib/render/style.ts";
import { EXIT, UsageError } from "../lib/util/errors.ts";
import { ParseCache } from "../lib/util/parse-cache.ts";
import { describeCall } from "./cli/call.ts";
import { parseDurationInDays } from "./cli/duration.ts";
import type { Arguments } from "./cli/option.ts";
import {
  checkOptions,
  EXIT_CODES,
  filenameOption,
  flag,
  inGroup,
  outputFileOption,
  outputOption,
} from "./cli/options.ts";
import { hasFailures, printDocument, printOutput, validateOutputFile } from "./cli/report.ts";
import { toProgram } from "./cli/run.ts";
import { writeLines } from "./cli/streams.ts";

const options = {
  ...inGroup("Input", { filename: filenameOption }),
  ...checkOptions,
  ...inGroup("Output", {
    output: { ...outputOption, choices: ["json", "yaml", "prometheus"] },
    "output-file": outputFileOption("prometheus"),
    details: flag.boolean("show every peer in full, regardless of their number"),
  }),
};

export const inspectCommand = toProgram({
  usage: "$0 FILE... [flags]",
  description:
    "Reads files as an import does, and reports for each peer whether it would connect, to which endpoints, as which " +
    "user and until when, and whether several peers conflict. Contacts no cluster, and never prints private keys.",
  positionals: "FILE",
  examples: [
    ["$0 *-secret.json", "Check all files, individually and together"],
    ["extract-secret | $0 -", "Check the secret of the current context"],
    ["$0 --fail-on=warning secrets/", "Fail on warnings, for CI"],
  ],
  options,
  exitCodes: {
    0: "every peer would connect",
    2: "invalid arguments or files",
    3: `a peer that would not connect, or ${EXIT_CODES.findings}`,
  },
  run: runInspect,
});

async function runInspect(args: Arguments<typeof options>, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  if (paths.length === 0) throw new UsageError("at least one FILE is required (- for stdin)");
  validateOutputFile(args, ["prometheus"]);
  const now = new Date();
  const expiresWithin = parseDurationInDays(args["expires-within"], "expires-within");
  const call = describeCall(program, options, args);
  const cache = new ParseCache();
  const { peers, findings } = await readPeers(paths, { call, cache });
  const inspection = inspectPeers(peers, findings, now, { expiresWithin, cache });
  await printInspection(inspection, args);
  if (inspection.unreadable.length > 0) return EXIT.refused;
  const all = [...inspection.findings, ...inspection.peers.flatMap((peer) => peer.findings)];
  const usesDefaults = inspection.peers.some(({ verdict }) => verdict === "default-certificates");
  return usesDefaults || hasFailures(all, args["fail-on"]) ? EXIT.findings : EXIT.done;
}

/** Prints an inspection to stdout or a file, in the format of `--output`. */
async function printInspection(inspection: Inspection, args: Arguments<typeof options>): Promise<void> {
  if (args.output === "prometheus") {
    // prom-client is loaded only here.
    const { renderFileMetrics } = await import("../lib/render/metrics.ts");
    await printOutput(await renderFileMetrics(inspection), args);
  } else if (args.output !== undefined) printDocument(inspection, args.output as "json" | "yaml");
  else writeLines(showInspection(inspection, styleFor(process.stdout, process.env), args.details));
}
