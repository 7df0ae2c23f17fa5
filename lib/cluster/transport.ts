/** One connection to an API server: HTTP/2 where it is offered, else HTTP/1.1. */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { type ClientHttp2Session, constants, connect as http2Connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import { isIP, connect as netConnect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { UserError } from "../peer/errors.ts";
import type { Credentials } from "./credentials.ts";
import type { Context } from "./kubeconfig.ts";
import { proxyFor, tunnel } from "./proxy.ts";

/** Larger answers are refused: a page of 500 nodes is a few megabytes. */
const MAX_BODY = 64 * 1_048_576;
/** How often a read is tried when the server says that it is busy. */
const ATTEMPTS = 4;

export interface Request {
  method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** From the root of the API, with the query. */
  path: string;
  body?: string;
  contentType?: string;
}

export interface Response {
  status: number;
  headers: Record<string, string | undefined>;
  body: string;
}

export interface Transport {
  /** @throws ConnectionError where no whole answer comes. */
  request(request: Request): Promise<Response>;
  /** Ends the connection at once. */
  close(): void;
}

export interface ConnectOptions {
  /** Milliseconds until a connection has to stand. Default: 5,000. */
  connectTimeout?: number;
  /** Milliseconds that one request may take; 0 for no limit. Default: 30,000. */
  requestTimeout?: number;
  /** Told of each request: method, path, status and milliseconds; never headers or bodies. */
  trace?: ((line: string) => void) | undefined;
  env?: NodeJS.ProcessEnv;
}

/** The API server could not be reached, or did not answer. One line: what, where, why. */
export class ConnectionError extends UserError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 1, options);
    this.name = "ConnectionError";
  }
}

interface Channel {
  send(request: Request, headers: Credentials["headers"], signal: AbortSignal): Promise<Response>;
  close(): void;
}

/**
 * Starts to connect at once. The credentials may still be on their way: requests wait for both.
 *
 * @param obtain gives the credentials; asked again after a 401.
 */
export function connect(context: Context, obtain: () => Promise<Credentials>, options: ConnectOptions = {}): Transport {
  const { connectTimeout = 5_000, requestTimeout = 30_000, trace, env = process.env } = options;
  const base = new URL(context.server);
  const prefix = base.pathname.replace(/\/$/, "");
  let credentials = obtain();
  credentials.catch(() => {});
  let channel = open();
  let closed = false;

  function open(): Promise<Channel> {
    const opened = openChannel(context, base, credentials, { connectTimeout, trace, env });
    opened.catch(() => {});
    return opened;
  }

  async function attempt(request: Request): Promise<Response> {
    const started = performance.now();
    const { headers } = await credentials;
    const current = await channel;
    const abort = new AbortController();
    const timer = requestTimeout > 0 ? setTimeout(() => abort.abort(), requestTimeout) : undefined;
    try {
      const sent = { ...request, path: prefix + request.path };
      const all: Credentials["headers"] = {
        accept: "application/json",
        "user-agent": "clustermesh-secrets",
        ...headers,
      };
      if (request.contentType) all["content-type"] = request.contentType;
      const response = await current.send(sent, all, abort.signal);
      trace?.(`${request.method} ${request.path} ${response.status} ${Math.round(performance.now() - started)} ms`);
      return response;
    } catch (error) {
      if (abort.signal.aborted) {
        throw new ConnectionError(
          `${context.server} did not answer within ${requestTimeout / 1000} s (${request.method} ${request.path.replace(/\?.*/, "")})`,
        );
      }
      throw error instanceof UserError ? error : explain(error, context);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async request(request) {
      let renewed = false;
      for (let tries = 1; ; tries++) {
        let response: Response;
        try {
          response = await attempt(request);
        } catch (error) {
          // A write is never sent again blindly; a read is, once, over a new connection.
          const lost = (error as { cause?: { code?: string } }).cause?.code;
          const again = request.method === "GET" && tries === 1 && lost !== undefined && RECONNECT.has(lost);
          if (!again || closed) throw error;
          channel = open();
          continue;
        }
        if (response.status === 401 && !renewed) {
          renewed = true;
          const before = await credentials;
          credentials = obtain();
          if (JSON.stringify((await credentials).headers) === JSON.stringify(before.headers)) return response;
          continue;
        }
        const busy = request.method === "GET" && (response.status === 429 || response.status === 503);
        if (!busy || tries >= ATTEMPTS) return response;
        const wait = Number(response.headers["retry-after"] ?? Number.NaN);
        if (Number.isNaN(wait)) return response;
        await sleep(Math.min(wait, 10) * 1000);
      }
    },
    close() {
      closed = true;
      channel.then(
        (one) => one.close(),
        () => {},
      );
    },
  };
}

/** Ways in which a connection ends under a request that may not have been seen. */
const RECONNECT = new Set([
  "ECONNRESET",
  "EPIPE",
  "ERR_HTTP2_GOAWAY_SESSION",
  "ERR_HTTP2_INVALID_SESSION",
  "ERR_HTTP2_STREAM_CANCEL",
]);

async function openChannel(
  context: Context,
  base: URL,
  credentials: Promise<Credentials>,
  { connectTimeout: timeout, trace, env }: Required<Pick<ConnectOptions, "connectTimeout" | "env">> & ConnectOptions,
): Promise<Channel> {
  const port = Number(base.port || (base.protocol === "http:" ? 80 : 443));
  const host = base.hostname.replace(/^\[|\]$/g, "");
  const proxy = proxyFor(context, base, env);
  let pending: Socket | undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      pending?.destroy();
      reject(new ConnectionError(`${context.server} cannot be reached: no connection within ${timeout / 1000} s`));
    }, timeout);
  });
  try {
    return await Promise.race([openSocket(), late]);
  } catch (error) {
    pending?.destroy();
    throw error instanceof UserError ? error : explain(error, context);
  } finally {
    clearTimeout(timer);
  }

  async function openSocket(): Promise<Channel> {
    const raw = proxy ? await tunnel(proxy, host, port) : undefined;
    pending = raw;
    if (base.protocol === "http:") return http1Channel(base, () => raw ?? netConnect({ host, port }), false);
    // A client certificate has to be there before the handshake; a token has not.
    const { cert, key } = context.presentsCertificate ? await credentials : {};
    const { ca, insecure, serverName } = context.tls;
    const servername = serverName ?? (isIP(host) ? undefined : host);
    const openTls = (under?: Socket): TLSSocket =>
      tlsConnect({
        ...(under ? { socket: under } : { host, port }),
        ...(servername !== undefined && { servername }),
        ...(ca !== undefined && { ca }),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
        rejectUnauthorized: !insecure,
        ALPNProtocols: ["h2", "http/1.1"],
      });
    const socket = openTls(raw);
    pending = socket;
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(Object.assign(new Error("closed"), { code: "ECONNRESET" })));
    });
    trace?.(`connected, ${socket.alpnProtocol || "http/1.1"}`);
    if (socket.alpnProtocol === "h2") return http2Channel(base, socket);
    let first: TLSSocket | undefined = socket;
    return http1Channel(
      base,
      () => {
        const next = first ?? openTls();
        first = undefined;
        return next;
      },
      true,
    );
  }
}

