/** `extract-secret`: cluster -> file. */

import { parseServerName } from "../lib/cilium/server-names.ts";
import { ADDRESS_TYPES, type AddressType } from "../lib/extract/endpoint.ts";
import {
  EXTRACT_DEFAULTS,
  type Extraction,
  type ExtractOptions,
  extract,
  extractWhenReachable,
} from "../lib/extract/extract.ts";
import { writePeerFile } from "../lib/peer/secret.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { writePrivately } from "../lib/util/private-file.ts";
import { addressesOf, Contexts } from "./cli/clusters.ts";
import { duration } from "./cli/duration.ts";
import { type Arguments, type Command, clusterOptions, runnable } from "./cli/run.ts";
import { toStdout } from "./cli/streams.ts";
import { note, warn, warnOfKey } from "./cli/terminal.ts";

const options = {
  context: { type: "string", describe: "context of the cluster; else the current one", completes: "contexts" },
  output: { type: "string", alias: "o", choices: ["json", "yaml"], default: "json", describe: "form of the file" },
  "output-file": { type: "string", describe: "write this file, of mode 0600, instead of stdout", completes: "files" },
  endpoint: {
    type: "array",
    string: true,
    list: true,
    describe: "host:port or ip:port before the cluster (repeatable), instead of what its Service says",
  },
  service: { type: "string", describe: "the Service, if it is your own (Cilium 1.19+)" },
  "cluster-ip": { type: "boolean", default: false, describe: "take the Service's cluster IP, in a flat network" },
  addresses: {
    type: "number",
    min: 1,
    default: EXTRACT_DEFAULTS.addresses,
    describe: "how many addresses at the most",
  },
  "address-type": {
    type: "array",
    string: true,
    choices: ADDRESS_TYPES,
    describe: "types of node addresses in the order of preference (repeatable); else InternalIP, ExternalIP",
  },
  keyless: {
    type: "boolean",
    default: false,
    describe: "without CA and key, if all clusters trust one CA: importers use certificates of their own",
  },
  "server-name": {
    type: "array",
    string: true,
    describe:
      "name, wildcard or address that the server certificate covers (repeatable), if the certificate is in no Secret and " +
      "covers others than the chart's",
  },
  "external-workload": {
    type: "boolean",
    default: false,
    describe: "for the agent of a virtual machine, with the certificate of external workloads (Cilium up to 1.17)",
  },
  wait: { type: "boolean", default: false, describe: "wait for the load balancer's address" },
  timeout: { type: "string", default: "5m", describe: "how long --wait waits" },
  ...clusterOptions,
} as const;

const command: Command<typeof options> = {
  usage: "Usage: $0 [CONTEXT] > FILE",
  description:
    "Prints what other clusters need to reach this one, as a Secret for import-secrets: endpoint, host alias, CA, and " +
    "client certificate with its private key (none in authMode cluster, nor if certificates come by CSI, Vault or SPIFFE). " +
    "Keep the file as you keep keys.",
  positionals: "CONTEXT",
  examples: [
    ["$0 --output-file cluster1-secret.json", "of the current context; a file that only you can read"],
    ["$0 c2 --output-file c2-secret.json", "of another context"],
    ["$0 --endpoint lb.example.com:2379 --output-file c1.json", "behind a proxy or a static address"],
    ["$0 --keyless > c1.json", "no key leaves the cluster: all clusters trust one CA"],
  ],
  options,
  run: runExtract,
};

export const extractCommand = runnable(command);

async function runExtract(args: Arguments<typeof options>): Promise<number> {
  if (args.keyless && args["external-workload"]) {
    throw new UserError("--keyless and --external-workload are mutually exclusive", EXIT.refused);
  }
  const serverNames = args["server-name"].map(serverNameOf);
  const waitTimeout = duration(args.timeout, "timeout");
  const types = args["address-type"] as AddressType[];
  using contexts = await Contexts.load(args);
  const [cluster] = await contexts.named(namedContexts(args), "read");
  if (!cluster) throw new UserError("no context", EXIT.refused);
  const options: ExtractOptions = {
    namespace: args.namespace,
    service: args.service,
    externalWorkload: args["external-workload"],
    keyless: args.keyless,
    serverNames: [...new Set(serverNames)],
    endpoints: args.endpoint,
    addresses: args.addresses,
    addressTypes: types.length > 0 ? types : EXTRACT_DEFAULTS.addressTypes,
    clusterIp: args["cluster-ip"],
    resolve: addressesOf,
  };
  const { peer, warnings, notes } = args.wait
    ? await waitFor(extractWhenReachable(cluster.api, waitTimeout, options))
    : await extract(cluster.api, options);
  warnings.forEach(warn);
  notes.forEach(note);
  const secret = writePeerFile(peer);
  const text =
    args.output === "yaml"
      ? (await import("yaml")).stringify(secret, { lineWidth: 0, version: "1.1" })
      : `${JSON.stringify(secret, null, 2)}\n`;
  if (args["output-file"] !== undefined) {
    await writePrivately(args["output-file"], text);
  } else {
    toStdout(text);
    if (peer.client !== "importer") warnOfKey("--output-file FILE writes one that only you can read");
  }
  return EXIT.done;
}

/** The extraction that comes at last; lines before it are printed. */
async function waitFor(steps: AsyncGenerator<string, Extraction>): Promise<Extraction> {
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return value;
    note(value);
  }
}

/**
 * The context that is named, by argument or by flag; none for the current one.
 *
 * @throws UserError (exit code 2) if two are named.
 */
function namedContexts({ context, files }: Arguments<typeof options>): string[] {
  const names = [...new Set([...files, ...(context === undefined ? [] : [context])])];
  if (names.length > 1) {
    throw new UserError(`one context at a time: ${names.map((name) => JSON.stringify(name)).join(", ")}`, EXIT.refused);
  }
  return names;
}

function serverNameOf(text: string): string {
  const name = parseServerName(text);
  if (name === undefined) {
    throw new UserError(
      `invalid value ${JSON.stringify(text)} for --server-name: must be a host name, a wildcard such as *.example.com, or an IP address`,
      EXIT.refused,
    );
  }
  return name;
}
