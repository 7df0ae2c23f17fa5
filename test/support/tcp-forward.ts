/** Further addresses of a server, such as those of nodes and load balancers, which can be taken away. */
import { createConnection, createServer, type Socket } from "node:net";

export interface TcpForward {
  address: string;
  port: number;
  /** Closes the listener and all its connections, as when a node is gone. */
  stop(): Promise<void>;
}

/**
 * Listens on an address and forwards each connection to a server.
 *
 * @param to - URL with a host and a port.
 */
export function startTcpForward(address: string, port: number, to: string): Promise<TcpForward> {
  const { hostname, port: target } = new URL(to);
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).once("close", () => sockets.delete(socket));
  };
  const server = createServer((socket) => {
    const upstream = createConnection(Number(target), hostname);
    track(socket);
    track(upstream);
    socket.pipe(upstream).pipe(socket);
    socket.once("close", () => upstream.destroy());
    upstream.once("close", () => socket.destroy());
  });
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, () => resolve({ address, port, stop }));
  });
}
