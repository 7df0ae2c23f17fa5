/** `clustermesh-secrets verify`: is it true, seen from here? */

import { readClusters } from "../lib/cilium/read-clusters.ts";
import { readPeers, readText } from "../lib/import/peer-files.ts";
import { type Member, ownOf, peersOf, readMember } from "../lib/mesh/member.ts";
import { peerExpiryRemedy } from "../lib/mesh/pairs.ts";
import { type Finding, hasErrors } from "../lib/peer/findings.ts";
import type { ClientCertificate, SourcedPeer } from "../lib/peer/peer.ts";
import { type PeerProbe, type ProbeOptions, probePeers, skippedProbe } from "../lib/probe/probe.ts";
import { sharedFindings, showFindings } from "../lib/render/findings.ts";
import { escapeControlChars, escapeLine, styleFor } from "../lib/render/style.ts";
import { showProbe, showSum } from "../lib/render/verify.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { describeCall } from "./cli/call.ts";
import { addressesOf, Contexts } from "./cli/clusters.ts";
import { duration, durationInDays } from "./cli/duration.ts";
import { expiresWithinOption, failOnOption, fails, outputOption, printDocument } from "./cli/report.ts";
import { type Arguments, type Command, clusterOptions, runnable } from "./cli/run.ts";
import { toStdout } from "./cli/streams.ts";
import { log, style, warn } from "./cli/terminal.ts";

const options = {
  context: {
    type: "array",
    string: true,
    describe: "context (repeatable): every peer that it is configured for, or FILE as it would come to them",
    completes: "contexts",
  },
  filename: {
    type: "array",
    string: true,
    alias: "f",
    describe: "file, folder or - (repeatable), besides arguments",
    completes: "files",
  },
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

interface Group {
  peers: SourcedPeer[];
  /** Peers that are not tried, since only a node can reach them. */
  skipped: PeerProbe[];
  findings: Finding[];
  own?: ProbeOptions["own"];
  remedyFor?: ProbeOptions["remedyFor"];
}

async function runVerify(args: Arguments<typeof options>, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  if (paths.length === 0 && args.context.length === 0) {
    throw new UserError("neither a file nor a context was named; see --help", EXIT.refused);
  }
  if ((args.cert === undefined) !== (args.key === undefined)) {
    throw new UserError("--cert and --key belong together", EXIT.refused);
  }
  if (paths.length > 0 && args.context.length > 1) {
    throw new UserError("with files, --context says whose certificate to come with: give one", EXIT.refused);
  }
  const stepTimeout = duration(args["step-timeout"], "step-timeout");
  if (stepTimeout === 0) throw new UserError("--step-timeout has to be longer than 0", EXIT.refused);
  const expiresWithin = durationInDays(args["expires-within"], "expires-within");
  const { groups, unreadable, failed } = await groupsOf(args, paths, program, expiresWithin);
  const structured = args.output !== undefined;
  const onStdout = styleFor(process.stdout, process.env);
  const probes: PeerProbe[] = [];
  for (const { peers, own, skipped, remedyFor } of groups) {
    const found = await probePeers(peers, {
      stepTimeout,
      now: new Date(),
      expiresWithin,
      resolve: addressesOf,
      remedyFor,
      ...(own && { own }),
    });
    probes.push(...found, ...skipped);
  }
  const findings = groups.flatMap((group) => group.findings);
  if (structured) printDocument({ peers: probes, findings }, args.output as "json" | "yaml");
  else {
    const shared = sharedFindings(probes.flatMap((probe) => probe.findings));
    const lines = probes.flatMap((probe) => [...showProbe(probe, onStdout, shared), ""]);
    if (shared.size > 0) lines.push(...showFindings([...shared], onStdout), "");
    if (probes.length > 0) lines.push(showSum(probes, onStdout));
    toStdout(lines.map((line) => `${line}\n`).join(""));
    showFindings(findings, style).forEach(log);
  }
  if (unreadable) return EXIT.refused;
  if (failed) return EXIT.failed;
  return fails([...findings, ...probes.flatMap((probe) => probe.findings)], args["fail-on"])
    ? EXIT.findings
    : EXIT.done;
}

async function groupsOf(args: Arguments<typeof options>, paths: string[], program: string, expiresWithin: number) {
  const given = await givenOwn(args);
  const { members, failed } = await readContexts(args);
  if (paths.length === 0) {
    const groups = members.map((member): Group => {
      const { peers, nodeLocal, findings } = peersOf(member);
      const expiry = { importer: member, importers: [member.source], owner: undefined, now: new Date(), expiresWithin };
      return {
        peers,
        skipped: nodeLocal.map((name) => skippedProbe(name, member.source)),
        findings,
        own: { ...ownOf(member), ...given },
        remedyFor: (peer, certificate) => peerExpiryRemedy(peer, certificate, expiry),
      };
    });
    for (const [i, { peers, skipped, findings }] of groups.entries()) {
      if (peers.length + skipped.length + findings.length === 0)
        warn(`${members[i]?.source} is not configured for any peer`);
    }
    return { groups, unreadable: false, failed };
  }
  const [member] = members;
  const call = describeCall(program, options, args);
  const { peers, findings } = await readPeers(paths, { call });
  const names = new Set(peers.map(({ peer }) => peer.name));
  const unreadable = hasErrors(findings.filter(({ key }) => key === undefined || !names.has(key)));
  const group: Group = { peers, skipped: [], findings, own: { ...(member && ownOf(member)), ...given } };
  return { groups: [group], unreadable, failed };
}

/** The clusters of `--context`; those that cannot be read are printed. */
async function readContexts(args: Arguments<typeof options>): Promise<{ members: Member[]; failed: boolean }> {
  if (args.context.length === 0) return { members: [], failed: false };
  using contexts = await Contexts.load(args);
  const { read, failed } = await readClusters(
    await contexts.named(args.context, "read"),
    (cluster) => readMember(cluster, { namespace: args.namespace, forExtract: false }),
    () => undefined,
  );
  for (const { source, installation } of read) for (const line of installation.warnings) warn(`${source}: ${line}`);
  for (const { source, error } of failed) {
    log(`${style.red("error")}: ${escapeLine(source)}: ${escapeControlChars(error.message)}`);
  }
  return { members: read, failed: failed.length > 0 };
}

/** What `--cert`, `--key` and `--ca` name. */
async function givenOwn({
  cert,
  key,
  ca,
}: Arguments<typeof options>): Promise<{ ca?: string; client?: ClientCertificate }> {
  return {
    ...(ca !== undefined && { ca: await readText(ca) }),
    ...(cert !== undefined &&
      key !== undefined && { client: { cert: await readText(cert), key: await readText(key) } }),
  };
}
