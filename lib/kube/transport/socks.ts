/** A tunnel through a SOCKS 5 proxy (RFC 1928, and 1929 for a name and a password), such as `ssh -D` opens. */
import { once } from "node:events";
import { connect, isIPv4, isIPv6, type Socket } from "node:net";
import { describeNetworkError } from "../../util/network-error.ts";
import { ConnectionError } from "./connection-error.ts";

/** What a proxy answers to a request, by RFC 1928, section 6. */
const REPLIES = [
  "granted",
  "the proxy failed",
  "its rules do not allow it",
  "the network is unreachable",
  "the host is unreachable",
  "the connection was refused",
  "the time to live ran out",
  "it does not connect for others",
  "it does not know that type of address",
];

/**
 * The host's name is resolved by the proxy, as Go has it for `socks5://` and `socks5h://`.
 *
 * @throws ConnectionError
 */
export async function socksTunnel(proxy: URL, host: string, port: number, signal?: AbortSignal): Promise<Socket> {
  const fail = (why: string) =>
    new ConnectionError(`proxy ${proxy.host} does not connect to ${host}, port ${port}: ${why}`);
  const socket = connect({ host: proxy.hostname.replace(/^\[|\]$/g, ""), port: Number(proxy.port) || 1080 });
  let received = Buffer.alloc(0);
  let failure: Error | undefined;
  let wake = () => {};
  const onData = (bytes: Buffer) => {
    received = Buffer.concat([received, bytes]);
    wake();
  };
  socket.on("data", onData).on("close", () => wake());
  socket.on("error", (error) => {
    failure = error;
  });
  const abort = () => socket.destroy(new Error("given up"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await once(socket, "connect");
    const [name, password] = [proxy.username, proxy.password].map((text) => Buffer.from(decodeURIComponent(text)));
    const known = name !== undefined && name.length > 0;
    socket.write(Buffer.from(known ? [5, 2, 0, 2] : [5, 1, 0]));
    const [version, method] = await take(2);
    if (version !== 5) throw fail("it does not speak SOCKS 5");
    if (method === 2 && known && password) {
      socket.write(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([password.length]), password]));
      if ((await take(2))[1] !== 0) throw fail("it refused the name and the password");
    } else if (method !== 0) throw fail("it wants a name and a password, which its URL can hold");
    socket.write(Buffer.concat([Buffer.from([5, 1, 0]), addressOf(host), Buffer.from([port >> 8, port & 0xff])]));
    const [, reply = 1, , kind = 1] = await take(4);
    if (reply !== 0) throw fail(REPLIES[reply] ?? `it answered ${reply}`);
    const bound = { 1: 4, 3: -1, 4: 16 }[kind] ?? 4;
    await take((bound < 0 ? ((await take(1))[0] ?? 0) : bound) + 2);
    // Nothing is lost before the next listens: a server does not speak first.
    socket.off("data", onData);
    return socket;
  } catch (error) {
    socket.destroy();
    if (error instanceof ConnectionError) throw error;
    const why = describeNetworkError(error as NodeJS.ErrnoException);
    throw new ConnectionError(`proxy ${proxy.host} cannot be reached: ${why}`, { cause: error });
  } finally {
    signal?.removeEventListener("abort", abort);
  }

  async function take(length: number): Promise<Buffer> {
    while (received.length < length) {
      if (socket.destroyed || socket.readableEnded) throw failure ?? fail("it ended the connection");
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const taken = received.subarray(0, length);
    received = received.subarray(length);
    return taken;
  }
}

/** A host as RFC 1928 has it: its type, and its bytes. */
function addressOf(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from([1, ...host.split(".").map(Number)]);
  if (!isIPv6(host)) return Buffer.concat([Buffer.from([3, Buffer.byteLength(host)]), Buffer.from(host)]);
  const groups = (text = "") => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const [head, tail] = host.split("::");
  const [above, below] = [groups(head), groups(tail)];
  const all = [...above, ...new Array<number>(8 - above.length - below.length).fill(0), ...below];
  return Buffer.from([4, ...all.flatMap((group) => [group >> 8, group & 0xff])]);
}
