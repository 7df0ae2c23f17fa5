/** An open connection to an API server: HTTP/2 if the server supports it, else up to six connections of HTTP/1.1. */
import { Agent, request as httpRequest, type RequestOptions } from "node:http";
import { constants, connect as http2Connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import { isIP, connect as netConnect, type Socket } from "node:net";
import { checkServerIdentity, type PeerCertificate, type TLSSocket, connect as tlsConnect } from "node:tls";
import { limitConcurrency } from "../../util/concurrency.ts";
import type { Credentials } from "../auth/credentials.ts";
import type { Context } from "../kubeconfig/kubeconfig.ts";
import {
  ConnectionError,
  closedError,
  REFUSED_STREAM,
  toConnectionError,
  unreachableError,
} from "./connection-error.ts";
import { hostOf, openTunnel, portOf, proxyAuthorization, proxyFor } from "./proxy.ts";
import { systemRoots } from "./roots.ts";

/** A page of 500 nodes is a few megabytes. */
const MAX_BODY_BYTES = 64 * 1_048_576;
const MAX_SOCKETS = 6;
/** Flow control window of a stream and of the session, in bytes; the default of 64 KiB is slow at high latency. */
const WINDOW_BYTES = 8 * 1_048_576;
/** How long to try one of several addresses before the next. */
const ADDRESS_TIMEOUT_MS = 1_500;

export interface Request {
  method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** Relative to the root of the API, with the query. */
  path: string;
  body?: string;
  contentType?: string;
  /** Default: `application/json`. */
  accept?: string | undefined;
}

export interface Response {
  status: number;
  headers: Record<string, string | undefined>;
  body: string;
}

export interface Channel {
  protocol: "h2" | "http/1.1";
  /** False once it accepts no more requests. */
  isUsable(): boolean;
  /** Rejects with Node's error, which `isUnprocessed` classifies. */
  send(request: Request, headers: Credentials["headers"], signal: AbortSignal): Promise<Response>;
}

export interface ChannelOptions {
  /** Milliseconds. */
  connectTimeout: number;
  env: NodeJS.ProcessEnv;
  /** Closes the connection and aborts connection attempts. */
  signal: AbortSignal;
}

/**
 * Connects to the server of a context.
 *
 * @param credentials - awaited only if the context may present a client certificate.
 * @throws ConnectionError if the server cannot be reached.
 * @throws KubeconfigError if the proxy URL is invalid.
 * @throws the error of the credentials.
 */
export async function openChannel(
  context: Context,
  credentials: Promise<Credentials>,
  { connectTimeout, env, signal: closing }: ChannelOptions,
): Promise<Channel> {
  const server = new URL(context.server);
  const [host, port, isTls] = [hostOf(server), portOf(server), server.protocol === "https:"];
  const proxy = proxyFor(context, server, env);
  // The handshake requires the client certificate, but not a token.
  const { cert, key } = context.presentsCertificate && isTls ? await credentials : {};
  // As in Go, an http proxy forwards requests to a plain http server instead of opening a tunnel.
  // A foreign CA would let its owner pass for the proxy, which receives the password in its URL.
  const proxyTls = context.isForeign ? {} : { tls: context.tls };
  const isForwarded = proxy !== undefined && !isTls && proxy.protocol === "http:";

  const first = await dial();
  if (isTls && (first as TLSSocket).alpnProtocol === "h2") return createHttp2Channel(server, first, closing);
  return createHttp1Channel(server, first, dial, closing, isForwarded ? proxy : undefined);

  /** Opens a socket to the server, with TLS for an https server. */
  async function dial(): Promise<Socket> {
    const abort = new AbortController();
    const { signal } = abort;
    const onTimeout = () => abort.abort(unreachableError(context, `timed out after ${connectTimeout / 1000}s`));
    const onClose = () => abort.abort(closedError(context));
    const timer = setTimeout(onTimeout, connectTimeout);
    closing.addEventListener("abort", onClose, { once: true });
    try {
      if (closing.aborted) throw closedError(context);
      const tunnel =
        proxy && !isForwarded ? await openTunnel(proxy, host, port, { ...proxyTls, env, signal }) : undefined;
      if (isTls) return await waitForConnection(openTls(tunnel), "secureConnect", signal);
      if (tunnel) return tunnel;
      const address = isForwarded ? { host: hostOf(proxy), port: portOf(proxy) } : { host, port };
      const socket = netConnect({ ...address, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS });
      return await waitForConnection(socket, "connect", signal);
    } catch (error) {
      throw signal.aborted ? signal.reason : toConnectionError(error, context);
    } finally {
      clearTimeout(timer);
      closing.removeEventListener("abort", onClose);
    }
  }

  function openTls(tunnel: Socket | undefined): TLSSocket {
    const { ca, insecure, serverName = host } = context.tls;
    return tlsConnect({
      ...(tunnel ? { socket: tunnel } : { host, port, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS }),
      // SNI does not permit addresses; checkServerIdentity verifies them.
      ...(!isIP(serverName) && { servername: serverName }),
      checkServerIdentity: (_, certificate) => checkIdentity(serverName, certificate),
      ca: ca ?? (insecure ? undefined : systemRoots(env)),
      // As in Go, each certificate of certificate-authority is trusted, including intermediate CAs.
      allowPartialTrustChain: true,
      ...(cert !== undefined && key !== undefined && { cert, key }),
      rejectUnauthorized: !insecure,
      ALPNProtocols: ["h2", "http/1.1"],
    });
  }
}

/** Checks the name as Node does, except that the common name is ignored, as in Go since 1.17. */
function checkIdentity(name: string, certificate: PeerCertificate): Error | undefined {
  const error = checkServerIdentity(name, certificate);
  if (error || certificate.subjectaltname) return error;
  return Object.assign(new Error("certificate has no subject alternative names"), {
    code: "ERR_TLS_CERT_ALTNAME_INVALID",
    cert: certificate,
  });
}

function waitForConnection<T extends Socket>(
  socket: T,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
    socket.once(event, () => resolve(socket));
    socket.once("error", reject);
    socket.once("close", () => reject(createResetError()));
  });
}

