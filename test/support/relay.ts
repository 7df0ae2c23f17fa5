/** Between a program and an API server: TLS ends here, and any request can go wrong as networks and servers do. */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  constants,
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";

export type Fault =
  /** From here on nobody listens, until `mend`. */
  | "refused"
  /** The connection ends: before the request is passed on, after it was done, or within its answer. */
  | "reset"
  | "reset after"
  | "truncated"
  /** The connection ends, and from here on the server has a certificate of another CA, until `mend`. */
  | "another certificate"
  | "slow"
  /** Answered here, with this status; 429 comes with a Retry-After of a second. */
  | 409
  | 429
  | 500
  | 503;

export interface Relay {
  /** `https://127.0.0.1:<port>`. */
  url: string;
  /** Who signed the relay's certificate. */
  ca: Issuer;
  /** Decides about each request, in the order in which they come. */
  onRequest: ((method: string, path: string) => Fault | undefined) | undefined;
  /** Listens again where nobody listened, with the certificate that `ca` signed. */
  mend(): Promise<void>;
  stop(): Promise<void>;
}

const { HTTP2_HEADER_METHOD: METHOD, HTTP2_HEADER_PATH: PATH, HTTP2_HEADER_STATUS: STATUS } = constants;

/** Starts it on a free port. Speaks HTTP/2 only, to both sides. */
export async function startRelay(to: { url: string; ca: string }): Promise<Relay> {
  const [ca, other] = [makeCa({ cn: "relay", key: "ec" }), makeCa({ cn: "another", key: "ec" })];
  const certificate = (by: Issuer) => issue(by, { cn: "relay", ips: ["127.0.0.1"], usage: "server", key: "ec" });
  const [own, others] = [certificate(ca), certificate(other)];
  const sessions = new Set<ServerHttp2Session>();
  const disconnect = () => {
    for (const session of sessions) session.destroy();
  };
  let upstream: ClientHttp2Session | undefined;
  const ask = (headers: IncomingHttpHeaders, body: Buffer): Promise<[IncomingHttpHeaders, Buffer]> =>
    new Promise((resolve, reject) => {
      if (upstream === undefined || upstream.closed || upstream.destroyed) {
        upstream = connect(to.url, { ca: to.ca });
        upstream.on("error", () => {});
      }
      const { [constants.HTTP2_HEADER_AUTHORITY]: _, ...rest } = headers;
      const stream = upstream.request(rest, { endStream: body.length === 0 });
      const answer: { headers: IncomingHttpHeaders; chunks: Buffer[] } = { headers: {}, chunks: [] };
      stream.on("response", (found) => Object.assign(answer.headers, found));
      stream.on("data", (chunk: Buffer) => answer.chunks.push(chunk));
      stream.on("end", () => resolve([answer.headers, Buffer.concat(answer.chunks)]));
      stream.on("error", reject);
      if (body.length > 0) stream.end(body);
    });

  const server = createSecureServer(own);
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    pass(stream, headers).catch(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  });
  const listen = async (port: number) => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;

  const relay: Relay = {
    url: `https://127.0.0.1:${port}`,
    ca,
    onRequest: undefined,
    mend: async () => {
      server.setSecureContext(own);
      if (!server.listening) await listen(port);
    },
    stop: async () => {
      disconnect();
      upstream?.destroy();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  return relay;

  async function pass(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const fault = relay.onRequest?.(String(headers[METHOD]), String(headers[PATH]));
    if (fault === "refused") server.close();
    if (fault === "another certificate") server.setSecureContext(others);
    if (fault === "refused" || fault === "another certificate" || fault === "reset") return disconnect();
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    if (typeof fault === "number") {
      const status = { kind: "Status", apiVersion: "v1", status: "Failure", code: fault, message: "a fault" };
      stream.respond({
        [STATUS]: fault,
        "content-type": "application/json",
        ...(fault === 429 && { "retry-after": "1" }),
      });
      return void stream.end(JSON.stringify(status));
    }
    if (fault === "slow") await sleep(200);
    const [answer, body] = await ask(headers, Buffer.concat(chunks));
    if (fault === "reset after") return disconnect();
    stream.respond(answer);
    if (fault !== "truncated") return void stream.end(body);
    stream.write(body.subarray(0, body.length / 2));
    setImmediate(disconnect);
  }
}
