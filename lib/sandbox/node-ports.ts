/** The node ports of a cluster: TCP from each node's address to its clustermesh-apiserver, while that runs. */
import { once } from "node:events";
import { createServer, connect as netConnect, type Socket } from "node:net";

export interface NodePorts {
  /** The port that every address listens at. */
  port: number;
  stop(): Promise<void>;
}

/** What Kubernetes gives away by default. */
const FIRST = 30_000;
const PORTS = 2_768;

/**
 * Listens at one port of each address.
 *
 * @param preferred of 30000 to 32767; where one of the addresses has it in use, the next that is free at all of them.
 * @param route the port of 127.0.0.1 where a pod takes connections now; while there is none, they are closed as they come.
 * @throws the listening's error where an address is not this machine's, or no port is free.
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
    const to = route();
    if (to === undefined) return void client.destroy();
    const server = netConnect({ host: "127.0.0.1", port: to, noDelay: true });
    track(server);
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
    client.pipe(server).pipe(client);
  };
  for (let tried = 1; ; tried++) {
    const port = FIRST + ((preferred - FIRST + tried - 1) % PORTS);
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
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || tried === PORTS) throw error;
    }
  }
}

/** Whether this machine listens at this address. */
export async function isOwn(address: string): Promise<boolean> {
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
