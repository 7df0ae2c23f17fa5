/** The node ports of a cluster: TCP from each node's address to its clustermesh-apiserver, while that runs. */
import { once } from "node:events";
import { createServer, connect as netConnect, type Socket } from "node:net";

export interface NodePorts {
  stop(): Promise<void>;
}

/**
 * Listens at a port of each address.
 *
 * @param running whether there is a pod that takes connections; else they are refused as soon as they come.
 */
export async function startNodePorts(
  addresses: readonly string[],
  port: number,
  to: number,
  running: () => boolean,
): Promise<NodePorts> {
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
  };
  const servers = addresses.map(() =>
    createServer({ noDelay: true }, (client) => {
      track(client);
      if (!running()) return void client.destroy();
      const server = netConnect({ host: "127.0.0.1", port: to, noDelay: true });
      track(server);
      client.on("close", () => server.destroy());
      server.on("close", () => client.destroy());
      client.pipe(server).pipe(client);
    }),
  );
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
  } catch (error) {
    await stop();
    throw error;
  }
  return { stop };
}

/** Whether a server can listen at this address and port now. */
export async function isFree(address: string, port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, address);
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
