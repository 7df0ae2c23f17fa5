/** Sends requests to an API server over one connection, with retries and new credentials. */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { linkAbort, untilAborted } from "../../util/abort.ts";
import type { Credentials } from "../auth/credentials.ts";
import type { Context } from "../kubeconfig/kubeconfig.ts";
import { closedError, isLost, isUnprocessed, toConnectionError, unreachableError } from "./connection-error.ts";
import {
  Body,
  type Channel,
  type PingOptions,
  type Request,
  type Response,
  type StreamedResponse,
} from "./messages.ts";

export { ConnectionError } from "./connection-error.ts";
export type { Request, Response, StreamedResponse } from "./messages.ts";

/** For reads with a response of 429 or 503. */
const MAX_ATTEMPTS = 4;
const MAX_RETRY_AFTER_SECONDS = 30;

export interface Transport {
  /**
   * @param signal - aborts the request.
   * @throws ConnectionError if no complete response arrives.
   * @throws the reason of the signal
   */
  request(request: Request, signal?: AbortSignal): Promise<Response>;
  /**
   * Sends a GET whose response has no end known beforehand. The request timeout applies until its headers have arrived. The
   * connection is shared over HTTP/2, and the stream's own over HTTP/1.1.
   *
   * @param signal - aborts the request and the body.
   * @returns the response; one with an error status is complete.
   * @throws ConnectionError if no response arrives, also while the body is read.
   * @throws the reason of the signal
   */
  stream(request: Pick<Request, "path" | "accept">, signal: AbortSignal): Promise<StreamedResponse>;
  /** Closes the connection and aborts requests in flight. */
  close(): void;
}

export interface TransportOptions {
  /** Milliseconds. Default: 5,000. */
  connectTimeout?: number;
  /** Milliseconds for each request; 0 for no limit. Default: 30,000. */
  requestTimeout?: number;
  /** Default: after 30 s, for 15 s, as in client-go. */
  ping?: PingOptions;
  /** Called for each request with method, path, status and milliseconds; never with headers or bodies. */
  trace?: ((line: string) => void) | undefined;
  userAgent?: string;
  env?: NodeJS.ProcessEnv;
}

/** How a request is sent over a channel. It has to finish within the request timeout. */
type Send<T> = (channel: Channel, request: Request, headers: Credentials["headers"], signal: AbortSignal) => Promise<T>;

/**
 * Opens a transport to the server of a context. Connecting and obtaining credentials start at once and in parallel;
 * requests wait for both. A lost connection is replaced by the next request. A request that failed with it is retried
 * once if it is a read, or a write that the server has certainly not processed.
 *
 * @param obtain - obtains the credentials; called again after a 401 with the rejected ones.
 */
