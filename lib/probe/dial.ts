/** Connects to one address of an endpoint, until the server has accepted the client certificate. */
import type { X509Certificate } from "node:crypto";
import { connect as http2Connect } from "node:http2";
import { isIP, connect as netConnect, type Socket } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { type FailureCode, RENEW_SERVER_CERTIFICATE } from "../peer/codes/probe-codes.ts";
import { describeNetworkError } from "../util/network-error.ts";
import { certificateFact, type Expiry, expiryOf, formatDate } from "../x509/expiry.ts";
import { covers, formatName, subjectAltNames } from "../x509/names.ts";
import { validity } from "../x509/pem.ts";
import { CHECK_NETWORK, CHECK_PORT, type ProbedAddress, StepFailure, type Steps } from "./steps.ts";

/** CA, client certificate and key, PEM. */
export interface TlsMaterial {
  /** Undefined for the system roots. */
  ca: string | undefined;
  cert: string;
  key: string;
}

/** The certificate that a server presented. */
export interface ServerCertificate extends Expiry {
  subject: string;
  issuer: string;
  names: string[];
}

/**
 * Connects to one address as Cilium's client does, and closes the connection once the server has accepted the client
 * certificate. With TLS 1.3 (RFC 8446), a client can only detect that from the first data of the server.
 *
 * @param onCertificate - receives the server certificate, even if it is then rejected.
 * @param now - the time at which certificates must be valid.
 * @throws StepFailure
 */
export async function dialAddress(
  { host, ip, port }: ProbedAddress,
  tlsMaterial: TlsMaterial,
  steps: Steps,
  onCertificate: (certificate: X509Certificate) => void,
  now = new Date(),
): Promise<void> {
  const socket = await steps.run("tcp", "connection-timeout", (signal) => openTcp(ip, port, signal));
  try {
    const secure = await steps.run("tls", "not-tls", (signal) =>
      openTls(socket, host, tlsMaterial, signal, now, onCertificate),
    );
    await steps.run("client", "etcd-unavailable", (signal) => awaitServerSettings(secure, signal));
  } finally {
    socket.destroy();
  }
}

function openTcp(ip: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = netConnect({ host: ip, port });
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
    socket.once("connect", () => resolve(socket));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      const { code } = error;
      if (code === "ECONNREFUSED") {
        reject(
          new StepFailure(
            "connection-refused",
            "refuses the connection",
            `check that clustermesh-apiserver is running there; ${CHECK_PORT}`,
          ),
        );
      } else if (code === "ETIMEDOUT") {
        reject(new StepFailure("connection-timeout", "does not respond", CHECK_NETWORK));
      } else {
        const cause = describeNetworkError(error);
        reject(new StepFailure("connection-failed", `cannot be reached: ${cause}`, CHECK_NETWORK));
      }
    });
  });
}

async function openTls(
  socket: Socket,
  host: string,
  { ca, cert, key }: TlsMaterial,
  signal: AbortSignal,
  now: Date,
  onCertificate: (certificate: X509Certificate) => void,
): Promise<TLSSocket> {
  const secure = tlsConnect({
    socket,
    ...(!isIP(host) && { servername: host }),
    ...(ca !== undefined && { ca }),
    cert,
    key,
    // As in Go, every certificate in the CA file is trusted, including intermediate CAs.
    allowPartialTrustChain: true,
    ALPNProtocols: ["h2"],
    // Verified below, so that a rejected certificate can be reported; nothing is sent to such a server.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener("abort", () => secure.destroy(), { once: true });
    secure.once("secureConnect", resolve);
    secure.once("error", (error: NodeJS.ErrnoException) => reject(toAlertFailure(error) ?? toTlsFailure(error)));
    secure.once("close", () => reject(createClosedFailure()));
  });
  const certificate = secure.getPeerX509Certificate();
  if (!certificate) throw new StepFailure("not-tls", "presents no certificate", OTHER_SERVER);
  onCertificate(certificate);
  const { names, issuer } = describeServer(certificate, now);
  // In the same order as in Go.
  const { from, until } = validity(certificate);
  if (until < now || from > now) {
    const when = until < now ? `expired on ${formatDate(until)}` : `is not valid before ${formatDate(from)}`;
    throw new StepFailure(
      "server-certificate-expired",
      `presents a server certificate that ${when}`,
      RENEW_SERVER_CERTIFICATE,
      until < now ? certificateFact(certificate, "server", now) : undefined,
    );
  }
  if (!covers(names, host)) {
    throw new StepFailure(
      "endpoint-not-covered",
      `presents a server certificate that does not cover ${host}, only ${names.join(", ") || "no names"}`,
      "re-extract the peer: its endpoint must have a name covered by the certificate",
    );
  }
  if (!secure.authorized) {
    const cause = describeNetworkError({ code: String(secure.authorizationError), message: "" });
    throw new StepFailure(
      "server-ca-unknown",
      `presents a server certificate issued by ${issuer}, which is not signed by the peer's CA (${cause})`,
      "re-extract the peer if its CA has changed; otherwise check that this is the right server",
    );
  }
  if (secure.alpnProtocol !== "h2") throw new StepFailure("not-etcd", "speaks TLS, but not gRPC", OTHER_SERVER);
  return secure;
}

