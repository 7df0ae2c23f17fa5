/** Connects to an API server: with HTTP/2 if the server supports it, else with HTTP/1.1. */
import { isIP, connect as netConnect, type Socket } from "node:net";
import { checkServerIdentity, type PeerCertificate, type TLSSocket, connect as tlsConnect } from "node:tls";
import type { Credentials } from "../auth/credentials.ts";
import type { Context } from "../kubeconfig/kubeconfig.ts";
import { closedError, createResetError, toConnectionError, unreachableError } from "./connection-error.ts";
import { createHttp1Channel } from "./http1.ts";
import { createHttp2Channel } from "./http2.ts";
import type { Channel, PingOptions } from "./messages.ts";
import { hostOf, openTunnel, portOf, proxyFor } from "./proxy.ts";
import { systemRoots } from "./roots.ts";

/** How long to try one of several addresses before the next. */
const ADDRESS_TIMEOUT_MS = 1_500;

export interface ChannelOptions {
  /** Milliseconds. */
  connectTimeout: number;
  env: NodeJS.ProcessEnv;
  ping: PingOptions;
  /** Closes the connection and aborts connection attempts. */
  signal: AbortSignal;
}

/**
 * Connects to the server of a context.
 *
 * @param credentials - awaited only if the context may present a client certificate.
 * @throws ConnectionError if the server cannot be reached.
 * @throws KubeconfigError if the proxy URL is invalid.
 * @throws the error of the credentials.
 */
export async function openChannel(
  context: Context,
  credentials: Promise<Credentials>,
  { connectTimeout, env, ping, signal: closing }: ChannelOptions,
): Promise<Channel> {
  const server = new URL(context.server);
  const [host, port, isTls] = [hostOf(server), portOf(server), server.protocol === "https:"];
  const proxy = proxyFor(context, server, env);
  // The handshake requires the client certificate, but not a token.
  const { cert, key } = context.presentsCertificate && isTls ? await credentials : {};
  // As in Go, an http proxy forwards requests to a plain http server instead of opening a tunnel.
  // A foreign CA would let its owner pass for the proxy, which receives the password in its URL.
  const proxyTls = context.isForeign ? {} : { tls: context.tls };
  const isForwarded = proxy !== undefined && !isTls && proxy.protocol === "http:";

  const first = await dial();
  if (isTls && (first as TLSSocket).alpnProtocol === "h2") return createHttp2Channel(server, first, closing, ping);
  return createHttp1Channel(server, first, dial, closing, isForwarded ? proxy : undefined);

  /** Opens a socket to the server, with TLS for an https server. */
  async function dial(): Promise<Socket> {
    const abort = new AbortController();
    const { signal } = abort;
    const onTimeout = () => abort.abort(unreachableError(context, `timed out after ${connectTimeout / 1000}s`));
    const onClose = () => abort.abort(closedError(context));
    const timer = setTimeout(onTimeout, connectTimeout);
    closing.addEventListener("abort", onClose, { once: true });
    try {
      if (closing.aborted) throw closedError(context);
      const tunnel =
        proxy && !isForwarded ? await openTunnel(proxy, host, port, { ...proxyTls, env, signal }) : undefined;
      if (isTls) return await waitForConnection(openTls(tunnel), "secureConnect", signal);
      if (tunnel) return tunnel;
      const address = isForwarded ? { host: hostOf(proxy), port: portOf(proxy) } : { host, port };
      const socket = netConnect({ ...address, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS });
      return await waitForConnection(socket, "connect", signal);
    } catch (error) {
      throw signal.aborted ? signal.reason : toConnectionError(error, context);
    } finally {
      clearTimeout(timer);
      closing.removeEventListener("abort", onClose);
    }
  }

  function openTls(tunnel: Socket | undefined): TLSSocket {
    const { ca, insecure, serverName = host } = context.tls;
    return tlsConnect({
      ...(tunnel ? { socket: tunnel } : { host, port, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS }),
      // SNI does not permit addresses; checkServerIdentity verifies them.
      ...(!isIP(serverName) && { servername: serverName }),
      checkServerIdentity: (_, certificate) => checkIdentity(serverName, certificate),
      ca: ca ?? (insecure ? undefined : systemRoots(env)),
      // As in Go, each certificate of certificate-authority is trusted, including intermediate CAs.
      allowPartialTrustChain: true,
      ...(cert !== undefined && key !== undefined && { cert, key }),
      rejectUnauthorized: !insecure,
      ALPNProtocols: ["h2", "http/1.1"],
    });
  }
}

/** Checks the name as Node does, except that the common name is ignored, as in Go since 1.17. */
function checkIdentity(name: string, certificate: PeerCertificate): Error | undefined {
  const error = checkServerIdentity(name, certificate);
  if (error || certificate.subjectaltname) return error;
  return Object.assign(new Error("certificate has no subject alternative names"), {
    code: "ERR_TLS_CERT_ALTNAME_INVALID",
    cert: certificate,
  });
}

function waitForConnection<T extends Socket>(
  socket: T,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
    socket.once(event, () => resolve(socket));
    socket.once("error", reject);
    socket.once("close", () => reject(createResetError()));
  });
}
