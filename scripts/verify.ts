/** `clustermesh-secrets verify`: tests connections to peers from this machine. */
import { probeGroups } from "../lib/mesh/verify.ts";
import { sharedFindings, showFindings } from "../lib/render/findings.ts";
import { styleFor } from "../lib/render/style.ts";
import { showProbe, showProbeSummary } from "../lib/render/verify.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { ParseCache } from "../lib/util/parse-cache.ts";
import { describeCall } from "./cli/call.ts";
import { resolveAddresses } from "./cli/clusters.ts";
import { parseDuration, parseDurationInDays } from "./cli/duration.ts";
import type { Arguments } from "./cli/option.ts";
import { EXIT_CODES } from "./cli/options.ts";
import { hasFailures, printDocument } from "./cli/report.ts";
import { toProgram } from "./cli/run.ts";
import { writeLines } from "./cli/streams.ts";
import { log, style } from "./cli/terminal.ts";
import { readVerifyInput, validateVerifyFlags, verifyOptions } from "./cli/verify-input.ts";

export const verifyCommand = toProgram({
  usage: "$0 FILE... | --context CONTEXT... [flags]",
  description:
    "Connects to every address of the peers as Cilium does, but from this machine, and reports the first step that fails: " +
    "TCP, TLS, client certificate, etcd user, heartbeat, cluster config or synchronization. Trusts only the certificates " +
    "that Cilium would trust. Writes nothing.",
  positionals: "FILE",
  examples: [
    ["$0 cluster2-secret.json", "Test the peer in a file"],
    ["$0 --context cluster1", "Test all peers of cluster1"],
    ["$0 --context cluster1 cluster2-secret.json", "Test a file without a private key, as cluster1 would connect"],
  ],
  options: verifyOptions,
  exitCodes: { ...EXIT_CODES.read, 0: "all peers connect", 3: EXIT_CODES.findings },
  run: runVerify,
});

async function runVerify(args: Arguments<typeof verifyOptions>, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  validateVerifyFlags(args, paths);
  const stepTimeout = parseDuration(args["step-timeout"], "step-timeout");
  if (stepTimeout === 0) throw new UserError("invalid value for --step-timeout: must be greater than 0", EXIT.refused);
  const expiresWithin = parseDurationInDays(args["expires-within"], "expires-within");
  const call = describeCall(program, verifyOptions, args);
  const checks = { now: new Date(), expiresWithin, cache: new ParseCache() };
  const { groups, unreadable, failed } = await readVerifyInput(args, paths, call, checks);
  const probes = await probeGroups(groups, { ...checks, stepTimeout, resolve: resolveAddresses });
  const findings = groups.flatMap((group) => group.findings);
  if (args.output !== undefined) printDocument({ peers: probes, findings }, args.output as "json" | "yaml");
  else {
    const onStdout = styleFor(process.stdout, process.env);
    const shared = sharedFindings(probes.flatMap((probe) => probe.findings));
    const lines = probes.flatMap((probe) => [...showProbe(probe, onStdout, shared), ""]);
    if (shared.size > 0) lines.push(...showFindings([...shared], onStdout), "");
    if (probes.length > 0) lines.push(showProbeSummary(probes, onStdout));
    writeLines(lines);
    showFindings(findings, style).forEach(log);
  }
  if (unreadable) return EXIT.refused;
  if (failed) return EXIT.failed;
  const all = [...findings, ...probes.flatMap((probe) => probe.findings)];
  return hasFailures(all, args["fail-on"]) ? EXIT.findings : EXIT.done;
}
