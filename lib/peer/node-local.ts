/** Peers at loopback addresses, as configured by other tools: a process on each node serves them to its agent. Pure. */
import { isIPv4 } from "node:net";

/**
 * Whether an address is a loopback address: 127.0.0.0/8, IPv4-mapped or not, or `::1`.
 *
 * @param address - IPv4 or IPv6, without brackets.
 */
export function isLoopbackAddress(address: string): boolean {
  return isLoopbackHost(parseUrlHost(`https://${address.includes(":") ? `[${address}]` : address}`), false);
}

/**
 * Whether a peer is reachable only from the same node: the host of every endpoint is `localhost`, or an address in
 * 127.0.0.0/8 or `::1`, in any notation (`127.1`, `0x7f.1`, `[::ffff:127.0.0.1]`). In a pod of the
 * clustermesh-apiserver, the same URL refers to the pod itself, so KVStoreMesh cannot connect.
 *
 * Host aliases are ignored: other clients may resolve the same name differently.
 *
 * @param endpoints - URLs, or `host:port`, which etcd's client also accepts.
 */
export function isNodeLocal(endpoints: readonly string[]): boolean {
  return (
    endpoints.length > 0 &&
    endpoints.every((endpoint) => !isDomainName(endpoint) && isLoopbackHost(parseUrlHost(endpoint), true))
  );
}

/**
 * Whether the last label of the host contains a letter that cannot occur in a number, as in nearly all names. Parsing
 * the URL is slower, and a mesh of hundreds of clusters has tens of thousands of configs.
 */
function isDomainName(endpoint: string): boolean {
  const lastLabel = /^https:\/\/(?:[\w-]+\.)+([a-z]{2,63}):\d{1,5}$/.exec(endpoint)?.[1];
  return lastLabel !== undefined && /[g-wyz]/.test(lastLabel);
}

/** Whether some endpoints, but not all, are loopback addresses, which KVStoreMesh and agents resolve differently. */
export function isPartlyNodeLocal(endpoints: readonly string[]): boolean {
  return !isNodeLocal(endpoints) && endpoints.some((endpoint) => isNodeLocal([endpoint]));
}

/**
 * Parses the host of an endpoint, normalized as in WHATWG URLs: IPv4 as four decimal numbers, IPv6 in its shortest form
 * and in brackets, names in lower case. Undefined if the endpoint is not a URL.
 */
function parseUrlHost(endpoint: string): string | undefined {
  const url = endpoint.includes("://") ? endpoint : `https://${endpoint}`;
  try {
    // Go accepts a zone in an address; WHATWG URLs do not.
    return new URL(url.replace(/%[^\]/]*(?=\])/, "")).hostname;
  } catch {
    return undefined;
  }
}

function isLoopbackHost(host: string | undefined, allowsName: boolean): boolean {
  if (host === undefined) return false;
  if (isIPv4(host)) return host.startsWith("127.");
  // `::ffff:127.0.0.1` is `::ffff:7f00:1`.
  if (host === "[::1]" || /^\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\]$/.test(host)) return true;
  return allowsName && /^localhost\.?$/.test(host);
}
