/** Proxies before an API server: which one, by Go's rules, and the tunnel through it. */
import { request } from "node:http";
import { request as secureRequest } from "node:https";
import { isIP, type Socket } from "node:net";
import { UserError } from "../peer/errors.ts";
import { type Context, KubeconfigError, parseUrl } from "./kubeconfig.ts";

/**
 * The proxy for a server: `proxy-url` of the kubeconfig, else `HTTPS_PROXY` or `HTTP_PROXY` unless `NO_PROXY` names the
 * server. The environment never sends loopback through a proxy.
 *
 * @throws KubeconfigError where it is no http or https URL.
 */
export function proxyFor(context: Context, server: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const of = (name: string) => env[name] || env[name.toLowerCase()] || undefined;
  let proxy = context.proxyUrl;
  if (proxy === undefined) {
    const host = server.hostname.replace(/^\[|\]$/g, "");
    if (host === "localhost" || host === "::1" || /^127\./.test(host)) return undefined;
    proxy = server.protocol === "https:" ? of("HTTPS_PROXY") : of("HTTP_PROXY");
    if (proxy === undefined || isExempt(host, server.port, of("NO_PROXY") ?? "")) return undefined;
  }
  const url = parseUrl(proxy.includes("://") ? proxy : `http://${proxy}`);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new KubeconfigError(
      `context ${context.name}: proxy ${url?.protocol ?? ""}// is not supported; only http:// and https:// are`,
    );
  }
  return url;
}

function isExempt(host: string, port: string, list: string): boolean {
  return list.split(",").some((entry) => {
    const [name = "", wantedPort] = entry
      .trim()
      .toLowerCase()
      .split(/:(?=\d+$)/);
    if (name === "*") return true;
    if (name === "" || (wantedPort !== undefined && wantedPort !== port)) return false;
    if (isIP(host)) return name === host || inCidr(host, name);
    const bare = name.replace(/^\*?\./, "");
    return host === bare ? !name.startsWith(".") : host.endsWith(`.${bare}`);
  });
}

function inCidr(host: string, cidr: string): boolean {
  const [base, length] = cidr.split("/");
  if (length === undefined || isIP(host) !== 4 || isIP(base ?? "") !== 4) return false;
  const bits = (ip: string) => ip.split(".").reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  const shift = BigInt(32 - Number(length));
  return bits(host) >> shift === bits(base ?? "") >> shift;
}

/**
 * Opens a tunnel by CONNECT.
 *
 * @throws UserError (exit code 1) where the proxy refuses.
 */
export function tunnel(proxy: URL, host: string, port: number): Promise<Socket> {
  const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const authorization = proxy.username ? `Basic ${Buffer.from(credentials).toString("base64")}` : undefined;
  return new Promise((resolve, reject) => {
    const connecting = (proxy.protocol === "https:" ? secureRequest : request)({
      host: proxy.hostname.replace(/^\[|\]$/g, ""),
      port: proxy.port || (proxy.protocol === "https:" ? 443 : 80),
      method: "CONNECT",
      path: target,
      agent: false,
      headers: { host: target, ...(authorization && { "proxy-authorization": authorization }) },
    });
    connecting.once("connect", ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(new UserError(`proxy ${proxy.host} refuses a connection to ${target} (${statusCode})`, 1));
    });
    connecting.once("error", (error: NodeJS.ErrnoException) =>
      reject(new UserError(`proxy ${proxy.host} cannot be reached (${error.code ?? error.message})`, 1)),
    );
    connecting.end();
  });
}
