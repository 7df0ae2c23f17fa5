/** `import-secrets`: files -> clusters. */

import { readPeers } from "../lib/import/peer-files.ts";
import { prepareImport } from "../lib/import/prepare.ts";
import { readTargets } from "../lib/import/read-target.ts";
import { isClusterName } from "../lib/peer/peer.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { describeCall } from "./cli/call.ts";
import { Contexts } from "./cli/clusters.ts";
import { type Arguments, type Command, clusterOptions, runnable } from "./cli/run.ts";
import { warn } from "./cli/terminal.ts";
import { ImportRun, writingOptions } from "./cli/writing.ts";

const options = {
  context: {
    type: "array",
    string: true,
    describe: "context of a target (repeatable); else the current one",
    completes: "contexts",
  },
  filename: {
    type: "array",
    string: true,
    alias: "f",
    describe: "file, folder or - (repeatable), besides arguments",
    completes: "files",
  },
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

const command: Command<typeof options> = {
  usage: "Usage: $0 [--context CONTEXT]... FILE...",
  description:
    "Merges other clusters' secrets into the target clusters, so that these connect to them. All targets are checked " +
    "before anything is written; peers that are not among the files stay. FILE may be a folder, or - for standard input.\n" +
    "What --output prints holds private keys, as the Secrets do; --diff shows their fingerprints.",
  positionals: "FILE",
  examples: [
    ["$0 cluster2-secret.json cluster3-secret.json", "into the current context"],
    ["$0 --context c1 --context c2 *-secret.json", "into two; each passes over its own file"],
    ["$0 --diff *-secret.json", "what would change"],
    ["$0 --prune --yes *-secret.json", "the files are the whole truth"],
    ["$0 --migrate --context c1", "after an upgrade of Cilium"],
    ["kubectl get secret cilium-kvstoremesh -n kube-system -o yaml | $0 --context c4 -", "what stands in a cluster"],
  ],
  options,
  run: runImport,
};

export const importCommand = runnable(command);

async function runImport(args: Arguments<typeof options>, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  const endpoints = endpointsOf(args.endpoint);
  check(args, paths, endpoints);
  const asks = process.stdin.isTTY && process.stderr.isTTY && !paths.includes("-");
  const run = new ImportRun(args, {
    question: "Write this",
    always: false,
    asks,
    showsPlan: args.prune || args.migrate,
  });
  using contexts = await Contexts.load(args);
  const clusters = await contexts.named(args.context, "written");
  // One file alone is not all that --prune is to keep.
  const call = describeCall(program, options, { ...args, prune: false });
  const [read, files] = await Promise.all([
    readTargets(clusters, { namespace: args.namespace }),
    readPeers(paths, { call }),
  ]);
  read.warnings.forEach(warn);
  const prepared = await prepareImport(
    read.targets.map((target) => ({ ...target, peers: files.peers })),
    {
      ...run.options,
      plan: { ...run.options.plan, prune: args.prune, migrate: args.migrate },
      endpoints,
      findings: [...files.findings, ...read.findings],
    },
  );
  const confirmed = await run.review(prepared);
  if (!confirmed) return EXIT.refused;
  const failed = read.failed.map((one) => ({ ...one, state: "failed" as const, writes: 0 }));
  const reports = [...failed, ...(await run.apply(confirmed))];
  const order = clusters.map(({ source }) => source);
  return run.finish(reports.sort((a, b) => order.indexOf(a.source) - order.indexOf(b.source)));
}

function check(
  args: Arguments<typeof options>,
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

/** What `--endpoint` says, by peer; none for one whose endpoint is taken back. */
function endpointsOf(values: readonly string[]): Map<string, string[]> {
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
