/** A relay that terminates TLS between a program and an API server, and injects network and server faults. */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";
import { trackSockets } from "../../lib/sandbox/sockets.ts";

export type Fault =
  /** Connections are refused from now on, until `mend`. */
  | "refused"
  /** The connection is closed: before the request is forwarded, after it was handled, or within the response. */
  | "reset"
  | "reset after"
  | "truncated"
  /** The connection is closed, and the certificate is issued by another CA from now on, until `mend`. */
  | "another certificate"
  | "slow"
  /** The relay responds with this status; 429 has a Retry-After of one second. */
  | 409
  | 429
  | 500
  | 503;

export interface Relay {
  /** `https://127.0.0.1:<port>`. */
  url: string;
  /** Issuer of the relay's certificate. */
  ca: Issuer;
  /** Returns the fault of a request; called in the order of arrival. */
  onRequest: ((method: string, path: string) => Fault | undefined) | undefined;
  /** Closes all connections; new ones are accepted. */
  cut(): void;
  /** Resets the watches; other requests on their connection go on. Returns how many there were. */
  cutWatches(): number;
  /** The server is away until `mend`: connections are refused or, if `silent`, nothing is sent any more and nothing closed. */
  leave(how: "refused" | "silent"): void;
  /** Ends persistent faults: listens, with the certificate issued by `ca`. */
  mend(): Promise<void>;
  stop(): Promise<void>;
}

const { HTTP2_HEADER_METHOD: METHOD, HTTP2_HEADER_PATH: PATH, HTTP2_HEADER_STATUS: STATUS } = constants;

/** Starts a relay on a free port, HTTP/2 only. Watches are streamed, other responses are forwarded when they are complete. */
export async function startRelay(to: { url: string; ca: string }): Promise<Relay> {
  const [ca, other] = [makeCa({ cn: "relay", key: "ec" }), makeCa({ cn: "another", key: "ec" })];
  const certificate = (by: Issuer) => issue(by, { cn: "relay", ips: ["127.0.0.1"], usage: "server", key: "ec" });
  const [ownCertificate, otherCertificate] = [certificate(ca), certificate(other)];
  const sessions = new Set<ServerHttp2Session>();
  const watches = new Set<ServerHttp2Stream>();
  const disconnect = () => {
    for (const session of sessions) session.destroy();
  };
  let upstream: ClientHttp2Session | undefined;
  const send = (headers: IncomingHttpHeaders, body: Buffer): ClientHttp2Stream => {
    if (upstream === undefined || upstream.closed || upstream.destroyed) {
      upstream = connect(to.url, { ca: to.ca });
      upstream.on("error", () => {});
    }
    const { [constants.HTTP2_HEADER_AUTHORITY]: _, ...rest } = headers;
    const stream = upstream.request(rest, { endStream: body.length === 0 });
    if (body.length > 0) stream.end(body);
    return stream;
  };
  const forward = (headers: IncomingHttpHeaders, body: Buffer): Promise<[IncomingHttpHeaders, Buffer]> =>
    new Promise((resolve, reject) => {
      const stream = send(headers, body);
      const answer: { headers: IncomingHttpHeaders; chunks: Buffer[] } = { headers: {}, chunks: [] };
      stream.on("response", (found) => Object.assign(answer.headers, found));
      stream.on("data", (chunk: Buffer) => answer.chunks.push(chunk));
      stream.on("end", () => resolve([answer.headers, Buffer.concat(answer.chunks)]));
      stream.on("error", reject);
    });

  const server = createSecureServer(ownCertificate);
  const destroySockets = trackSockets(server);
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    handleStream(stream, headers).catch(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const line = await startLine((server.address() as AddressInfo).port);

  const relay: Relay = {
    url: `https://127.0.0.1:${line.port}`,
    ca,
    onRequest: undefined,
    cut: disconnect,
    cutWatches: () => {
      for (const stream of watches) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      return watches.size;
    },
    leave: (how) => {
      if (how === "silent") return line.hold();
      line.refuse();
      disconnect();
    },
    mend: async () => {
      server.setSecureContext(ownCertificate);
      await line.mend();
    },
    stop: async () => {
      disconnect();
      upstream?.destroy();
      await line.stop();
      destroySockets();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return relay;

  async function handleStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const fault = relay.onRequest?.(String(headers[METHOD]), String(headers[PATH]));
    if (fault === "refused") line.refuse();
    if (fault === "another certificate") server.setSecureContext(otherCertificate);
    if (fault === "refused" || fault === "another certificate" || fault === "reset") return disconnect();
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    if (typeof fault === "number") {
      const status = { kind: "Status", apiVersion: "v1", status: "Failure", code: fault, message: "injected fault" };
      stream.respond({
        [STATUS]: fault,
        "content-type": "application/json",
        ...(fault === 429 && { "retry-after": "1" }),
      });
      return void stream.end(JSON.stringify(status));
    }
    if (fault === "slow") await sleep(200);
    if (/[?&]watch=(true|1)(&|$)/.test(String(headers[PATH]))) return relayWatch(stream, headers, fault);
    const [answer, body] = await forward(headers, Buffer.concat(chunks));
    if (fault === "reset after") return disconnect();
    stream.respond(answer);
    if (fault !== "truncated") return void stream.end(body);
    stream.write(body.subarray(0, body.length / 2));
    setImmediate(disconnect);
  }

  function relayWatch(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, fault: Fault | undefined): void {
    const source = send(headers, Buffer.alloc(0));
    watches.add(stream);
    stream.on("close", () => {
      watches.delete(stream);
      source.close(constants.NGHTTP2_CANCEL);
    });
    source.on("error", () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    source.on("response", (answer) => {
      if (stream.destroyed) return;
      stream.respond(answer);
      source.pipe(stream);
      if (fault === "reset after" || fault === "truncated") setImmediate(disconnect);
    });
  }
}

/** A TCP port that forwards to another one of 127.0.0.1, and can be closed or hold everything back. */
interface Line {
  port: number;
  /** Refuses new connections, and closes the open ones. */
  refuse(): void;
  /** Accepts connections and data, and forwards nothing. */
  hold(): void;
  /** Forwards again, also what was held. */
  mend(): Promise<void>;
  stop(): Promise<void>;
}

async function startLine(to: number): Promise<Line> {
  const pairs = new Set<[Socket, Socket]>();
  let isHeld = false;
  const server = createServer({ noDelay: true }, (client) => {
    const pair: [Socket, Socket] = [client, connectTcp({ host: "127.0.0.1", port: to, noDelay: true })];
    pairs.add(pair);
    const close = () => {
      pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on("error", close).on("close", close);
    if (!isHeld) forward(pair);
  });
  const listen = async (port: number) => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    refuse: () => {
      server.close();
      // Also those whose handshake is not over.
      for (const [client, upstream] of pairs) {
        client.destroy();
        upstream.destroy();
      }
    },
    hold: () => {
      isHeld = true;
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream).pause();
        upstream.unpipe(client).pause();
      }
    },
    mend: async () => {
      if (!server.listening) await listen(port);
      if (isHeld) for (const pair of pairs) forward(pair);
      isHeld = false;
    },
    stop: async () => {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

function forward([client, upstream]: readonly [Socket, Socket]): void {
  client.pipe(upstream);
  upstream.pipe(client);
}
