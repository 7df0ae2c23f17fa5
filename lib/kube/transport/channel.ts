/** A connection to an API server that stands: HTTP/2 where it is offered, else a few of HTTP/1.1. */
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

/** Larger answers are refused: a page of 500 nodes is a few megabytes. */
const MAX_BODY = 64 * 1_048_576;
/** How many connections of HTTP/1.1 are open at a time. */
const MAX_SOCKETS = 6;
/** How many bytes may be under way to us, per answer and together; the default of 64 KiB is slow over long ways. */
const WINDOW = 8 * 1_048_576;
/** How many milliseconds one of several addresses gets to connect before the next is tried. */
const NEXT_ADDRESS = 1_500;

export interface Request {
  method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** From the root of the API, with the query. */
  path: string;
  body?: string;
  contentType?: string;
  /** Default: `application/json`. */
  accept?: string;
}

export interface Response {
  status: number;
  headers: Record<string, string | undefined>;
  body: string;
}

export interface Channel {
  protocol: "h2" | "http/1.1";
  /** False once it takes no more requests. */
  isUsable(): boolean;
  /** Fails with whatever Node says; `wasNotTaken` tells whether the server surely did nothing. */
  send(request: Request, headers: Credentials["headers"], signal: AbortSignal): Promise<Response>;
}

export interface ChannelOptions {
  /** Milliseconds. */
  connectTimeout: number;
  env: NodeJS.ProcessEnv;
  /** Ends the connection, and attempts at one. */
  signal: AbortSignal;
}

/**
 * Connects to the server of a context.
 *
 * @param credentials for the client certificate; where the context has none they are not waited for.
 * @throws ConnectionError, KubeconfigError, and what the credentials fail with.
 */
export async function openChannel(
  context: Context,
  credentials: Promise<Credentials>,
  { connectTimeout, env, signal: closing }: ChannelOptions,
): Promise<Channel> {
  const server = new URL(context.server);
  const [host, port, secure] = [hostOf(server), portOf(server), server.protocol === "https:"];
  const proxy = proxyFor(context, server, env);
  // A client certificate has to be there before the handshake; a token has not.
  const { cert, key } = context.presentsCertificate && secure ? await credentials : {};
  // As Go has it, what goes to a plain http server is handed to an http proxy, which sends it on.
  const relay = proxy !== undefined && !secure && proxy.protocol !== "https:" && !proxy.protocol.startsWith("socks");

  const first = await dial();
  if (secure && (first as TLSSocket).alpnProtocol === "h2") return http2Channel(server, first, closing);
  return http1Channel(server, first, dial, closing, relay ? proxy : undefined);

  /** A socket to the server, connected, and in TLS where the server is https. */
  async function dial(): Promise<Socket> {
    const limit = new AbortController();
    const late = () => limit.abort(unreachableError(context, `no connection within ${connectTimeout / 1000} s`));
    const close = () => limit.abort(closedError(context));
    const timer = setTimeout(late, connectTimeout);
    closing.addEventListener("abort", close, { once: true });
    try {
      if (closing.aborted) throw closedError(context);
      const under =
        proxy && !relay
          ? await openTunnel(proxy, host, port, { tls: context.tls, env, signal: limit.signal })
          : undefined;
      if (secure) return await connected(openTls(under), "secureConnect", limit.signal);
      if (under) return under;
      const to = relay ? { host: hostOf(proxy), port: portOf(proxy) } : { host, port };
      return await connected(
        netConnect({ ...to, autoSelectFamilyAttemptTimeout: NEXT_ADDRESS }),
        "connect",
        limit.signal,
      );
    } catch (error) {
      throw limit.signal.aborted ? limit.signal.reason : toConnectionError(error, context);
    } finally {
      clearTimeout(timer);
      closing.removeEventListener("abort", close);
    }
  }

  function openTls(under: Socket | undefined): TLSSocket {
    const { ca, insecure, serverName = host } = context.tls;
    return tlsConnect({
      ...(under ? { socket: under } : { host, port, autoSelectFamilyAttemptTimeout: NEXT_ADDRESS }),
      // An address is not sent as a name, but the certificate has to cover it.
      ...(!isIP(serverName) && { servername: serverName }),
      checkServerIdentity: (_, certificate) => identityError(serverName, certificate),
      ca: ca ?? (insecure ? undefined : systemRoots(env)),
      // As in Go, whatever stands in certificate-authority is trusted, intermediate CAs too.
      allowPartialTrustChain: true,
      ...(cert !== undefined && key !== undefined && { cert, key }),
      rejectUnauthorized: !insecure,
      ALPNProtocols: ["h2", "http/1.1"],
    });
  }
}

/** As Node, but no common name stands for a missing name: Go has not taken that since 1.17. */
function identityError(name: string, certificate: PeerCertificate): Error | undefined {
  const error = checkServerIdentity(name, certificate);
  if (error || certificate.subjectaltname) return error;
  return Object.assign(new Error("no name in the certificate"), {
    code: "ERR_TLS_CERT_ALTNAME_INVALID",
    cert: certificate,
  });
}

