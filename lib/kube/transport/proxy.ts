/** Proxies before an API server: which one, by Go's rules, and the tunnel through it. */
import { request } from "node:http";
import { request as secureRequest } from "node:https";
import { BlockList, isIP, type Socket } from "node:net";
import { describeNetworkError } from "../../util/network-error.ts";
import { type Context, KubeconfigError, parseUrl } from "../kubeconfig/kubeconfig.ts";
import { ConnectionError } from "./connection-error.ts";
import { systemRoots } from "./roots.ts";

/**
 * The proxy for a server: `proxy-url` of the kubeconfig, else `HTTPS_PROXY` or `HTTP_PROXY` unless `NO_PROXY` names the
 * server. The environment never sends loopback through a proxy.
 *
 * @throws KubeconfigError where it is no http, https or socks5 URL.
 */
export function proxyFor(context: Context, server: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const of = (name: string) => env[name] || env[name.toLowerCase()] || undefined;
  let proxy = context.proxyUrl;
  if (proxy === undefined) {
    const host = hostOf(server);
    if (host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."))) return undefined;
    proxy = server.protocol === "https:" ? of("HTTPS_PROXY") : of("HTTP_PROXY");
    if (proxy === undefined || isExempt(host, portOf(server), of("NO_PROXY") ?? "")) return undefined;
  }
  const url = parseUrl(proxy.includes("://") ? proxy : `http://${proxy}`);
  if (!url || !/^(https?|socks5h?):$/.test(url.protocol)) {
    const what = url ? `proxy ${url.protocol}// is not supported` : "the proxy is no URL";
    throw new KubeconfigError(`context ${context.name}: ${what}; only http://, https:// and socks5:// are`);
  }
  try {
    proxyAuthorization(url);
  } catch {
    throw new KubeconfigError(`context ${context.name}: the proxy's user or password has a % that encodes nothing`);
  }
  return url;
}

/** The host of a URL, an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

export function portOf({ port, protocol }: URL): number {
  return Number(port) || ({ "https:": 443, "http:": 80 }[protocol] ?? 1080);
}

/** What `NO_PROXY` exempts: `*`, addresses, CIDRs, names with all below them, `.name` for only what is below. */
function isExempt(host: string, port: number, list: string): boolean {
  return list.split(",").some((one) => {
    const entry = one.trim().toLowerCase();
    if (entry === "*") return true;
    if (entry.includes("/")) return isInCidr(host, entry);
    // An IPv6 address stands in brackets only where a port follows it.
    const [, bracketed, plain, wanted] = isIP(entry)
      ? [entry, entry]
      : (/^(?:\[(.*)\](?=:)|([^:]*))(?::(\d+))?$/.exec(entry) ?? []);
    const name = bracketed ?? plain ?? "";
    if (name === "" || (wanted !== undefined && Number(wanted) !== port)) return false;
    if (isIP(host)) return isIP(name) !== 0 && contains(name, isIP(name) === 4 ? 32 : 128, host);
    const below = name.replace(/^\*?(?=\.)/, "");
    return below.startsWith(".") ? host.endsWith(below) : host === name || host.endsWith(`.${name}`);
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

/** What a proxy that wants a password gets from its URL. */
export function proxyAuthorization(proxy: URL): { "proxy-authorization"?: string } {
  if (proxy.username === "") return {};
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(credentials).toString("base64")}` };
}

export interface TunnelOptions {
  /** Whom an https proxy is verified by, as by kubectl; `insecure` verifies no proxy. Default: the system's roots. */
  tls?: Context["tls"];
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

/**
 * Opens a tunnel: by CONNECT, or by SOCKS 5 where the proxy speaks that.
 *
 * @throws ConnectionError where the proxy cannot be reached, or refuses.
 */
export async function openTunnel(proxy: URL, host: string, port: number, options: TunnelOptions): Promise<Socket> {
  if (proxy.protocol.startsWith("socks")) {
    const { openSocksTunnel } = await import("./socks.ts");
    return openSocksTunnel(proxy, host, port, options.signal);
  }
  const target = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const { tls: { ca, insecure = false } = {}, env, signal } = options;
  const connecting = (proxy.protocol === "https:" ? secureRequest : request)({
    host: hostOf(proxy),
    port: portOf(proxy),
    method: "CONNECT",
    path: target,
    agent: false,
    headers: { host: target, ...proxyAuthorization(proxy) },
    // Else Node takes the one in the host header.
    servername: isIP(hostOf(proxy)) ? "" : hostOf(proxy),
    rejectUnauthorized: !insecure,
    ca: ca ?? (insecure ? undefined : systemRoots(env)),
    allowPartialTrustChain: true,
    ...(signal && { signal }),
  });
  return new Promise((resolve, reject) => {
    const refuse = (statusCode: number | undefined) => {
      const why =
        statusCode === 407 ? "it wants a name and a password, which its URL can hold" : `it said ${statusCode}`;
      reject(new ConnectionError(`proxy ${proxy.host} does not connect to ${target}: ${why}`));
    };
    connecting.once("connect", ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      refuse(statusCode);
    });
    // Some proxies answer a CONNECT they do not like as if it were any request.
    connecting.once("response", ({ statusCode }) => {
      connecting.destroy();
      refuse(statusCode);
    });
    connecting.once("error", (error: NodeJS.ErrnoException) =>
      reject(new ConnectionError(`proxy ${proxy.host} cannot be reached: ${describeNetworkError(error)}`)),
    );
    connecting.end();
  });
}
