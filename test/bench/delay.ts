/** A TCP relay on loopback that adds latency and counts bytes. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";

export interface DelayingRelay {
  port: number;
  /** Bytes from and to clients, TLS included, since the start or the last reset. */
  sent: number;
  received: number;
  stop(): Promise<void>;
}

/**
 * Starts a relay to a port of 127.0.0.1.
 *
 * @param roundTrip round-trip time in milliseconds; connecting takes one more round trip, as with TCP
 */
export async function startDelayingRelay(to: number, roundTrip: number): Promise<DelayingRelay> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: "127.0.0.1", port: to, noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
    }
    const opened = performance.now();
    delay(
      client,
      upstream,
      (now) => Math.max(now, opened + roundTrip) + roundTrip / 2,
      (bytes) => {
        relay.sent += bytes;
      },
    );
    delay(
      upstream,
      client,
      (now) => now + roundTrip / 2,
      (bytes) => {
        relay.received += bytes;
      },
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const relay: DelayingRelay = {
    port: (server.address() as AddressInfo).port,
    sent: 0,
    received: 0,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return relay;
}

/** Forwards chunks in order, each at its due time. */
function delay(from: Duplex, to: Duplex, due: (now: number) => number, count: (bytes: number) => void): void {
  const pieces: { at: number; chunk: Buffer | undefined }[] = [];
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    timer = undefined;
    while (pieces[0] && pieces[0].at <= performance.now()) {
      const { chunk } = pieces.shift() ?? {};
      if (chunk) to.write(chunk);
      else to.end();
    }
    if (pieces[0]) timer = setTimeout(flush, pieces[0].at - performance.now());
  };
  const add = (chunk: Buffer | undefined) => {
    count(chunk?.length ?? 0);
    pieces.push({ at: due(performance.now()), chunk });
    if (timer === undefined) flush();
  };
  from.on("data", add).on("end", () => add(undefined));
  from.on("close", () => {
    if (pieces.length === 0) to.destroy();
  });
}
