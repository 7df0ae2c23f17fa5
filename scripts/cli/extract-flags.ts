/** The flags of `extract-secret`. */
import { parseServerName } from "../../lib/cilium/server-names.ts";
import { ADDRESS_TYPES, type AddressType } from "../../lib/extract/endpoint.ts";
import { EXTRACT_DEFAULTS, type ExtractOptions } from "../../lib/extract/extract.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { addressesOf } from "./clusters.ts";
import type { Arguments } from "./option.ts";
import { clusterOptions } from "./options.ts";

export const extractOptions = {
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

export type ExtractArguments = Arguments<typeof extractOptions>;

/**
 * What the flags say of the extraction.
 *
 * @throws UserError (exit code 2) for flags that exclude each other, and for a server name that is none.
 */
export function readExtractOptions(args: ExtractArguments): ExtractOptions {
  if (args.keyless && args["external-workload"]) {
    throw new UserError("--keyless and --external-workload are mutually exclusive", EXIT.refused);
  }
  const types = args["address-type"] as AddressType[];
  return {
    namespace: args.namespace,
    service: args.service,
    externalWorkload: args["external-workload"],
    keyless: args.keyless,
    serverNames: [...new Set(args["server-name"].map(serverNameOf))],
    endpoints: args.endpoint,
    addresses: args.addresses,
    addressTypes: types.length > 0 ? types : EXTRACT_DEFAULTS.addressTypes,
    clusterIp: args["cluster-ip"],
    resolve: addressesOf,
  };
}

/**
 * The context that is named, by argument or by flag; none for the current one.
 *
 * @throws UserError (exit code 2) if two are named.
 */
export function namedContexts({ context, files }: ExtractArguments): string[] {
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
