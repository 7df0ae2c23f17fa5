/** Connections of HTTP/1.1: up to six for requests, and one for each stream. */
import {
  Agent,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { limitConcurrency } from "../../util/concurrency.ts";
import type { Credentials } from "../auth/credentials.ts";
import { Body, type Channel, type Request, type Response } from "./messages.ts";
import { hostOf, portOf, proxyAuthorization } from "./proxy.ts";

const MAX_SOCKETS = 6;
/** How long the connection of a stream is silent before TCP probes it, ten times a second apart. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Starts HTTP/1.1 on a connected socket.
 *
 * @param dial - opens another socket to the server.
 * @param closing - closes all connections.
 * @param proxy - an http proxy that forwards requests, which then have absolute URLs.
 */
export function createHttp1Channel(
  server: URL,
  first: Socket,
  dial: () => Promise<Socket>,
  closing: AbortSignal,
  proxy: URL | undefined,
): Channel {
  let unused: Socket | undefined = first;
  const createConnection = (_options: unknown, done: (error: Error | null, socket?: Socket) => void) => {
    const ready = unused && !unused.destroyed ? Promise.resolve(unused) : dial();
    unused = undefined;
    ready.then((socket) => done(null, socket), done);
  };
  const createAgent = (keepAlive: boolean): Agent =>
    Object.assign(new Agent({ keepAlive }), { createConnection, protocol: server.protocol });
  const agent = createAgent(true);
  const streamAgent = createAgent(false);
  // Without a listener an error of the unused socket would end the process.
  first.on("error", () => {});
  const onClose = () => {
    agent.destroy();
    streamAgent.destroy();
    unused?.destroy();
  };
  closing.addEventListener("abort", onClose, { once: true });
  const limit = limitConcurrency(MAX_SOCKETS);
  const startRequest = server.protocol === "https:" ? httpsRequest : httpRequest;
  let running = 0;
  let isRetired = false;

  const start = (
    { method, path, body }: Request,
    headers: Credentials["headers"],
    options: RequestOptions,
  ): ClientRequest => {
    const request = startRequest({
      ...{ protocol: server.protocol, host: hostOf(server), port: portOf(server), method },
      path: proxy ? server.origin + path : path,
      headers: {
        host: server.host,
        ...headers,
        ...(proxy && proxyAuthorization(proxy)),
        ...(body !== undefined && { "content-length": Buffer.byteLength(body) }),
      },
      ...options,
    });
    request.end(body);
    return request;
  };

  const sendRequest = (request: Request, headers: Credentials["headers"], signal: AbortSignal): Promise<Response> =>
    new Promise((resolve, reject) => {
      const outgoing = start(request, headers, { agent, signal });
      outgoing.on("error", reject);
      outgoing.on("response", (incoming: IncomingMessage) => {
        const body = new Body();
        incoming.on("data", (chunk: Buffer) => {
          const tooLarge = body.add(chunk);
          if (tooLarge) incoming.destroy(tooLarge);
        });
        incoming.on("error", reject);
        incoming.on("end", () => {
          if (incoming.complete) resolve({ ...headOf(incoming), body: body.toString() });
        });
      });
    });

  function release(): void {
    running--;
    closeIfUnneeded();
  }

  function closeIfUnneeded(): void {
    if (!isRetired || running > 0) return;
    closing.removeEventListener("abort", onClose);
    onClose();
  }

  return {
    protocol: "http/1.1",
    isUsable: () => !isRetired,
    send(request, headers, signal) {
      running++;
      return limit(() => sendRequest(request, headers, signal)).finally(release);
    },
    stream: (request, headers, signal) =>
      new Promise((resolve, reject) => {
        const outgoing = start(request, headers, { agent: streamAgent, signal });
        running++;
        outgoing.once("close", release);
        outgoing.on("socket", (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
        outgoing.on("error", reject);
        outgoing.on("response", (incoming: IncomingMessage) => {
          // An error before the body is read is thrown when it is.
          incoming.on("error", () => {});
          resolve({ ...headOf(incoming), body: incoming });
        });
      }),
    retire() {
      isRetired = true;
      closeIfUnneeded();
    },
  };
}

function headOf({ statusCode = 0, headers }: IncomingMessage): Omit<Response, "body"> {
  return { status: statusCode, headers: headers as Response["headers"] };
}
