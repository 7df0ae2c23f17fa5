/** `clustermesh-secrets rotate`: a cluster's new certificates to its importers. */
import { readText } from "../lib/import/peer-files.ts";
import { rotate } from "../lib/mesh/rotate.ts";
import { escapeLine } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { contextNamesOf } from "./cli/clusters.ts";
import { meshOptions, prepareRun, sourcesOf } from "./cli/mesh-arguments.ts";
import { type Arguments, type Command, runnable } from "./cli/run.ts";
import { log } from "./cli/terminal.ts";

const options = {
  trust: {
    type: "string",
    describe: "PEM file of a CA that importers trust from now on too; nothing else changes",
    completes: "files",
  },
  ...meshOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 CONTEXT [--trust CA-FILE] --context CONTEXT... | --all-contexts",
  description:
    "Brings a cluster's certificates, as they are now, to the clusters that are connected with it. Before its CA changes: " +
    "--trust, so that importers take the old and the new one; and let its etcd serve with both (etcd reads its CA file at " +
    "its start only). After it has changed: again, without --trust.",
  positionals: "CONTEXT",
  examples: [
    ["$0 cluster2 --context cluster1 --context cluster3", "cluster2's certificates were renewed"],
    ["$0 cluster2 --trust new-ca.crt --all-contexts", "before its CA changes"],
  ],
  options,
  run: runRotate,
};

export const rotateCommand = runnable(command);

async function runRotate(args: Arguments<typeof options>, again = ""): Promise<number> {
  const [name, ...others] = args.files;
  if (name === undefined || others.length > 0) throw new UserError("name one cluster; see --help", EXIT.refused);
  const trust = args.trust === undefined ? undefined : await readText(args.trust);
  const sources = await sourcesOf(args, []);
  const own = trust === undefined ? await sourcesOf({ ...args, ...NO_OTHERS }, [name]) : [];
  const importers = sources.filter(({ source }) => source !== name);
  const { read, write, finish } = prepareRun(args, "Write these certificates");
  const result = await rotate(name, own[0], importers, {
    read,
    write,
    skipUnreachable: args["skip-unreachable"],
    trust,
    existing: await contextNamesOf(args),
    tell: (line) => log(escapeLine(line)),
  });
  if ("reports" in result && result.reports.length + result.left.length === 0) {
    log(`no cluster that was read is configured for ${escapeLine(name)}`);
  }
  return finish(result, [...own, ...importers], again);
}

const NO_OTHERS = { context: [], "contexts-file": undefined, "all-contexts": false };
