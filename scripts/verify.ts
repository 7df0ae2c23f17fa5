/** `clustermesh-secrets verify`: is it true, seen from here? */
import { probeGroups } from "../lib/mesh/verify.ts";
import { sharedFindings, showFindings } from "../lib/render/findings.ts";
import { styleFor } from "../lib/render/style.ts";
import { showProbe, showSum } from "../lib/render/verify.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { ParseCache } from "../lib/util/parse-cache.ts";
import { describeCall } from "./cli/call.ts";
import { addressesOf } from "./cli/clusters.ts";
import { duration, durationInDays } from "./cli/duration.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { clusterOptions, expiresWithinOption, failOnOption, filenameOption, outputOption } from "./cli/options.ts";
import { fails, printDocument } from "./cli/report.ts";
import { runnable } from "./cli/run.ts";
import { toStdout } from "./cli/streams.ts";
import { log, style } from "./cli/terminal.ts";
import { checkVerifyFlags, readVerifyInput } from "./cli/verify-input.ts";

const options = {
  context: {
    type: "array",
    string: true,
    describe: "context (repeatable): every peer that it is configured for, or FILE as it would come to them",
    completes: "contexts",
  },
  filename: filenameOption,
  cert: {
    type: "string",
    describe: "client certificate (PEM file) for peers that come without one",
    completes: "files",
  },
  key: { type: "string", describe: "its private key (PEM file)", completes: "files" },
  ca: { type: "string", describe: "CA (PEM file) for peers that come without one", completes: "files" },
  "step-timeout": { type: "string", default: "5s", describe: "how long each step may take" },
  "expires-within": expiresWithinOption,
  "fail-on": failOnOption,
  output: outputOption,
  ...clusterOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 FILE... | --context CONTEXT...",
  description:
    "Connects to peers as Cilium would, from here, and tells the first step that fails: TCP, TLS, the client certificate, " +
    "the etcd user, the heartbeat, the cluster's config, the synchronization. Each address is tried by itself; nothing is " +
    "trusted that Cilium would not trust, and nothing is written.",
  positionals: "FILE",
  examples: [
    ["$0 cluster2-secret.json", "would this connect, from here?"],
    ["$0 --context cluster1", "every peer that cluster1 is configured for"],
    ["$0 --context cluster1 cluster2-secret.json", "a file without a key, as cluster1 would come"],
  ],
  options,
  run: runVerify,
};

export const verifyCommand = runnable(command);

async function runVerify(args: Arguments<typeof options>, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  checkVerifyFlags(args, paths);
  const stepTimeout = duration(args["step-timeout"], "step-timeout");
  if (stepTimeout === 0) throw new UserError("--step-timeout has to be longer than 0", EXIT.refused);
  const expiresWithin = durationInDays(args["expires-within"], "expires-within");
  const call = describeCall(program, options, args);
  const judging = { now: new Date(), expiresWithin, cache: new ParseCache() };
  const { groups, unreadable, failed } = await readVerifyInput(args, paths, call, judging);
  const probes = await probeGroups(groups, { ...judging, stepTimeout, resolve: addressesOf });
  const findings = groups.flatMap((group) => group.findings);
  if (args.output !== undefined) printDocument({ peers: probes, findings }, args.output as "json" | "yaml");
  else {
    const onStdout = styleFor(process.stdout, process.env);
    const shared = sharedFindings(probes.flatMap((probe) => probe.findings));
    const lines = probes.flatMap((probe) => [...showProbe(probe, onStdout, shared), ""]);
    if (shared.size > 0) lines.push(...showFindings([...shared], onStdout), "");
    if (probes.length > 0) lines.push(showSum(probes, onStdout));
    toStdout(lines.map((line) => `${line}\n`).join(""));
    showFindings(findings, style).forEach(log);
  }
  if (unreadable) return EXIT.refused;
  if (failed) return EXIT.failed;
  const all = [...findings, ...probes.flatMap((probe) => probe.findings)];
  return fails(all, args["fail-on"]) ? EXIT.findings : EXIT.done;
}