function connected<T extends Socket>(socket: T, event: "connect" | "secureConnect", signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
    socket.once(event, () => resolve(socket));
    socket.once("error", reject);
    socket.once("close", () => reject(cut()));
  });
}

const cut = () => Object.assign(new Error("the connection was cut"), { code: "ECONNRESET" });

/** Collects an answer's body. */
class Body {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  /** @returns an error where it has become too large. */
  add(chunk: Buffer): ConnectionError | undefined {
    this.#size += chunk.length;
    if (this.#size > MAX_BODY) {
      this.#chunks.length = 0;
      return new ConnectionError(`an answer of more than ${MAX_BODY / 1_048_576} MiB is refused`);
    }
    this.#chunks.push(chunk);
    return undefined;
  }

  toString(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

function http2Channel(server: URL, socket: Socket, closing: AbortSignal): Channel {
  const session = http2Connect(server, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: WINDOW },
  });
  session.once("connect", () => session.setLocalWindowSize(WINDOW));
  // What ends the session ends its streams, with an error of their own.
  session.on("error", () => {});
  // Not within a callback of the session: Node 20 then writes over its own memory and is aborted (measured: 3 of 10
  // times, where an answer ends the work while others are under way).
  closing.addEventListener("abort", () => setImmediate(() => session.destroy()), { once: true });
  return {
    protocol: "h2",
    isUsable: () => !session.closed && !session.destroyed,
    send: ({ method, path, body: sent }, headers, signal) =>
      new Promise((resolve, reject) => {
        const stream = session.request(
          {
            ...headers,
            [constants.HTTP2_HEADER_METHOD]: method,
            [constants.HTTP2_HEADER_PATH]: path,
            ...(sent !== undefined && { "content-length": String(Buffer.byteLength(sent)) }),
          },
          { endStream: sent === undefined, signal },
        );
        const body = new Body();
        let answered: Omit<Response, "body"> | undefined;
        let failure: Error | undefined;
        stream.on("response", ({ ":status": status = 0, ...others }) => {
          answered = { status, headers: others as Response["headers"] };
        });
        stream.on("data", (chunk: Buffer) => {
          const tooLarge = body.add(chunk);
          if (tooLarge) stream.destroy(tooLarge);
        });
        stream.on("error", (error) => {
          // A stream that ends with its session says why in its cause.
          failure = error.cause instanceof Error ? error.cause : error;
        });
        stream.on("end", () => {
          if (!answered || failure || stream.rstCode) return;
          resolve({ ...answered, body: body.toString() });
          // A server that has said all need not have read all.
          if (!stream.writableFinished) stream.close(constants.NGHTTP2_CANCEL);
        });
        stream.on("close", () => {
          const refused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
          reject(
            refused
              ? Object.assign(new Error("the server took no more requests"), { code: REFUSED_STREAM })
              : (failure ?? cut()),
          );
        });
        if (sent !== undefined) stream.end(sent);
      }),
  };
}

/** @param relay the proxy that every request is handed to, with the whole URL. */
function http1Channel(
  server: URL,
  first: Socket,
  dial: () => Promise<Socket>,
  closing: AbortSignal,
  relay: URL | undefined,
): Channel {
  const agent = new Agent({ keepAlive: true });
  let unused: Socket | undefined = first;
  const createConnection = (_options: unknown, done: (error: Error | null, socket?: Socket) => void) => {
    const ready = unused && !unused.destroyed ? Promise.resolve(unused) : dial();
    unused = undefined;
    ready.then((socket) => done(null, socket), done);
  };
  Object.assign(agent, { createConnection, protocol: server.protocol });
  // Until it is used, nobody else listens to it.
  first.on("error", () => {});
  closing.addEventListener("abort", () => [agent.destroy(), unused?.destroy()], { once: true });
  const enter = limitConcurrency(MAX_SOCKETS);
  const ask = server.protocol === "https:" ? httpsRequest : httpRequest;
  const common: RequestOptions = { agent, protocol: server.protocol, host: hostOf(server), port: portOf(server) };

  const exchange = (
    { method, path, body: sent }: Request,
    headers: Credentials["headers"],
    signal: AbortSignal,
  ): Promise<Response> =>
    new Promise((resolve, reject) => {
      const outgoing = ask(
        {
          ...common,
          method,
          path: relay ? server.origin + path : path,
          signal,
          headers: {
            host: server.host,
            ...headers,
            ...(relay && proxyAuthorization(relay)),
            ...(sent !== undefined && { "content-length": Buffer.byteLength(sent) }),
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
            const answered = { status: incoming.statusCode ?? 0, headers: incoming.headers as Response["headers"] };
            if (incoming.complete) resolve({ ...answered, body: body.toString() });
          });
        },
      );
      outgoing.on("error", reject);
      outgoing.end(sent);
    });

  return {
    protocol: "http/1.1",
    isUsable: () => true,
    send: (request, headers, signal) => enter(() => exchange(request, headers, signal)),
  };
}
