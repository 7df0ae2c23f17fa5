/** One connection to an API server, with the credentials of a context: what is asked, asked again, and given up. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Credentials } from "../auth/credentials.ts";
import type { Context } from "../kubeconfig/kubeconfig.ts";
import type { Channel, Request, Response } from "./channel.ts";
import { ConnectionError, closedError, isUnprocessed, toConnectionError } from "./connection-error.ts";

export type { Request, Response } from "./channel.ts";
export { ConnectionError } from "./connection-error.ts";

/** How often a read is tried when the server says that it is busy, and how many seconds it may ask us to wait. */
const ATTEMPTS = 4;
const LONGEST_WAIT = 30;

export interface Transport {
  /** @throws ConnectionError where no whole answer comes. */
  request(request: Request): Promise<Response>;
  /** Ends the connection at once. */
  close(): void;
}

export interface TransportOptions {
  /** Milliseconds until a connection has to stand. Default: 5,000. */
  connectTimeout?: number;
  /** Milliseconds that one request may take; 0 for no limit. Default: 30,000. */
  requestTimeout?: number;
  /** Told of each request: method, path, status and milliseconds; never headers or bodies. */
  trace?: ((line: string) => void) | undefined;
  env?: NodeJS.ProcessEnv;
}

/**
 * Starts to connect at once. The credentials may still be on their way: requests wait for both. A connection that has
 * ended is made anew with the next request. What failed with it is sent again, once: a read, and a write that the
 * server surely has not begun; any other write may have been done.
 *
 * @param obtain gives the credentials; asked again after a 401, with those that were refused.
 */
export function openTransport(
  context: Context,
  obtain: (refused?: Credentials) => Promise<Credentials>,
  options: TransportOptions = {},
): Transport {
  const { connectTimeout = 5_000, requestTimeout = 30_000, trace, env = process.env } = options;
  const prefix = new URL(context.server).pathname.replace(/\/$/, "");
  const closing = new AbortController();
  let credentials = obtain();
  credentials.catch(() => {});
  let channel: Promise<Channel> | undefined = open();
  /** Channels on which a request had no answer in time: whether they still live is not known. */
  const silent = new WeakSet<Channel>();

  function open(): Promise<Channel> {
    // Loaded only now: a program that connects to nothing, for its help or a wrong call, needs no HTTP.
    const opened = import("./channel.ts").then(({ openChannel }) =>
      openChannel(context, credentials, { connectTimeout, env, signal: closing.signal }),
    );
    opened.then(
      ({ protocol }) => trace?.(`connected, ${protocol}`),
      () => drop(opened),
    );
    return opened;
  }

  function drop(ended: Promise<Channel>): void {
    if (channel === ended) channel = undefined;
  }

  async function take(): Promise<Channel> {
    channel ??= open();
    const taken = channel;
    const found = await taken;
    if (found.isUsable() && !silent.has(found)) return found;
    drop(taken);
    channel ??= open();
    return channel;
  }

  async function sendOnce(request: Request): Promise<Response> {
    const { headers } = await credentials;
    const current = await take();
    const started = Date.now();
    const told = (what: string | number) =>
      trace?.(`${request.method} ${request.path} ${what} ${Date.now() - started} ms`);
    const limit = new AbortController();
    const timer = requestTimeout > 0 ? setTimeout(() => limit.abort(), requestTimeout) : undefined;
    const all: Credentials["headers"] = {
      accept: request.accept ?? "application/json",
      "user-agent": "clustermesh-secrets",
      ...headers,
    };
    if (request.contentType) all["content-type"] = request.contentType;
    try {
      const response = await current.send({ ...request, path: prefix + request.path }, all, limit.signal);
      told(response.status);
      return response;
    } catch (error) {
      if (limit.signal.aborted) {
        told("no answer");
        silent.add(current);
        const what = `${request.method} ${request.path.replace(/\?.*/, "")}`;
        throw new ConnectionError(
          `${context.server} (context ${context.name}) did not answer within ${requestTimeout / 1000} s: ${what}`,
        );
      }
      told((error as NodeJS.ErrnoException).code ?? "failed");
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Credentials that are not those which were refused; false where there are no others. */
  async function renew(refused: Promise<Credentials>): Promise<boolean> {
    const first = credentials === refused;
    const before = await refused;
    if (first) {
      credentials = obtain(before);
      credentials.catch(() => {});
    }
    const now = await credentials;
    if (first && (before.cert !== now.cert || before.key !== now.key)) channel = undefined;
    return JSON.stringify(before) !== JSON.stringify(now);
  }

  async function send(request: Request): Promise<Response> {
    let [renewed, lost] = [false, false];
    for (let tries = 1; ; tries++) {
      const used = credentials;
      let response: Response;
      try {
        response = await sendOnce(request);
      } catch (error) {
        const again = request.method === "GET" ? isLost(error) : isUnprocessed(error as NodeJS.ErrnoException);
        if (lost || !again || closing.signal.aborted) throw error;
        lost = true;
        continue;
      }
      if (response.status === 401 && !renewed) {
        renewed = true;
        if (!(await renew(used))) return response;
        continue;
      }
      const busy = request.method === "GET" && (response.status === 429 || response.status === 503);
      const wait = Number(response.headers["retry-after"] ?? Number.NaN);
      if (!busy || tries >= ATTEMPTS || !(wait <= LONGEST_WAIT)) return response;
      await sleep(wait * 1000, undefined, { signal: closing.signal });
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

/** Whether a connection that was open ended under a request. */
function isLost(error: unknown): boolean {
  const { code = "" } = error as NodeJS.ErrnoException;
  return isUnprocessed({ code } as NodeJS.ErrnoException) || LOST.has(code);
}

const LOST = new Set(["ECONNRESET", "EPIPE", "ERR_HTTP2_STREAM_CANCEL", "ERR_HTTP2_SESSION_ERROR"]);
