/** A tunnel through a SOCKS 5 proxy, such as `ssh -D` opens. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { SocksClient } from "socks";
import { describeNetworkError } from "../../util/network-error.ts";
import { ConnectionError } from "./connection-error.ts";

/** The default port of SOCKS. */
const PORT = 1080;
/** Longer than a connection may take: the signal ends it before. */
const TIMEOUT = 600_000;

/**
 * The host's name is resolved by the proxy, as Go has it for `socks5://` and `socks5h://`.
 *
 * @throws ConnectionError
 */
export async function openSocksTunnel(proxy: URL, host: string, port: number, signal?: AbortSignal): Promise<Socket> {
  const address = { host: proxy.hostname.replace(/^\[|\]$/g, ""), port: Number(proxy.port) || PORT };
  const socket = connect(address);
  const abort = () => socket.destroy(new Error("given up"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await once(socket, "connect");
  } catch (error) {
    const why = describeNetworkError(error as NodeJS.ErrnoException);
    throw new ConnectionError(`proxy ${proxy.host} cannot be reached: ${why}`, { cause: error });
  }
  const [userId, password] = [proxy.username, proxy.password].map(decodeURIComponent);
  try {
    await SocksClient.createConnection({
      command: "connect",
      proxy: { ...address, type: 5, ...(userId && { userId, password: password ?? "" }) },
      destination: { host, port },
      existing_socket: socket,
      timeout: TIMEOUT,
    });
    return socket;
  } catch (error) {
    socket.destroy();
    const why = error instanceof Error ? error.message : String(error);
    throw new ConnectionError(`proxy ${proxy.host} does not connect to ${host}, port ${port}: ${why}`, {
      cause: error,
    });
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
