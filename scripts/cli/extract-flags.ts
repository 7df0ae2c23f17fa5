/** The flags of `extract-secret`. */
import { parseServerName } from "../../lib/cilium/server-names.ts";
import { ADDRESS_TYPES, type AddressType } from "../../lib/extract/endpoint.ts";
import { EXTRACT_DEFAULTS, type ExtractOptions } from "../../lib/extract/extract.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { resolveAddresses } from "./clusters.ts";
import type { Arguments } from "./option.ts";
import { clusterOptions, clusterSecretOptions, flag, inGroup } from "./options.ts";

export const extractOptions = {
  ...inGroup("Input", {
    context: flag.context("context of the cluster; default: the current context"),
    "external-workload": flag.boolean(
      "extract for the agent on a virtual machine, with the certificate of external workloads (Cilium up to 1.17)",
    ),
  }),
  ...inGroup("Endpoint", {
    endpoint: flag.list("HOST:PORT or IP:PORT of a load balancer or proxy, instead of the Service (repeatable)", {
      list: true,
    }),
    service: flag.string("name of a custom Service for the clustermesh-apiserver (Cilium 1.19+)"),
    "cluster-ip": flag.boolean("use the cluster IP of the Service, for flat networks"),
    addresses: flag.count("maximum number of addresses", EXTRACT_DEFAULTS.addresses),
    "address-type": flag.list(
      "types of node addresses in order of preference (repeatable); default: InternalIP, ExternalIP",
      { choices: ADDRESS_TYPES },
    ),
    "server-name": flag.list(
      "host name, wildcard or IP address that the server certificate covers (repeatable); required only if the " +
        "certificate is not in a Secret and differs from the chart's default",
    ),
    wait: flag.boolean("wait for the address of the load balancer"),
    timeout: flag.string("how long --wait waits", { default: "5m" }),
  }),
  ...inGroup("Output", {
    output: flag.string("format of the Secret", { alias: "o", choices: ["json", "yaml"], default: "json" }),
    "output-file": flag.file("write to this file, with mode 0600, instead of stdout"),
    keyless: flag.boolean(
      "omit CA and private key; importers use their own certificates, which requires one CA for all clusters",
    ),
  }),
  ...clusterSecretOptions,
  ...clusterOptions,
};

export type ExtractArguments = Arguments<typeof extractOptions>;

/**
 * Converts the flags to options of an extraction.
 *
 * @throws UserError (exit code 2) for an invalid server name.
 */
export function readExtractOptions(args: ExtractArguments): ExtractOptions {
  const types = args["address-type"] as AddressType[];
  return {
    namespace: args.namespace,
    service: args.service,
    externalWorkload: args["external-workload"],
    keyless: args.keyless,
    serverNames: [...new Set(args["server-name"].map(parseServerNameFlag))],
    endpoints: args.endpoint,
    addresses: args.addresses,
    addressTypes: types.length > 0 ? types : EXTRACT_DEFAULTS.addressTypes,
    clusterIp: args["cluster-ip"],
    resolve: resolveAddresses,
  };
}

/**
 * Reads the context from the argument or the flag; empty for the current context.
 *
 * @throws UserError (exit code 2) if there are two contexts.
 */
export function readContextName({ context, files }: ExtractArguments): string[] {
  const names = [...new Set([...files, ...(context === undefined ? [] : [context])])];
  if (names.length > 1) {
    throw new UserError(
      `only one CONTEXT is allowed, not ${names.map((name) => JSON.stringify(name)).join(", ")}`,
      EXIT.refused,
    );
  }
  return names;
}

function parseServerNameFlag(text: string): string {
  const name = parseServerName(text);
  if (name === undefined) {
    throw new UserError(
      `invalid value ${JSON.stringify(text)} for --server-name: must be a host name, a wildcard such as *.example.com, or an IP address`,
      EXIT.refused,
    );
  }
  return name;
}
