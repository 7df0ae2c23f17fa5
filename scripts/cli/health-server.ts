/** The HTTP server of `sync --listen`: metrics and probes, for Prometheus and kubelet. It contains no keys. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isProgressing, type SyncSnapshot } from "../../lib/sync/snapshot.ts";
import { formatHostPort, type HostPort, parseHostPort } from "../../lib/util/address.ts";
import { EXIT, UserError } from "../../lib/util/errors.ts";
import { describeSystemError } from "../../lib/util/system-error.ts";
import { versionLine } from "./terminal.ts";

const TIMEOUT_MS = 10_000;
/** How long an idle connection is kept, in milliseconds. */
const KEEP_ALIVE_MS = 5_000;
/** Prometheus and kubelet need a few. Others are refused. */
const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 8 * 1024;
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export interface HealthServerOptions {
  /** Where to listen; an empty host is every address, port 0 any free port. */
  listen: HostPort;
  /** Returns the current state of the loop. */
  snapshot(): SyncSnapshot;
  /** Of `--interval`, in milliseconds. */
  interval: number;
  /** Time for the headers of a request, and for a response, in milliseconds; 10 seconds by default. */
  timeout?: number;
}

export interface HealthServer {
  /** `HOST:PORT` of the socket. */
  address: string;
  /** Stops to listen, and ends all connections. */
  close(): void;
}

/** Parses `HOST:PORT`, `:PORT` or `[IPV6]:PORT` of `--listen`. */
export function parseListenAddress(text: string): HostPort {
  const isAny = text.startsWith(":");
  const parsed = parseHostPort(isAny ? `localhost${text}` : text);
  if (!parsed) {
    const examples = "examples: :8080, 127.0.0.1:8080, [::1]:8080";
    throw new UserError(`invalid address ${JSON.stringify(text)} for --listen (${examples})`, EXIT.refused);
  }
  return isAny ? { ...parsed, host: "" } : parsed;
}

/**
 * Serves `/metrics`, `/healthz` (503 if {@link isProgressing} does not hold) and `/readyz` (503 if not `isReady`).
 *
 * @throws UserError (exit code 1) if the address cannot be listened on.
 */
export async function startHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const { listen, timeout = TIMEOUT_MS } = options;
  const { host, port } = listen;
  const answer = createHandler(options);
  const limits = { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: timeout, requestTimeout: timeout };
  const idle = { keepAliveTimeout: KEEP_ALIVE_MS, connectionsCheckingInterval: 1_000 };
  const server = createServer({ ...limits, ...idle }, (request, response) => {
    // A slow reader holds neither a connection nor a text for longer.
    const timer = setTimeout(() => request.socket.destroy(), timeout);
    response.once("close", () => clearTimeout(timer));
    answer(request).then(
      (reply) => send(request, response, reply),
      () => send(request, response, { status: 500, text: "cannot render metrics\n" }),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const where = `${formatHostPort(listen)}: ${describeSystemError(error)}`;
      reject(new UserError(`cannot listen on ${where}\n  choose another address with --listen`, EXIT.failed));
    });
    server.listen({ port, ...(host !== "" && { host }) }, resolve);
  });
  return {
    address: addressOf(server),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

interface Reply {
  status: number;
  text: string;
  type?: string;
  allow?: string;
}

/** Creates the function that answers requests. */
function createHandler({ snapshot, interval }: HealthServerOptions): (request: IncomingMessage) => Promise<Reply> {
  const routes: Readonly<Record<string, () => Reply | Promise<Reply>>> = {
    "/metrics": async () => ({ status: 200, text: await render(snapshot()), type: METRICS_TYPE }),
    "/healthz": () => {
      const { lastProgress } = snapshot();
      const isHealthy = isProgressing({ lastProgress }, interval, new Date());
      return isHealthy ? OK : { status: 503, text: `no progress since ${lastProgress.toISOString()}\n` };
    },
    "/readyz": () => (snapshot().isReady ? OK : { status: 503, text: "not ready\n" }),
  };
  return async ({ url = "", method = "" }) => {
    const path = url.replace(/\?.*$/s, "");
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (!route) return { status: 404, text: "not found\n" };
    return ["GET", "HEAD"].includes(method)
      ? route()
      : { status: 405, text: "method not allowed\n", allow: "GET, HEAD" };
  };
}

const OK: Reply = { status: 200, text: "ok\n" };

async function render(snapshot: SyncSnapshot): Promise<string> {
  // prom-client is loaded by the first request for metrics.
  const { renderSyncMetrics } = await import("../../lib/render/metrics.ts");
  const { user, system } = process.cpuUsage();
  return renderSyncMetrics(snapshot, {
    version: versionLine().trim(),
    residentBytes: process.memoryUsage.rss(),
    cpuSeconds: (user + system) / 1e6,
    started: new Date(performance.timeOrigin),
  });
}

function send({ method, headers }: IncomingMessage, response: ServerResponse, reply: Reply): void {
  const { status, text, type = "text/plain; charset=utf-8", allow } = reply;
  // A body would be read to its end before the next request.
  const hasBody = "content-length" in headers || "transfer-encoding" in headers;
  response.writeHead(status, {
    ...{ "content-type": type, "content-length": Buffer.byteLength(text) },
    ...{ "cache-control": "no-store", "x-content-type-options": "nosniff" },
    ...(allow !== undefined && { allow }),
    ...(hasBody && { connection: "close" }),
  });
  response.end(method === "HEAD" ? undefined : text);
}

function addressOf(server: Server): string {
  const bound = server.address();
  return typeof bound === "object" && bound !== null ? formatHostPort({ host: bound.address, port: bound.port }) : "";
}
