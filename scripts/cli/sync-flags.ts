/** Flags of `sync`, and their conversion to options. */
import { hostname } from "node:os";
import { readText } from "../../lib/import/peer-files.ts";
import type { TlsMode } from "../../lib/import/plan/tls.ts";
import { createPairing, parsePairs } from "../../lib/sync/pairing.ts";
import type { SyncOptions } from "../../lib/sync/sync.ts";
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
      "remove a cluster from the others after it was absent from the list for this time; by default, it stays",
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

/**
 * Converts the flags to options.
 *
 * @throws UserError (exit code 2) if a duration or the file of pairs is invalid.
 */
export async function toSyncOptions(args: SyncArguments): Promise<SyncOptions> {
  const { hub, pairs } = args;
  const duration = (name: "settle" | "interval" | "address-grace") => parseDuration(args[name], name);
  const pruneAfter = args["prune-after"];
  return {
    instance: hostname(),
    pairing: createPairing({ hub, pairs: pairs === undefined ? undefined : parsePairs(await readText(pairs)) }),
    settle: duration("settle"),
    interval: duration("interval"),
    addressGrace: duration("address-grace"),
    pruneAfter: pruneAfter === undefined ? undefined : parseDurationInDays(pruneAfter, "prune-after"),
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