function http2Channel(base: URL, socket: TLSSocket): Channel {
  const session: ClientHttp2Session = http2Connect(base, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: 8 * 1_048_576 },
  });
  let failure: Error | undefined;
  session.on("error", (error) => {
    failure = error;
  });
  return {
    send: ({ method, path, body }, headers, signal) =>
      new Promise((resolve, reject) => {
        const stream = session.request(
          {
            ...headers,
            [constants.HTTP2_HEADER_METHOD]: method,
            [constants.HTTP2_HEADER_PATH]: path,
            ...(body !== undefined && { "content-length": String(Buffer.byteLength(body)) }),
          },
          { endStream: body === undefined, signal },
        );
        const chunks: Buffer[] = [];
        let size = 0;
        let answered: { status: number; headers: Response["headers"] } | undefined;
        stream.on("response", (received) => {
          const { ":status": status = 0, ...others } = received;
          answered = { status, headers: others as Response["headers"] };
        });
        stream.on("data", (chunk: Buffer) => {
          size += chunk.length;
          chunks.push(chunk);
          if (size > MAX_BODY) stream.destroy(new Error(`an answer of more than ${MAX_BODY / 1_048_576} MiB`));
        });
        stream.on("error", (error) => reject(failure ?? error));
        stream.on("close", () => {
          if (answered && stream.rstCode === constants.NGHTTP2_NO_ERROR) {
            resolve({ ...answered, body: Buffer.concat(chunks).toString() });
          } else {
            reject(failure ?? Object.assign(new Error("the connection ended"), { code: "ECONNRESET" }));
          }
        });
        if (body !== undefined) stream.end(body);
      }),
    close: () => session.destroy(),
  };
}

function http1Channel(base: URL, createConnection: () => Socket, secure: boolean): Channel {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: 6 });
  Object.assign(agent, { createConnection, protocol: base.protocol });
  const send = secure ? httpsRequest : httpRequest;
  return {
    send: ({ method, path, body }, headers, signal) =>
      new Promise((resolve, reject) => {
        const outgoing = send(
          {
            agent,
            protocol: base.protocol,
            host: base.hostname,
            port: base.port,
            method,
            path,
            signal,
            headers: { ...headers, ...(body !== undefined && { "content-length": Buffer.byteLength(body) }) },
          },
          (incoming) => {
            const chunks: Buffer[] = [];
            let size = 0;
            incoming.on("data", (chunk: Buffer) => {
              size += chunk.length;
              chunks.push(chunk);
              if (size > MAX_BODY) incoming.destroy(new Error(`an answer of more than ${MAX_BODY / 1_048_576} MiB`));
            });
            incoming.on("error", reject);
            incoming.on("end", () => {
              if (!incoming.complete) return;
              const status = incoming.statusCode ?? 0;
              resolve({
                status,
                headers: incoming.headers as Response["headers"],
                body: Buffer.concat(chunks).toString(),
              });
            });
          },
        );
        outgoing.on("error", reject);
        outgoing.end(body);
      }),
    close: () => agent.destroy(),
  };
}

/** A failure of the connection in words for a person. */
function explain(error: unknown, context: Context): ConnectionError {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const known: Record<string, string> = {
    ECONNREFUSED: "the connection was refused; is the cluster up?",
    ENOTFOUND: "its name is not known to DNS",
    EAI_AGAIN: "its name could not be resolved now",
    ECONNRESET: "the connection was cut",
    EPIPE: "the connection was cut",
    ETIMEDOUT: "it does not answer",
    EHOSTUNREACH: "there is no route to it",
    ENETUNREACH: "there is no route to it",
    CERT_HAS_EXPIRED: "its certificate has expired",
    ERR_TLS_CERT_ALTNAME_INVALID:
      "its certificate is for another name; tls-server-name in the kubeconfig can say which",
    EPROTO: "it does not speak TLS as expected",
    ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS; is it an http:// server?",
  };
  const untrusted = /SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_SIGNATURE|ISSUER_CERT/.test(code);
  const why = untrusted
    ? "its certificate is not signed by a known CA; certificate-authority in the kubeconfig has to name it"
    : (known[code] ?? (code === "" ? message : `${message} (${code})`));
  return new ConnectionError(`${context.server} (context ${context.name}) cannot be reached: ${why}`, { cause: error });
}
