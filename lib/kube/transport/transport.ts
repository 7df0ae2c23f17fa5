/** Sends requests to an API server over one connection, with retries and new credentials. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Credentials } from "../auth/credentials.ts";
import type { Context } from "../kubeconfig/kubeconfig.ts";
import type { Channel, Request, Response } from "./channel.ts";
import { closedError, isUnprocessed, toConnectionError, unreachableError } from "./connection-error.ts";

export type { Request, Response } from "./channel.ts";
export { ConnectionError } from "./connection-error.ts";

/** For reads with a response of 429 or 503. */
const MAX_ATTEMPTS = 4;
const MAX_RETRY_AFTER_SECONDS = 30;

export interface Transport {
  /** @throws ConnectionError if no complete response arrives. */
  request(request: Request): Promise<Response>;
  /** Closes the connection and aborts requests in flight. */
  close(): void;
}

export interface TransportOptions {
  /** Milliseconds. Default: 5,000. */
  connectTimeout?: number;
  /** Milliseconds for each request; 0 for no limit. Default: 30,000. */
  requestTimeout?: number;
  /** Called for each request with method, path, status and milliseconds; never with headers or bodies. */
  trace?: ((line: string) => void) | undefined;
  userAgent?: string;
  env?: NodeJS.ProcessEnv;
}

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
  const prefix = new URL(context.server).pathname.replace(/\/$/, "");
  const closing = new AbortController();
  let credentials = obtain();
  credentials.catch(() => {});
  let channel: Promise<Channel> | undefined = open();
  /** Channels on which a request timed out, and which may be dead. */
  const timedOut = new WeakSet<Channel>();

  function open(): Promise<Channel> {
    // Loaded on demand: printing help or a usage error needs no HTTP.
    const opened = import("./channel.ts").then(({ openChannel }) =>
      openChannel(context, credentials, { connectTimeout, env, signal: closing.signal }),
    );
    opened.then(
      ({ protocol }) => trace?.(`connected, ${protocol}`),
      () => discard(opened),
    );
    return opened;
  }

  function discard(ended: Promise<Channel>): void {
    if (channel === ended) channel = undefined;
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

  async function sendOnce(request: Request): Promise<Response> {
    const { headers } = await credentials;
    const current = await findUsableChannel();
    const started = Date.now();
    const traceResult = (result: string | number) =>
      trace?.(`${request.method} ${request.path} ${result} ${Date.now() - started} ms`);
    const abort = new AbortController();
    const timer = requestTimeout > 0 ? setTimeout(() => abort.abort(), requestTimeout) : undefined;
    const allHeaders: Credentials["headers"] = {
      accept: request.accept ?? "application/json",
      ...(userAgent !== undefined && { "user-agent": userAgent }),
      ...(request.contentType !== undefined && { "content-type": request.contentType }),
      ...headers,
    };
    try {
      const response = await current.send({ ...request, path: prefix + request.path }, allHeaders, abort.signal);
      traceResult(response.status);
      return response;
    } catch (error) {
      if (abort.signal.aborted) {
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
    if (isFirst && (before.cert !== now.cert || before.key !== now.key)) channel = undefined;
    return JSON.stringify(before) !== JSON.stringify(now);
  }

  async function send(request: Request): Promise<Response> {
    let [hasRenewed, hasRetried] = [false, false];
    for (let attempts = 1; ; attempts++) {
      const used = credentials;
      let response: Response;
      try {
        response = await sendOnce(request);
      } catch (error) {
        const isRetriable = request.method === "GET" ? isLost(error) : isUnprocessed(error as NodeJS.ErrnoException);
        if (hasRetried || !isRetriable || closing.signal.aborted) throw error;
        hasRetried = true;
        continue;
      }
      if (response.status === 401 && !hasRenewed) {
        hasRenewed = true;
        if (!(await renew(used))) return response;
        continue;
      }
      const isBusy = request.method === "GET" && (response.status === 429 || response.status === 503);
      const retryAfter = Number(response.headers["retry-after"] ?? Number.NaN);
      if (!isBusy || attempts >= MAX_ATTEMPTS || !(retryAfter <= MAX_RETRY_AFTER_SECONDS)) return response;
      await sleep(retryAfter * 1000, undefined, { signal: closing.signal });
    }
  }

  return {
    request: (request) =>
      send(request).catch((error) => {
        throw closing.signal.aborted ? closedError(context) : toConnectionError(error, context);
      }),
    close: () => closing.abort(),
  };
}

/** Whether a request failed because its connection was lost. */
function isLost(error: unknown): boolean {
  const { code = "" } = error as NodeJS.ErrnoException;
  return isUnprocessed(error as NodeJS.ErrnoException) || LOST_CONNECTION_CODES.has(code);
}

const LOST_CONNECTION_CODES = new Set(["ECONNRESET", "EPIPE", "ERR_HTTP2_STREAM_CANCEL", "ERR_HTTP2_SESSION_ERROR"]);
