/** Peers that only an agent on a node can reach, as other tools write them: a process on each node serves them. Pure. */
import { isIPv4 } from "node:net";

/**
 * Whether a host is a loopback address: in 127.0.0.0/8, `::1`, or an IPv4-mapped one of these.
 *
 * @param address - an address in its usual form, an IPv6 one without brackets.
 */
export function isLoopbackAddress(address: string): boolean {
  return isLoopbackHost(urlHost(`https://${address.includes(":") ? `[${address}]` : address}`), false);
}

/**
 * Whether a peer is served on the node itself, so that only agents can reach it: the host of every endpoint, as it is in the
 * URL, is an address in 127.0.0.0/8 or `::1`, in whatever spelling (`127.1`, `0x7f.1`, `[::ffff:127.0.0.1]`), or
 * `localhost`. In a pod of the clustermesh-apiserver the same URL leads to the pod itself, so KVStoreMesh cannot serve it.
 *
 * A name that host aliases resolve to such an address is not meant: it may be resolved differently elsewhere.
 *
 * @param endpoints - URLs, or `host:port`, which etcd's client takes too.
 */
export function isNodeLocal(endpoints: readonly string[]): boolean {
  return (
    endpoints.length > 0 &&
    endpoints.every((endpoint) => !isDomainName(endpoint) && isLoopbackHost(urlHost(endpoint), true))
  );
}

/**
 * Whether the host is a name that ends in letters which are in no number, as nearly all do. Reading URLs takes longer, and
 * a mesh of hundreds of clusters has tens of thousands of configs.
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
 * The host of an endpoint in the one form that WHATWG URLs give it: IPv4 with four decimal numbers, IPv6 at its shortest
 * and in brackets, names in lower case. Undefined if there is none.
 */
function urlHost(endpoint: string): string | undefined {
  const url = endpoint.includes("://") ? endpoint : `https://${endpoint}`;
  try {
    // A zone is part of the address for Go, and not for WHATWG.
    return new URL(url.replace(/%[^\]/]*(?=\])/, "")).hostname;
  } catch {
    return undefined;
  }
}

function isLoopbackHost(host: string | undefined, named: boolean): boolean {
  if (host === undefined) return false;
  if (isIPv4(host)) return host.startsWith("127.");
  // `::ffff:127.0.0.1` is `::ffff:7f00:1`.
  if (host === "[::1]" || /^\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\]$/.test(host)) return true;
  return named && /^localhost\.?$/.test(host);
}
