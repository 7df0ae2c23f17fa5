/** Tunnels through a SOCKS 5 proxy, such as `ssh -D`. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { SocksClient } from "socks";
import { formatHostPort, type HostPort } from "../../util/address.ts";
import { describeNetworkError } from "../../util/network-error.ts";
import { ConnectionError } from "./connection-error.ts";

/** Longer than any connection timeout, so that the signal ends the attempt. */
const TIMEOUT_MS = 600_000;

/**
 * Opens a tunnel to a target, whose name the proxy resolves, as in Go for both `socks5://` and `socks5h://`.
 *
 * @param proxy - the proxy URL, with the user and password if any.
 * @param address - the address of the proxy.
 * @throws ConnectionError if the proxy cannot be reached or refuses the connection.
 */
export async function openSocksTunnel(
  proxy: URL,
  address: HostPort,
  target: HostPort,
  signal?: AbortSignal,
): Promise<Socket> {
  const socket = connect(address);
  const abort = () => socket.destroy(new Error("aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await once(socket, "connect");
  } catch (error) {
    const cause = describeNetworkError(error as NodeJS.ErrnoException);
    throw new ConnectionError(`cannot reach proxy ${proxy.host}: ${cause}`, { cause: error });
  }
  const [userId, password] = [proxy.username, proxy.password].map(decodeURIComponent);
  try {
    await SocksClient.createConnection({
      command: "connect",
      proxy: { ...address, type: 5, ...(userId && { userId, password: password ?? "" }) },
      destination: target,
      existing_socket: socket,
      timeout: TIMEOUT_MS,
    });
    return socket;
  } catch (error) {
    socket.destroy();
    const cause = error instanceof Error ? error.message : String(error);
    const message = `cannot connect to ${formatHostPort(target)} through proxy ${proxy.host}: ${cause}`;
    throw new ConnectionError(message, { cause: error });
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