export function openTransport(
  context: Context,
  obtain: (rejected?: Credentials) => Promise<Credentials>,
  options: TransportOptions = {},
): Transport {
  const { connectTimeout = 5_000, requestTimeout = 30_000, trace, userAgent, env = process.env } = options;
  const { ping = { interval: 30_000, timeout: 15_000 } } = options;
  const prefix = new URL(context.server).pathname.replace(/\/$/, "");
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let credentials = obtain();
  credentials.catch(() => {});
  let channel: Promise<Channel> | undefined = open();
  /** Channels on which a request timed out, and which may be dead. */
  const timedOut = new WeakSet<Channel>();

  function open(): Promise<Channel> {
    // Loaded on demand: printing help or a usage error needs no HTTP.
    const opened = import("./channel.ts").then(({ openChannel }) =>
      openChannel(context, credentials, { connectTimeout, env, ping, signal: closing.signal }),
    );
    opened.then(
      ({ protocol }) => trace?.(`connected, ${protocol}`),
      () => discard(opened),
    );
    return opened;
  }

  function discard(ended: Promise<Channel>): void {
    if (channel !== ended) return;
    channel = undefined;
    ended.then(
      (unneeded) => unneeded.retire(),
      () => {},
    );
  }

  async function findUsableChannel(): Promise<Channel> {
    channel ??= open();
    const pending = channel;
    const current = await pending;
    if (current.isUsable() && !timedOut.has(current)) return current;
    discard(pending);
    channel ??= open();
    return channel;
  }

  async function sendOnce<T extends Head>(request: Request, send: Send<T>, abort: AbortController): Promise<T> {
    const { headers } = await credentials;
    const current = await findUsableChannel();
    abort.signal.throwIfAborted();
    const started = Date.now();
    const traceResult = (result: string | number) =>
      trace?.(`${request.method} ${request.path} ${result} ${Date.now() - started} ms`);
    let isTimedOut = false;
    const onTimeout = () => {
      isTimedOut = true;
      abort.abort();
    };
    const timer = requestTimeout > 0 ? setTimeout(onTimeout, requestTimeout) : undefined;
    const allHeaders: Credentials["headers"] = {
      accept: request.accept ?? "application/json",
      ...(userAgent !== undefined && { "user-agent": userAgent }),
      ...(request.contentType !== undefined && { "content-type": request.contentType }),
      ...headers,
    };
    try {
      const response = await send(current, { ...request, path: prefix + request.path }, allHeaders, abort.signal);
      traceResult(response.status);
      return response;
    } catch (error) {
      if (isTimedOut) {
        traceResult("timed out");
        timedOut.add(current);
        const subject = `${request.method} ${request.path.replace(/\?.*/, "")}`;
        throw unreachableError(context, `timed out after ${requestTimeout / 1000}s waiting for ${subject}`);
      }
      traceResult((error as NodeJS.ErrnoException).code ?? "failed");
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Replaces rejected credentials; false if the new ones are the same. */
  async function renew(rejected: Promise<Credentials>): Promise<boolean> {
    const isFirst = credentials === rejected;
    const before = await rejected;
    if (isFirst) {
      credentials = obtain(before);
      credentials.catch(() => {});
    }
    const now = await credentials;
    if (isFirst && (before.cert !== now.cert || before.key !== now.key) && channel) discard(channel);
    return JSON.stringify(before) !== JSON.stringify(now);
  }

  /** Sends a request until it has a final response; `abort` is aborted by a timeout. */
  async function sendUntilDone<T extends Head>(request: Request, send: Send<T>, abort: AbortController): Promise<T> {
    let [hasRenewed, hasRetried] = [false, false];
    for (let attempts = 1; ; attempts++) {
      const used = credentials;
      let response: T;
      try {
        response = await sendOnce(request, send, abort);
      } catch (error) {
        const isRetriable = (request.method === "GET" ? isLost : isUnprocessed)(error as NodeJS.ErrnoException);
        if (hasRetried || !isRetriable || closing.signal.aborted) throw error;
        hasRetried = true;
        continue;
      }
      if (response.status === 401 && !hasRenewed) {
        hasRenewed = true;
        if (!(await renew(used))) return response;
        // kube-apiserver closes a connection whose credentials it rejected, so that the next stream may be refused too.
        hasRetried = false;
        continue;
      }
      const isBusy = request.method === "GET" && (response.status === 429 || response.status === 503);
      const retryAfter = Number(response.headers["retry-after"] ?? Number.NaN);
      if (!isBusy || attempts >= MAX_ATTEMPTS || !(retryAfter <= MAX_RETRY_AFTER_SECONDS)) return response;
      await pause(retryAfter * 1000, abort);
    }
  }

  async function pause(milliseconds: number, abort: AbortController): Promise<void> {
    const onClose = () => abort.abort();
    closing.signal.addEventListener("abort", onClose, { once: true });
    try {
      await sleep(milliseconds, undefined, { signal: abort.signal });
    } finally {
      closing.signal.removeEventListener("abort", onClose);
    }
  }

  /** Returns the error that the caller gets, by what has ended the request. */
  function toCallerError(error: unknown, signal: AbortSignal | undefined): unknown {
    if (closing.signal.aborted) return closedError(context);
    return signal?.aborted ? signal.reason : toConnectionError(error, context);
  }

  async function* readBody(
    body: AsyncIterable<Buffer>,
    signal: AbortSignal,
    unlink: () => void,
  ): AsyncGenerator<string, void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of body) yield decoder.decode(chunk, { stream: true });
      const rest = decoder.decode();
      if (rest) yield rest;
    } catch (error) {
      throw toCallerError(error, signal);
    } finally {
      unlink();
    }
  }

  return {
    async request(request, signal) {
      const { abort, unlink } = linkAbort(signal);
      try {
        const sent = sendUntilDone(request, (channel, ...others) => channel.send(...others), abort);
        return await (signal ? untilAborted(sent, signal) : sent);
      } catch (error) {
        throw toCallerError(error, signal);
      } finally {
        unlink();
      }
    },
    async stream(request, signal) {
      const { abort, unlink } = linkAbort(signal);
      try {
        const response = await untilAborted(sendUntilDone({ method: "GET", ...request }, startStream, abort), signal);
        return { ...response, body: readBody(response.body, signal, unlink) };
      } catch (error) {
        unlink();
        throw toCallerError(error, signal);
      }
    },
    close: () => closing.abort(),
  };
}

type Head = Pick<Response, "status" | "headers">;

/** Sends a request whose successful response is streamed; the body of others is read. */
const startStream: Send<StreamedResponse<Buffer>> = async (channel, ...others) => {
  const response = await channel.stream(...others);
  if (response.status >= 200 && response.status < 300) return response;
  const body = new Body();
  for await (const chunk of response.body) {
    const tooLarge = body.add(chunk);
    if (tooLarge) throw tooLarge;
  }
  return { ...response, body: body.chunks() };
};
