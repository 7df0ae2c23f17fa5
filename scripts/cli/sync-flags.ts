/** Flags of `sync`, and their conversion to options. */
import { hostname } from "node:os";
import { readText } from "../../lib/import/peer-files.ts";
import type { TlsMode } from "../../lib/import/plan/tls.ts";
import { createPairing, type PairingOptions, parsePairs } from "../../lib/sync/pairing.ts";
import type { SyncOptions } from "../../lib/sync/sync-options.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { truncateLine } from "../../lib/util/line.ts";
import { resolveAddresses } from "./clusters.ts";
import { parseDuration, parseDurationInDays } from "./duration.ts";
import { meshOptions } from "./mesh-arguments.ts";
import type { Arguments } from "./option.ts";
import { clusterOptions, clusterSecretOptions, flag, inGroup, stateOptions } from "./options.ts";

const { context, "all-contexts": allContexts, "contexts-file": contextsFile, addresses, yes, tls, users } = meshOptions;
const { "restart-agents": restartAgents, "take-ownership": takeOwnership, details } = meshOptions;

export const syncOptions = {
  ...inGroup("Target", {
    context,
    "all-contexts": allContexts,
    "contexts-file": contextsFile,
    hub: flag.context("context of the hub of a star: the other clusters connect only to it"),
    pairs: flag.file("file with the pairs to connect: two names per line, * for all"),
    addresses,
    tls,
    users,
  }),
  ...inGroup("Timing", {
    once: flag.boolean("read and write every cluster once, then exit"),
    settle: flag.string("how long changes are collected before they are acted on", { default: "10s" }),
    interval: flag.string("how often every cluster is read even without a change", { default: "10m" }),
    "address-grace": flag.string("how long a node address has to be gone before it is replaced", { default: "5m" }),
    "prune-after": flag.string(
      "remove a cluster from the others after it was absent from the list for this time, in units d, h and m; by default, it stays",
    ),
    "fight-limit": flag.count("resets of a key by the same other client within an hour after which to pause", 3),
  }),
  ...inGroup("Safety", {
    yes,
    restarts: flag.boolean(
      "patch Deployments that lack host aliases, which restarts their pods; one cluster at a time",
    ),
    "restart-agents": restartAgents,
    "take-ownership": takeOwnership,
  }),
  ...inGroup("Output", {
    "log-format": flag.string("format of the log on stderr", { choices: ["text", "json"], default: "text" }),
    listen: flag.string("serve /metrics, /healthz and /readyz at this HOST:PORT"),
    details,
  }),
  ...stateOptions,
  ...clusterSecretOptions,
  ...clusterOptions,
};

export type SyncArguments = Arguments<typeof syncOptions>;

/** The shortest durations of flags, in milliseconds: shorter ones would load the API servers without end. */
const MIN_DURATIONS = { settle: 100, interval: 1_000, "address-grace": 0 };

/** Waits are checked by reading the whole cluster, of which there may be hundreds. */
const MIN_RECHECK_MS = 60_000;

/**
 * Reads which members are connected.
 *
 * @throws UserError (exit code 2) if the file of pairs cannot be read, or is invalid.
 */
export async function readPairingOptions({ hub, pairs }: SyncArguments): Promise<PairingOptions> {
  return { hub, pairs: pairs === undefined ? undefined : parsePairs(await readText(pairs), truncateLine(pairs)) };
}

/**
 * Converts the flags to options.
 *
 * @throws UserError (exit code 2) if a duration is invalid.
 */
export function toSyncOptions(args: SyncArguments, pairing: PairingOptions): SyncOptions {
  const duration = (name: keyof typeof MIN_DURATIONS) => {
    const milliseconds = parseDuration(args[name], name);
    if (milliseconds >= MIN_DURATIONS[name]) return milliseconds;
    const least = MIN_DURATIONS[name] < 1_000 ? `${MIN_DURATIONS[name]}ms` : `${MIN_DURATIONS[name] / 1_000}s`;
    throw new UserError(`invalid value for --${name}: must be at least ${least}`, EXIT.refused);
  };
  return {
    instance: hostname(),
    once: args.once,
    pairing: createPairing(pairing),
    settle: duration("settle"),
    recheck: Math.max(duration("settle"), MIN_RECHECK_MS),
    interval: duration("interval"),
    addressGrace: duration("address-grace"),
    pruneAfter: readPruneAfter(args["prune-after"]),
    fightLimit: args["fight-limit"],
    restarts: args["restart-agents"] ? "all" : args.restarts ? "deployments" : "none",
    takeOwnership: args["take-ownership"],
    tls: args.tls as TlsMode,
    users: args.users,
    addresses: args.addresses,
    namespace: args.namespace,
    resolve: resolveAddresses,
  };
}

/** @throws UserError (exit code 2) for zero, which would remove clusters at once. */
function readPruneAfter(text: string | undefined): number | undefined {
  const milliseconds = text === undefined ? undefined : parseDurationInDays(text, "prune-after");
  if (milliseconds !== 0) return milliseconds;
  throw new UserError("invalid value for --prune-after: must be more than 0", EXIT.refused);
}
