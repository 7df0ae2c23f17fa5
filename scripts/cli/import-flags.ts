/** The flags of `import-secrets`. */
import { isClusterName } from "../../lib/peer/peer.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import type { Arguments } from "./option.ts";
import { booleanFlag, clusterOptions, filenameOption, inGroup, listFlag, stringFlag } from "./options.ts";
import { writingOptions } from "./writing.ts";

export const importOptions = {
  ...inGroup("Input", {
    filename: filenameOption,
    endpoint: listFlag("NAME=HOST:PORT overrides the endpoint of a peer permanently (repeatable); NAME= resets it", {
      list: true,
    }),
  }),
  ...inGroup("Target", {
    context: listFlag("context of a target cluster (repeatable); default: the current context", {
      completes: "contexts",
    }),
    prune: booleanFlag("remove peers that are not in the files"),
    migrate: booleanFlag("rewrite existing peers for the running version of Cilium; needs no files"),
  }),
  ...inGroup("Safety", { yes: { ...booleanFlag("remove peers without confirmation"), alias: "y" } }),
  ...inGroup("Output", {
    output: stringFlag("print the resulting manifests, which can contain private keys", {
      alias: "o",
      choices: ["json", "yaml"],
    }),
  }),
  ...writingOptions,
  ...clusterOptions,
};

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
