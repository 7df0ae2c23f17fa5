/** The node port of a cluster: forwards TCP from each node's address to the clustermesh-apiserver while it runs. */
import { once } from "node:events";
import { createServer, connect as netConnect, type Socket } from "node:net";

export interface NodePorts {
  /** The same at every address. */
  port: number;
  /** Closes all listeners and their connections. */
  stop(): Promise<void>;
}

/** Kubernetes' default range of node ports: 30000 to 32767. */
const FIRST_PORT = 30_000;
const PORT_COUNT = 2_768;

/**
 * Listens on one port at all addresses.
 *
 * @param preferred - 30000 to 32767; if it is in use at an address, the next port that is free at all of them is used
 * @param route - returns the port on 127.0.0.1 to forward to; undefined closes the connection
 * @throws the error of `listen` if an address is not local, or no port is free
 */
export async function startNodePorts(
  addresses: readonly string[],
  preferred: number,
  route: () => number | undefined,
): Promise<NodePorts> {
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
  };
  const accept = (client: Socket) => {
    track(client);
    const targetPort = route();
    if (targetPort === undefined) return void client.destroy();
    const server = netConnect({ host: "127.0.0.1", port: targetPort, noDelay: true });
    track(server);
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
    client.pipe(server).pipe(client);
  };
  for (let attempt = 1; ; attempt++) {
    const port = FIRST_PORT + ((preferred - FIRST_PORT + attempt - 1) % PORT_COUNT);
    const servers = addresses.map(() => createServer({ noDelay: true }, accept));
    const stop = async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all(
        servers.filter(({ listening }) => listening).map((server) => new Promise((resolve) => server.close(resolve))),
      );
    };
    try {
      for (const [i, server] of servers.entries()) {
        server.listen(port, addresses[i]);
        await once(server, "listening");
      }
      return { port, stop };
    } catch (error) {
      await stop();
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || attempt === PORT_COUNT) throw error;
    }
  }
}

/** Whether this machine can listen on an address. */
export async function isLocalAddress(address: string): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(0, address);
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