const createResetError = () => Object.assign(new Error("connection reset by peer"), { code: "ECONNRESET" });

/** Collects the body of a response. */
class Body {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  /** Adds a chunk; returns an error if the body has become too large. */
  add(chunk: Buffer): ConnectionError | undefined {
    this.#size += chunk.length;
    if (this.#size > MAX_BODY_BYTES) {
      this.#chunks.length = 0;
      return new ConnectionError(`response exceeds ${MAX_BODY_BYTES / 1_048_576} MiB`);
    }
    this.#chunks.push(chunk);
    return undefined;
  }

  toString(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

function createHttp2Channel(server: URL, socket: Socket, closing: AbortSignal): Channel {
  const session = http2Connect(server, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
  });
  session.once("connect", () => session.setLocalWindowSize(WINDOW_BYTES));
  // Each stream reports the error of its session.
  session.on("error", () => {});
  // Destroying the session in one of its callbacks corrupts memory in Node 20 (the process aborted in 3 of 10 runs in
  // which a response ended the work while others were in flight).
  closing.addEventListener("abort", () => setImmediate(() => session.destroy()), { once: true });
  return {
    protocol: "h2",
    isUsable: () => !session.closed && !session.destroyed,
    send: ({ method, path, body: requestBody }, headers, signal) =>
      new Promise((resolve, reject) => {
        const stream = session.request(
          {
            ...headers,
            [constants.HTTP2_HEADER_METHOD]: method,
            [constants.HTTP2_HEADER_PATH]: path,
            ...(requestBody !== undefined && { "content-length": String(Buffer.byteLength(requestBody)) }),
          },
          { endStream: requestBody === undefined, signal },
        );
        const body = new Body();
        let head: Omit<Response, "body"> | undefined;
        let failure: Error | undefined;
        stream.on("response", ({ ":status": status = 0, ...others }) => {
          head = { status, headers: others as Response["headers"] };
        });
        stream.on("data", (chunk: Buffer) => {
          const tooLarge = body.add(chunk);
          if (tooLarge) stream.destroy(tooLarge);
        });
        stream.on("error", (error) => {
          // If the session failed, its error is the cause of the stream's.
          failure = error.cause instanceof Error ? error.cause : error;
        });
        stream.on("end", () => {
          if (!head || failure || stream.rstCode) return;
          resolve({ ...head, body: body.toString() });
          // The server may respond without reading the whole request.
          if (!stream.writableFinished) stream.close(constants.NGHTTP2_CANCEL);
        });
        stream.on("close", () => {
          const isRefused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
          const refusal = Object.assign(new Error("the server refused the stream"), { code: REFUSED_STREAM });
          reject(isRefused ? refusal : (failure ?? createResetError()));
        });
        if (requestBody !== undefined) stream.end(requestBody);
      }),
  };
}

/** @param proxy - an http proxy that forwards requests, which then have absolute URLs. */
function createHttp1Channel(
  server: URL,
  first: Socket,
  dial: () => Promise<Socket>,
  closing: AbortSignal,
  proxy: URL | undefined,
): Channel {
  const agent = new Agent({ keepAlive: true });
  let unused: Socket | undefined = first;
  const createConnection = (_options: unknown, done: (error: Error | null, socket?: Socket) => void) => {
    const ready = unused && !unused.destroyed ? Promise.resolve(unused) : dial();
    unused = undefined;
    ready.then((socket) => done(null, socket), done);
  };
  Object.assign(agent, { createConnection, protocol: server.protocol });
  // Without a listener an error of the unused socket would end the process.
  first.on("error", () => {});
  closing.addEventListener("abort", () => [agent.destroy(), unused?.destroy()], { once: true });
  const limit = limitConcurrency(MAX_SOCKETS);
  const startRequest = server.protocol === "https:" ? httpsRequest : httpRequest;
  const common: RequestOptions = { agent, protocol: server.protocol, host: hostOf(server), port: portOf(server) };

  const sendRequest = (
    { method, path, body: requestBody }: Request,
    headers: Credentials["headers"],
    signal: AbortSignal,
  ): Promise<Response> =>
    new Promise((resolve, reject) => {
      const outgoing = startRequest(
        {
          ...common,
          method,
          path: proxy ? server.origin + path : path,
          signal,
          headers: {
            host: server.host,
            ...headers,
            ...(proxy && proxyAuthorization(proxy)),
            ...(requestBody !== undefined && { "content-length": Buffer.byteLength(requestBody) }),
          },
        },
        (incoming) => {
          const body = new Body();
          incoming.on("data", (chunk: Buffer) => {
            const tooLarge = body.add(chunk);
            if (tooLarge) incoming.destroy(tooLarge);
          });
          incoming.on("error", reject);
          incoming.on("end", () => {
            const head = { status: incoming.statusCode ?? 0, headers: incoming.headers as Response["headers"] };
            if (incoming.complete) resolve({ ...head, body: body.toString() });
          });
        },
      );
      outgoing.on("error", reject);
      outgoing.end(requestBody);
    });

  return {
    protocol: "http/1.1",
    isUsable: () => true,
    send: (request, headers, signal) => limit(() => sendRequest(request, headers, signal)),
  };
}
