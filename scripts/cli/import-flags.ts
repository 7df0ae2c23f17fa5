/** The flags of `import-secrets`. */
import { isClusterName } from "../../lib/peer/peer.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import type { Arguments } from "./option.ts";
import { clusterOptions, clusterSecretOptions, filenameOption, flag, inGroup } from "./options.ts";
import { writingOptions } from "./writing.ts";

export const importOptions = {
  ...inGroup("Input", {
    filename: filenameOption,
    endpoint: flag.list("NAME=HOST:PORT overrides the endpoint of a peer permanently (repeatable); NAME= resets it", {
      list: true,
    }),
  }),
  ...inGroup("Target", {
    context: flag.contexts(
      "context of a target cluster (repeatable, not comma-separated); default: the current context",
    ),
    prune: flag.boolean("remove peers that are not in the files"),
    migrate: flag.boolean("rewrite existing peers for the running version of Cilium; needs no files"),
  }),
  ...inGroup("Safety", {
    yes: {
      ...flag.boolean("do not prompt: remove peers without confirmation, restart agents only with --restart-agents"),
      alias: "y",
    },
  }),
  ...inGroup("Output", {
    output: flag.string(
      "print the resulting manifests, which can contain private keys, or the names of changed objects",
      {
        alias: "o",
        choices: ["json", "yaml", "name"],
      },
    ),
  }),
  ...writingOptions,
  ...clusterSecretOptions,
  ...clusterOptions,
};

export type ImportArguments = Arguments<typeof importOptions>;

/**
 * Parses the values of `--endpoint`.
 *
 * @param values - each `NAME=HOST:PORT`, or `NAME=` to reset a peer.
 * @returns the endpoints of each peer; empty for a peer to reset.
 * @throws UserError (exit code 2) if a value has another form, or a peer is both set and reset.
 */
export function parseEndpointFlags(values: readonly string[]): Map<string, string[]> {
  const endpoints = new Map<string, string[]>();
  for (const value of values) {
    const [, name, endpoint] = /^([^=]+)=(.*)$/.exec(value) ?? [];
    if (name === undefined || endpoint === undefined || !isClusterName(name)) {
      throw new UserError(
        `invalid value ${JSON.stringify(value)} for --endpoint: must be NAME=HOST:PORT`,
        EXIT.refused,
      );
    }
    const before = endpoints.get(name);
    if (before && (endpoint === "" || before.length === 0)) {
      throw new UserError(`--endpoint ${name}= cannot be combined with other endpoints of ${name}`, EXIT.refused);
    }
    endpoints.set(name, [...(before ?? []), ...(endpoint === "" ? [] : [endpoint])]);
  }
  return endpoints;
}
