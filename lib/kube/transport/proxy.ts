/** The proxy of an API server, selected by Go's rules, and the tunnel through it. */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { BlockList, isIP, type Socket } from "node:net";
import { formatHostPort } from "../../util/address.ts";
import { describeNetworkError } from "../../util/network-error.ts";
import { type Context, describeContext, KubeconfigError, parseUrl } from "../kubeconfig/kubeconfig.ts";
import { ConnectionError } from "./connection-error.ts";
import { systemRoots } from "./roots.ts";

/**
 * Returns the proxy of a server, by the rules of Go's `httpproxy`: `proxy-url` of the kubeconfig, else `HTTPS_PROXY` or
 * `HTTP_PROXY`, unless the server is on loopback or matches `NO_PROXY`.
 *
 * @throws KubeconfigError if the proxy is not an http, https or socks5 URL.
 */
export function proxyFor(context: Context, server: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const read = (name: string) => env[name] || env[name.toLowerCase()] || undefined;
  let proxy = context.proxyUrl;
  if (proxy === undefined) {
    const host = hostOf(server);
    if (host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."))) return undefined;
    proxy = server.protocol === "https:" ? read("HTTPS_PROXY") : read("HTTP_PROXY");
    if (proxy === undefined || isExempt(host, portOf(server), read("NO_PROXY") ?? "")) return undefined;
  }
  const fail = (message: string) => new KubeconfigError(`${describeContext(context)}: ${message}`);
  const url = parseUrl(proxy.includes("://") ? proxy : `http://${proxy}`);
  if (!url) throw fail("invalid proxy URL: must be an http, https or socks5 URL");
  if (!/^(https?|socks5h?):$/.test(url.protocol)) {
    throw fail(`unsupported proxy scheme ${url.protocol}//: must be http, https or socks5`);
  }
  try {
    proxyAuthorization(url);
  } catch {
    throw fail("invalid proxy URL: percent-encoding of the user or password is malformed");
  }
  return url;
}

/** The host of a URL, with an IPv6 address unbracketed. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

/** The port of a URL, or the default of its scheme; 1080 for SOCKS. */
export function portOf({ port, protocol }: URL): number {
  return Number(port) || ({ "https:": 443, "http:": 80 }[protocol] ?? 1080);
}

/** Whether `NO_PROXY` matches a host: `*`, addresses, CIDRs, `name` with its subdomains, `.name` for subdomains only. */
function isExempt(host: string, port: number, list: string): boolean {
  return list.split(",").some((item) => {
    const entry = item.trim().toLowerCase();
    if (entry === "*") return true;
    if (entry.includes("/")) return isInCidr(host, entry);
    // An IPv6 address is bracketed only before a port.
    const [, bracketed, plain, entryPort] = isIP(entry)
      ? [entry, entry]
      : (/^(?:\[(.*)\](?=:)|([^:]*))(?::(\d+))?$/.exec(entry) ?? []);
    const name = bracketed ?? plain ?? "";
    if (name === "" || (entryPort !== undefined && Number(entryPort) !== port)) return false;
    if (isIP(host)) return isIP(name) !== 0 && contains(name, isIP(name) === 4 ? 32 : 128, host);
    const suffix = name.replace(/^\*?(?=\.)/, "");
    return suffix.startsWith(".") ? host.endsWith(suffix) : host === name || host.endsWith(`.${name}`);
  });
}

function isInCidr(host: string, cidr: string): boolean {
  const [, base = "", length = ""] = /^(.*)\/(\d{1,3})$/.exec(cidr) ?? [];
  const bits = { 4: 32, 6: 128 }[isIP(base)] ?? -1;
  return Number(length) <= bits && contains(base, Number(length), host);
}

function contains(base: string, length: number, host: string): boolean {
  const family = isIP(base) === 4 ? "ipv4" : "ipv6";
  const list = new BlockList();
  list.addSubnet(base, length, family);
  return isIP(host) === isIP(base) && list.check(host, family);
}

/**
 * Returns the header for the user and password of a proxy URL, if any.
 *
 * @throws URIError if their percent-encoding is malformed.
 */
export function proxyAuthorization(proxy: URL): { "proxy-authorization"?: string } {
  if (proxy.username === "") return {};
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(credentials).toString("base64")}` };
}

export interface TunnelOptions {
  /** Verifies an https proxy, as in kubectl. Default: the system roots. */
  tls?: Context["tls"];
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

/**
 * Opens a tunnel by SOCKS 5 or CONNECT, as the scheme of the proxy requires.
 *
 * @throws ConnectionError if the proxy cannot be reached or refuses the connection.
 */
export async function openTunnel(proxy: URL, host: string, port: number, options: TunnelOptions): Promise<Socket> {
  const address = { host: hostOf(proxy), port: portOf(proxy) };
  const { tls: { ca, insecure = false } = {}, env, signal } = options;
  if (proxy.protocol.startsWith("socks")) {
    const { openSocksTunnel } = await import("./socks.ts");
    return openSocksTunnel(proxy, address, { host, port }, signal);
  }
  const target = formatHostPort({ host, port });
  const connectRequest = (proxy.protocol === "https:" ? httpsRequest : httpRequest)({
    ...address,
    method: "CONNECT",
    path: target,
    agent: false,
    headers: { host: target, ...proxyAuthorization(proxy) },
    // By default, Node uses the name in the host header.
    servername: isIP(address.host) ? "" : address.host,
    rejectUnauthorized: !insecure,
    ca: ca ?? (insecure ? undefined : systemRoots(env)),
    allowPartialTrustChain: true,
    ...(signal && { signal }),
  });
  return new Promise((resolve, reject) => {
    const fail = (statusCode: number | undefined) => {
      const hint = statusCode === 407 ? "; add a user and password to the proxy URL" : "";
      const cause = `unexpected status ${statusCode}${hint}`;
      reject(new ConnectionError(`cannot connect to ${target} through proxy ${proxy.host}: ${cause}`));
    };
    connectRequest.once("connect", ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      fail(statusCode);
    });
    // Some proxies send an ordinary response to a rejected CONNECT.
    connectRequest.once("response", ({ statusCode }) => {
      connectRequest.destroy();
      fail(statusCode);
    });
    connectRequest.once("error", (error: NodeJS.ErrnoException) =>
      reject(new ConnectionError(`cannot reach proxy ${proxy.host}: ${describeNetworkError(error)}`)),
    );
    connectRequest.end();
  });
}
