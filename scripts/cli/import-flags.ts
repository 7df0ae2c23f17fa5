/** The flags of `import-secrets`. */
import { isClusterName } from "../../lib/peer/peer.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import type { Arguments } from "./option.ts";
import { clusterOptions, filenameOption } from "./options.ts";
import { writingOptions } from "./writing.ts";

export const importOptions = {
  context: {
    type: "array",
    string: true,
    describe: "context of a target (repeatable); else the current one",
    completes: "contexts",
  },
  filename: filenameOption,
  ...writingOptions,
  endpoint: {
    type: "array",
    string: true,
    list: true,
    describe: "NAME=HOST:PORT: reach this peer there, from now on (repeatable); NAME= as its file says again",
  },
  prune: { type: "boolean", default: false, describe: "drop the peers that are not among the files" },
  migrate: {
    type: "boolean",
    default: false,
    describe: "lay out anew what stands in the targets, for the Cilium that runs now; needs no files",
  },
  yes: { type: "boolean", alias: "y", default: false, describe: "drop peers without asking" },
  output: {
    type: "string",
    alias: "o",
    choices: ["json", "yaml"],
    describe: "print the objects, as they can be applied; they may hold private keys",
  },
  ...clusterOptions,
} as const;

export type ImportArguments = Arguments<typeof importOptions>;

/**
 * Refuses flags that exclude each other, and a call that names nothing to import.
 *
 * @throws UserError (exit code 2)
 */
export function checkImportFlags(
  args: ImportArguments,
  paths: readonly string[],
  endpoints: ReadonlyMap<string, unknown>,
): void {
  if (paths.length === 0 && !args.migrate && endpoints.size === 0) {
    throw new UserError("no file was named; see --help", EXIT.refused);
  }
  const exclusive = [
    [!args.restarts, args["restart-agents"], "--restart-agents and --no-restarts"],
    [args.prune, args.migrate, "--prune and --migrate"],
    [args.diff, args.output !== undefined, "--diff and --output"],
  ] as const;
  for (const [one, other, names] of exclusive) {
    if (one && other) throw new UserError(`${names} are mutually exclusive`, EXIT.refused);
  }
}

/**
 * What `--endpoint` says, by peer; none for one whose endpoint is taken back.
 *
 * @throws UserError (exit code 2)
 */
export function endpointsOf(values: readonly string[]): Map<string, string[]> {
  const endpoints = new Map<string, string[]>();
  for (const value of values) {
    const [, name, endpoint] = /^([^=]+)=(.*)$/.exec(value) ?? [];
    if (name === undefined || endpoint === undefined || !isClusterName(name)) {
      throw new UserError(`--endpoint ${JSON.stringify(value)} is not of the form NAME=HOST:PORT`, EXIT.refused);
    }
    const before = endpoints.get(name);
    if (before && (endpoint === "" || before.length === 0)) {
      throw new UserError(`--endpoint ${name}= is given together with another of ${name}`, EXIT.refused);
    }
    endpoints.set(name, [...(before ?? []), ...(endpoint === "" ? [] : [endpoint])]);
  }
  return endpoints;
}
