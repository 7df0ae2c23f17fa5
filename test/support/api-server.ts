/** API servers for one test, over HTTP/2, HTTPS or HTTP, and transports to them. */
import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import {
  createSecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Server, Socket } from "node:net";
import type { TestContext } from "node:test";
import type { Credentials } from "../../lib/kube/auth/credentials.ts";
import type { Context } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import {
  ConnectionError,
  openTransport,
  type Transport,
  type TransportOptions,
} from "../../lib/kube/transport/transport.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";

export const ca = makeCa({ cn: "ca" });
export const certificate = issue(ca, { cn: "api", usage: "server", ips: ["127.0.0.1"], dns: ["api.test"] });

export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;
export type Kind = "h2" | "h1" | "http";

export interface TestServer {
  url: string;
  sockets: Set<Socket>;
  /** Number of accepted connections. */
  connections(): number;
  sessions: ServerHttp2Session[];
  requests: string[];
}

/**
 * Starts an API server that is stopped after the test.
 *
 * @param tls overrides of the TLS options
 */
export async function serve(t: TestContext, kind: Kind, handle: Handler, tls: object = {}): Promise<TestServer> {
  const requests: string[] = [];
  const sessions: ServerHttp2Session[] = [];
  const listener = (request: Http2ServerRequest, response: Http2ServerResponse) => {
    requests.push(`${request.method} ${request.url}`);
    handle(request, response);
  };
  const options = { ...certificate, ...tls };
  const server =
    kind === "h2"
      ? createSecureServer(options, listener)
          .on("session", (session) => sessions.push(session.on("error", () => {})))
          .on("sessionError", () => {})
      : kind === "h1"
        ? createHttpsServer(options, listener as never)
        : createHttpServer(listener as never);
  server.on("tlsClientError", () => {});
  return { ...(await listen(t, server, kind === "http" ? "http" : "https")), requests, sessions };
}

/** Starts listening on a free port; the server is stopped after the test. */
export async function listen(t: TestContext, server: Server, scheme = "https") {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on("connection", (socket: Socket) => {
    connections++;
    sockets.add(socket.on("error", () => {}));
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const url = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, sockets, connections: () => connections };
}

export function contextOf(server: string, others: Partial<Context> = {}): Context {
  return { name: "a", server, tls: { ca: ca.cert, insecure: false }, user: {}, presentsCertificate: false, ...others };
}

export interface OpenOptions extends TransportOptions {
  context?: Partial<Context>;
  obtain?: () => Promise<Credentials>;
}

/** Opens a transport that is closed after the test. */
export function open(t: TestContext, server: string, { context, obtain, ...options }: OpenOptions = {}): Transport {
  const noCredentials = async () => ({ headers: {} });
  const transport = openTransport(contextOf(server, context), obtain ?? noCredentials, { env: {}, ...options });
  t.after(() => transport.close());
  return transport;
}

/** Asserts rejection with a ConnectionError whose message is one line. */
export const assertConnectionError = (result: Promise<unknown>, message: RegExp) =>
  assert.rejects(result, (error: unknown) => {
    assert.ok(error instanceof ConnectionError, String(error));
    assert.equal(error.exitCode, 1);
    assert.match(error.message, message);
    assert.equal(error.message.split("\n").length, 1);
    return true;
  });
