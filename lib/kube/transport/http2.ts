/** A connection of HTTP/2, which carries any number of requests at a time. */
import { type ClientHttp2Session, type ClientHttp2Stream, constants, connect as http2Connect } from "node:http2";
import type { Socket } from "node:net";
import type { Credentials } from "../auth/credentials.ts";
import { createResetError, PING_TIMEOUT, REFUSED_STREAM } from "./connection-error.ts";
import { Body, type Channel, type PingOptions, type Request, type Response } from "./messages.ts";

/** Flow control window of a stream and of the session, in bytes; the default of 64 KiB is slow at high latency. */
const WINDOW_BYTES = 8 * 1_048_576;

/**
 * Starts HTTP/2 on a connected socket.
 *
 * @param closing - closes the connection.
 * @param ping - how open streams detect a dead connection.
 */
export function createHttp2Channel(server: URL, socket: Socket, closing: AbortSignal, ping: PingOptions): Channel {
  const session = http2Connect(server, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
  });
  session.once("connect", () => session.setLocalWindowSize(WINDOW_BYTES));
  // Each stream reports the error of its session.
  session.on("error", () => {});
  // Destroying the session in one of its callbacks corrupts memory in Node 20 (the process aborted in 3 of 10 runs in
  // which a response ended the work while others were in flight).
  const destroy = (error?: Error) => setImmediate(() => session.destroy(error));
  const onClose = () => destroy();
  closing.addEventListener("abort", onClose, { once: true });
  session.once("close", () => closing.removeEventListener("abort", onClose));
  const pings = new Pings(session, socket, ping, destroy);

  const start = (
    { method, path, body }: Request,
    headers: Credentials["headers"],
    signal: AbortSignal,
  ): ClientHttp2Stream =>
    session.request(
      {
        ...headers,
        [constants.HTTP2_HEADER_METHOD]: method,
        [constants.HTTP2_HEADER_PATH]: path,
        ...(body !== undefined && { "content-length": String(Buffer.byteLength(body)) }),
      },
      { endStream: body === undefined, signal },
    );

  return {
    protocol: "h2",
    isUsable: () => !session.closed && !session.destroyed,
    send: (request, headers, signal) =>
      new Promise((resolve, reject) => {
        const stream = start(request, headers, signal);
        const body = new Body();
        let head: Omit<Response, "body"> | undefined;
        const failureOf = trackFailure(stream);
        stream.on("response", ({ ":status": status = 0, ...others }) => {
          head = { status, headers: others as Response["headers"] };
        });
        stream.on("data", (chunk: Buffer) => {
          const tooLarge = body.add(chunk);
          if (tooLarge) stream.destroy(tooLarge);
        });
        stream.on("end", () => {
          if (!head || failureOf()) return;
          resolve({ ...head, body: body.toString() });
          // The server may respond without reading the whole request.
          if (!stream.writableFinished) stream.close(constants.NGHTTP2_CANCEL);
        });
        stream.on("close", () => reject(failureOf() ?? createResetError()));
        if (request.body !== undefined) stream.end(request.body);
      }),
    stream: (request, headers, signal) =>
      new Promise((resolve, reject) => {
        const stream = start(request, headers, signal);
        const failureOf = trackFailure(stream);
        // A destroyed session ends its streams without an error.
        const endOf = () => failureOf() ?? (session.destroyed ? createResetError() : undefined);
        const stopPings = pings.start();
        stream.once("response", ({ ":status": status = 0, ...others }) =>
          resolve({ status, headers: others as Response["headers"], body: readStream(stream, endOf) }),
        );
        stream.once("close", () => {
          stopPings();
          reject(failureOf() ?? createResetError());
        });
      }),
    retire: () => pings.check(() => setImmediate(() => session.close())),
  };
}

/** Returns a function that returns the error of a stream that was reset or whose session failed. */
function trackFailure(stream: ClientHttp2Stream): () => Error | undefined {
  let failure: Error | undefined;
  stream.on("error", (error) => {
    // If the session failed, its error is the cause of the stream's.
    failure = error.cause instanceof Error ? error.cause : error;
  });
  return () => {
    if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) {
      return Object.assign(new Error("the server refused the stream"), { code: REFUSED_STREAM });
    }
    return failure ?? (stream.rstCode ? createResetError() : undefined);
  };
}

async function* readStream(
  stream: ClientHttp2Stream,
  failureOf: () => Error | undefined,
): AsyncGenerator<Buffer, void> {
  try {
    for await (const chunk of stream) yield chunk;
  } catch (error) {
    const isCutOff = (error as NodeJS.ErrnoException).code === "ERR_STREAM_PREMATURE_CLOSE";
    throw failureOf() ?? (isCutOff ? createResetError() : error);
  }
  const failure = failureOf();
  if (failure) throw failure;
}

/** Pings a session while it has open streams, and destroys it if it is dead. Its timers do not keep the process running. */
class Pings {
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #options: PingOptions;
  readonly #destroy: (error: Error) => void;
  #streams = 0;
  #timer: NodeJS.Timeout | undefined;
  #seenBytes = 0;

  constructor(session: ClientHttp2Session, socket: Socket, options: PingOptions, destroy: (error: Error) => void) {
    this.#session = session;
    this.#socket = socket;
    this.#options = options;
    this.#destroy = destroy;
  }

  /** Begins to ping for one more stream; returns a function that ends this. */
  start(): () => void {
    this.#streams++;
    if (this.#streams === 1) {
      this.#seenBytes = this.#socket.bytesRead;
      this.#timer = setInterval(() => this.#onInterval(), this.#options.interval).unref();
    }
    return () => {
      this.#streams--;
      if (this.#streams === 0) clearInterval(this.#timer);
    };
  }

  /**
   * Sends a ping, and destroys the session unless anything arrives in time.
   *
   * @param onAlive - called otherwise
   */
  check(onAlive?: () => void): void {
    if (this.#session.destroyed) return;
    const before = this.#socket.bytesRead;
    const onTimeout = () => {
      if (this.#socket.bytesRead !== before) return onAlive?.();
      const message = `no response to a ping for ${this.#options.timeout / 1_000}s`;
      this.#destroy(Object.assign(new Error(message), { code: PING_TIMEOUT }));
    };
    const timer = setTimeout(onTimeout, this.#options.timeout).unref();
    this.#session.ping((error) => {
      clearTimeout(timer);
      if (error) return;
      this.#seenBytes = this.#socket.bytesRead;
      onAlive?.();
    });
  }

  #onInterval(): void {
    const { bytesRead } = this.#socket;
    const isSilent = bytesRead === this.#seenBytes;
    this.#seenBytes = bytesRead;
    if (isSilent) this.check();
  }
}
