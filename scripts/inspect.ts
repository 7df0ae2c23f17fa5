/** `clustermesh-secrets inspect`: would it connect, where to, and until when? Offline. */
import { readPeers } from "../lib/import/peer-files.ts";
import { inspectPeers } from "../lib/peer/inspect.ts";
import { showInspection } from "../lib/render/inspect.ts";
import { styleFor } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { ParseCache } from "../lib/util/parse-cache.ts";
import { describeCall } from "./cli/call.ts";
import { durationInDays } from "./cli/duration.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { booleanFlag, checkOptions, FINDINGS_EXIT_CODE, filenameOption, inGroup, outputOption } from "./cli/options.ts";
import { fails, printDocument } from "./cli/report.ts";
import { runnable } from "./cli/run.ts";
import { toStdout } from "./cli/streams.ts";

const options = {
  ...inGroup("Input", { filename: filenameOption }),
  ...checkOptions,
  ...inGroup("Output", {
    output: outputOption,
    details: booleanFlag("show every peer in full, regardless of their number"),
  }),
};

const command: Command<typeof options> = {
  usage: "$0 FILE... [flags]",
  description:
    "Reads files as an import does, and reports for each peer whether it would connect, to which endpoints, as which " +
    "user and until when, and whether several peers conflict. Contacts no cluster, and never prints private keys.",
  positionals: "FILE",
  examples: [
    ["$0 *-secret.json", "Check all files, each by itself and together"],
    ["extract-secret | $0 -", "Check the secret of the current context"],
    ["$0 --fail-on=warning secrets/", "Fail on warnings, for CI"],
  ],
  options,
  exitCodes: { 0: "every peer would connect", 2: "invalid arguments or files", ...FINDINGS_EXIT_CODE },
  run: runInspect,
};

export const inspectCommand = runnable(command);

async function runInspect(args: Arguments<typeof options>, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  if (paths.length === 0) throw new UserError("no file was named; see --help", EXIT.refused);
  const now = new Date();
  const expiresWithin = durationInDays(args["expires-within"], "expires-within");
  const call = describeCall(program, options, args);
  const cache = new ParseCache();
  const { peers, findings } = await readPeers(paths, { call, cache });
  const inspection = inspectPeers(peers, findings, now, { expiresWithin, cache });
  if (args.output !== undefined) printDocument(inspection, args.output as "json" | "yaml");
  else {
    const lines = showInspection(inspection, styleFor(process.stdout, process.env), args.details);
    toStdout(lines.map((line) => `${line}\n`).join(""));
  }
  if (inspection.refused.length > 0) return EXIT.refused;
  const all = [...inspection.findings, ...inspection.peers.flatMap((peer) => peer.findings)];
  const poor = inspection.peers.some(({ verdict }) => verdict === "default-certificates");
  return poor || fails(all, args["fail-on"]) ? EXIT.findings : EXIT.done;
}