/** Describes a server certificate, with its expiry at `now`. */
export function describeServer(certificate: X509Certificate, now: Date): ServerCertificate {
  return {
    subject: formatName(certificate.subject),
    issuer: formatName(certificate.issuer),
    names: subjectAltNames(certificate),
    ...expiryOf(certificate, now),
  };
}

const OTHER_SERVER = `another server is listening there: ${CHECK_PORT}`;

function toTlsFailure(error: NodeJS.ErrnoException): StepFailure {
  return error.code === "ECONNRESET"
    ? createClosedFailure()
    : new StepFailure("not-tls", `does not speak TLS (${describeNetworkError(error)})`, OTHER_SERVER);
}

function createClosedFailure(): StepFailure {
  return new StepFailure("not-tls", "closes the connection during the TLS handshake", OTHER_SERVER);
}

/** Converts a TLS alert, which a server can send during the handshake or after it; undefined for other errors. */
function toAlertFailure({ code = "" }: NodeJS.ErrnoException): StepFailure | undefined {
  const alert = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_ALERT_(.*)$/.exec(code)?.[1];
  if (alert === undefined) return undefined;
  const failures: Partial<Record<string, [FailureCode, string]>> = {
    PROTOCOL_VERSION: ["not-tls", "requires another TLS version"],
    UNRECOGNIZED_NAME: ["endpoint-not-covered", "does not recognize the server name"],
    HANDSHAKE_FAILURE: ["not-tls", "supports none of the TLS parameters of the client"],
    INTERNAL_ERROR: ["not-tls", "reports an internal TLS error"],
  };
  const known = failures[alert];
  if (known) return new StepFailure(...known, OTHER_SERVER);
  const name = alert.toLowerCase().replaceAll("_", " ");
  return new StepFailure("client-refused", `rejects the client certificate (TLS alert: ${name})`, CHECK_CLIENT_CA);
}

const CHECK_CLIENT_CA =
  "re-extract the peer; after a change of its CA, restart the pods of clustermesh-apiserver in the peer's cluster";

/** Waits for the HTTP/2 settings of the server, which it sends only after accepting the client certificate. */
function awaitServerSettings(secure: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const session = http2Connect("https://etcd", { createConnection: () => secure });
    const fail = (error: NodeJS.ErrnoException) => {
      const isProtocolError = error.code?.startsWith("ERR_HTTP2") || error.code === "EPROTO";
      reject(
        toAlertFailure(error) ??
          (isProtocolError
            ? new StepFailure("not-etcd", "responds, but is not an etcd server", OTHER_SERVER)
            : new StepFailure(
                "client-refused",
                "closes the connection after receiving the client certificate",
                CHECK_CLIENT_CA,
              )),
      );
      session.destroy();
    };
    signal.addEventListener("abort", () => session.destroy(), { once: true });
    session.once("remoteSettings", () => {
      resolve();
      session.destroy();
    });
    session.on("error", fail);
    secure.on("error", fail);
    session.once("close", () => fail({ name: "", message: "", code: "closed" }));
  });
}
