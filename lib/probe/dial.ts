/** One address of an endpoint, up to where a server has taken our certificate. */
import type { X509Certificate } from "node:crypto";
import { connect as http2Connect } from "node:http2";
import { isIP, connect as netConnect, type Socket } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import type { FindingCode } from "../peer/finding-codes.ts";
import { describeNetworkError } from "../util/network-error.ts";
import { certificateFact, type Expiry, expiryOf, formatDate } from "../x509/expiry.ts";
import { covers, formatName, subjectAltNames } from "../x509/names.ts";
import { validity } from "../x509/pem.ts";
import { type ProbedAddress, StepFailure, type Steps } from "./steps.ts";

/** What a client comes with: PEM. */
export interface TlsMaterial {
  /** Undefined for the system's roots. */
  ca: string | undefined;
  cert: string;
  key: string;
}

/** What a server showed of itself. */
export interface ServerCertificate extends Expiry {
  subject: string;
  issuer: string;
  names: string[];
}

/**
 * Connects to one address as Cilium's client does, and ends the connection once it is known that the server takes the
 * client certificate: in TLS 1.3 that shows only at the first thing it says.
 *
 * @param shown told the server's certificate, also where it is not accepted.
 * @param now the time to judge it by.
 * @throws Failed with the reason.
 */
export async function dialAddress(
  { host, ip, port }: ProbedAddress,
  credentials: TlsMaterial,
  steps: Steps,
  shown: (certificate: X509Certificate) => void,
  now = new Date(),
): Promise<void> {
  const socket = await steps.run("tcp", "connection-timeout", (signal) => openTcp(ip, port, signal));
  try {
    const secure = await steps.run("tls", "not-tls", (signal) =>
      openTls(socket, host, credentials, signal, now, shown),
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
            "is the clustermesh-apiserver running there, and is this the Service's port?",
          ),
        );
      } else if (code === "ETIMEDOUT") {
        reject(new StepFailure("connection-timeout", "does not answer", FIREWALL));
      } else {
        const why = describeNetworkError(error);
        reject(new StepFailure("connection-failed", `cannot be reached: ${why}`, "is there a route to it from here?"));
      }
    });
  });
}

const FIREWALL = "a firewall that drops, or no such host: is there a way from here to that address and port?";

async function openTls(
  socket: Socket,
  host: string,
  { ca, cert, key }: TlsMaterial,
  signal: AbortSignal,
  now: Date,
  shown: (certificate: X509Certificate) => void,
): Promise<TLSSocket> {
  const secure = tlsConnect({
    socket,
    ...(!isIP(host) && { servername: host }),
    ...(ca !== undefined && { ca }),
    cert,
    key,
    // As in Go, whatever stands in the CA file is trusted, intermediate CAs too.
    allowPartialTrustChain: true,
    ALPNProtocols: ["h2"],
    // Judged below, so that a certificate that is not accepted can be shown; nothing is said to such a server.
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
  if (!certificate) throw new StepFailure("not-tls", "shows no certificate", CHECK_PORT);
  shown(certificate);
  const { names, issuer } = describeServer(certificate, now);
  // In Go's order.
  const { from, until } = validity(certificate);
  if (until < now || from > now) {
    const when = until < now ? `expired on ${formatDate(until)}` : `is valid only from ${formatDate(from)} on`;
    throw new StepFailure(
      "server-certificate-expired",
      `shows a server certificate that ${when}`,
      "renew clustermesh-apiserver-server-cert there, and restart its pods",
      until < now ? certificateFact(certificate, "server", now) : undefined,
    );
  }
  if (!covers(names, host)) {
    throw new StepFailure(
      "endpoint-not-covered",
      `shows a server certificate that does not cover ${host}, only ${names.join(", ") || "no name at all"}`,
      "extract the peer anew: the endpoint has to be a name that the certificate covers",
    );
  }
  if (!secure.authorized) {
    const why = describeNetworkError({ code: String(secure.authorizationError), message: "" });
    throw new StepFailure(
      "server-ca-unknown",
      `shows a server certificate of ${issuer}, which the peer's CA did not sign (${why})`,
      "the CA was changed there, or this is another server: extract the peer anew",
    );
  }
  if (secure.alpnProtocol !== "h2") throw new StepFailure("not-etcd", "speaks TLS, but not gRPC", CHECK_PORT);
  return secure;
}

/** What a server's certificate says of it. */
export function describeServer(certificate: X509Certificate, now: Date): ServerCertificate {
  return {
    subject: formatName(certificate.subject),
    issuer: formatName(certificate.issuer),
    names: subjectAltNames(certificate),
    ...expiryOf(certificate, now),
  };
}

const CHECK_PORT = "something else listens there: is it the port of Service clustermesh-apiserver?";

function toTlsFailure(error: NodeJS.ErrnoException): StepFailure {
  return error.code === "ECONNRESET"
    ? createClosedFailure()
    : new StepFailure("not-tls", `does not speak TLS (${describeNetworkError(error)})`, CHECK_PORT);
}

function createClosedFailure(): StepFailure {
  return new StepFailure("not-tls", "ends the connection before TLS stands", CHECK_PORT);
}

/** An alert about the client certificate, as a server may send it within the handshake or after it. */
function toAlertFailure({ code = "" }: NodeJS.ErrnoException): StepFailure | undefined {
  const alert = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_ALERT_(.*)$/.exec(code)?.[1];
  if (alert === undefined) return undefined;
  const words: Partial<Record<string, [FindingCode, string]>> = {
    PROTOCOL_VERSION: ["not-tls", "wants another version of TLS"],
    UNRECOGNIZED_NAME: ["endpoint-not-covered", "does not know this name"],
    HANDSHAKE_FAILURE: ["not-tls", "has no TLS parameters in common"],
    INTERNAL_ERROR: ["not-tls", "has an internal error in TLS"],
  };
  const known = words[alert];
  if (known) return new StepFailure(...known, CHECK_PORT);
  const name = alert.toLowerCase().replaceAll("_", " ");
  return new StepFailure("client-refused", `refuses the client certificate (TLS alert ${name})`, REFUSED);
}

const REFUSED =
  "its etcd does not trust the CA that signed the certificate: extract the peer anew, or restart its pods after a change of CA";

/** Waits until the server has said something over HTTP/2, for only then it has taken the certificate. */
function awaitServerSettings(secure: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const session = http2Connect("https://etcd", { createConnection: () => secure });
    const fail = (error: NodeJS.ErrnoException) => {
      const garbage = error.code?.startsWith("ERR_HTTP2") || error.code === "EPROTO";
      reject(
        toAlertFailure(error) ??
          (garbage
            ? new StepFailure("not-etcd", "answers, but not as etcd does", CHECK_PORT)
            : new StepFailure(
                "client-refused",
                "ends the connection when it has seen the client certificate",
                REFUSED,
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
