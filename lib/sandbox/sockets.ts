/** The open connections of a server. */
import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";

/**
 * Tracks the connections of a server. Returns a function that destroys those that are open: `close` waits for them, and a
 * session of `node:http2` that is destroyed while it writes may keep its socket open.
 *
 * @param server - emits `connection` with each socket, as those of `node:net` and all that are based on them.
 */
export function trackSockets(server: EventEmitter): () => void {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}
