/** The flags of `verify`, and the peers that they select. */
import { existsSync } from "node:fs";
import { readClusters } from "../../lib/cilium/read-clusters.ts";
import { readPeers, readText } from "../../lib/import/peer-files.ts";
import { type Member, ownOf, readMember } from "../../lib/mesh/member.ts";
import { type ProbeGroup, probeGroupOf } from "../../lib/mesh/verify.ts";
import { hasErrors } from "../../lib/peer/findings.ts";
import type { Call } from "../../lib/peer/foreign/foreign.ts";
import { isClusterName } from "../../lib/peer/peer.ts";
import type { ProbeOptions } from "../../lib/probe/probe.ts";
import { escapeLine } from "../../lib/render/style.ts";
import { EXIT, UsageError, UserError } from "../../lib/util/errors.ts";
import type { ParseCache } from "../../lib/util/parse-cache.ts";
import { openClusterSource } from "./cluster-source.ts";
import type { Arguments } from "./option.ts";
import {
  checkOptions,
  clusterOptions,
  clusterSecretOptions,
  filenameOption,
  flag,
  inGroup,
  outputOption,
} from "./options.ts";
import { logError, warn } from "./terminal.ts";

export const verifyOptions = {
  ...inGroup("Input", {
    context: flag.contexts(
      "context whose peers are tested (repeatable, not comma-separated); with FILE, the cluster to connect as",
    ),
    filename: filenameOption,
    cert: flag.file("PEM file of the client certificate for peers without one"),
    key: flag.file("PEM file of the private key for --cert"),
    ca: flag.file("PEM file of the CA for peers without one"),
  }),
  ...inGroup("Checks", { "step-timeout": flag.string("timeout of each step", { default: "5s" }) }),
  ...checkOptions,
  ...inGroup("Output", { output: outputOption }),
  ...clusterSecretOptions,
  ...clusterOptions,
};

type VerifyArguments = Arguments<typeof verifyOptions>;

/** The peers to probe, and whether all inputs could be read. */
export interface VerifyInput {
  groups: ProbeGroup[];
  /** Whether a file could not be read. */
  unreadable: boolean;
  /** Whether a cluster could not be read, which is logged. */
  failed: boolean;
}

/**
 * Validates combinations of flags, and that no file is missing whose name is that of a cluster.
 *
 * @throws UserError (exit code 2) for an invalid combination.
 */
export function validateVerifyFlags(args: VerifyArguments, paths: readonly string[]): void {
  if (paths.length === 0 && args.context.length === 0 && args["clusters-from"] === undefined) {
    throw new UsageError("FILE, --context or --clusters-from is required");
  }
  if ((args.cert === undefined) !== (args.key === undefined)) {
    throw new UserError("--cert and --key must be used together", EXIT.refused);
  }
  const missing = paths.find((path) => isClusterName(path) && !existsSync(path));
  if (missing !== undefined) {
    throw new UserError(
      `${missing}: no such file or directory\n` +
        `  for the peers of a cluster, pass its context: clustermesh-secrets verify --context ${missing}`,
      EXIT.refused,
    );
  }
  if (paths.length > 0 && args.context.length === 0 && args["clusters-from"] !== undefined) {
    throw new UserError("--clusters-from with FILE requires --context: the cluster to connect as", EXIT.refused);
  }
  if (paths.length > 0 && args.context.length > 1) {
    throw new UserError("only one --context is allowed with FILE: the cluster to connect as", EXIT.refused);
  }
}

/**
 * Reads the peers in the files, to probe with the certificate of the context, or the configured peers of each context.
 *
 * @param call - the command, for remedies that pipe into it.
 * @throws UserError for a missing context, or an unreadable file of a flag.
 */
export async function readVerifyInput(
  args: VerifyArguments,
  paths: readonly string[],
  call: Call,
  options: Pick<ProbeOptions, "now" | "expiresWithin"> & { cache: ParseCache },
): Promise<VerifyInput> {
  const given = await readOwnCredentials(args);
  const { members, failed } = await readContexts(args, options.cache);
  if (paths.length > 0) {
    const [member] = members;
    const { peers, findings } = await readPeers(paths, { call, cache: options.cache });
    const names = new Set(peers.map(({ peer }) => peer.name));
    const unreadable = hasErrors(findings.filter(({ key }) => key === undefined || !names.has(key)));
    const own = { ...(member && ownOf(member)), ...given };
    return { groups: [{ peers, skipped: [], findings, own }], unreadable, failed };
  }
  const groups = members.map((member) => probeGroupOf(member, given, options));
  for (const [i, { peers, skipped, findings }] of groups.entries()) {
    if (peers.length + skipped.length + findings.length === 0) {
      warn(`${members[i]?.source}: no peers configured`);
    }
  }
  return { groups, unreadable: false, failed };
}

/** Reads the clusters of `--context`, and logs those that cannot be read. */
async function readContexts(args: VerifyArguments, cache: ParseCache): Promise<{ members: Member[]; failed: boolean }> {
  const isFromSecrets = args["clusters-from"] !== undefined;
  if (args.context.length === 0 && !isFromSecrets) return { members: [], failed: false };
  using contexts = await openClusterSource(args);
  const { read, failed } = await readClusters(
    await contexts.select(args.context),
    (cluster) => readMember(cluster, { namespace: args.namespace, forExtract: false, cache }),
    () => undefined,
  );
  for (const { source, installation } of read) for (const line of installation.warnings) warn(`${source}: ${line}`);
  for (const { source, error } of failed) {
    logError(`${escapeLine(source)}: ${error.message}`);
  }
  return { members: read, failed: failed.length > 0 };
}

/** Reads the files of `--cert`, `--key` and `--ca`. */
async function readOwnCredentials({ cert, key, ca }: VerifyArguments): Promise<ProbeGroup["own"]> {
  return {
    ...(ca !== undefined && { ca: await readText(ca) }),
    ...(cert !== undefined &&
      key !== undefined && { client: { cert: await readText(cert), key: await readText(key) } }),
  };
}
