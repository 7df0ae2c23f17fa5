/** Errors of connections to an API server. */
import { EXIT, UserError } from "../../util/errors.ts";
import { describeNetworkError } from "../../util/network-error.ts";
import { type Context, describeContext } from "../kubeconfig/kubeconfig.ts";

/** The API server cannot be reached or does not respond. One line. */
export class ConnectionError extends UserError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, EXIT.failed, options);
    this.name = "ConnectionError";
  }
}

/** Remedies by the code of Node's error. */
const HINTS: Record<string, string> = {
  ECONNREFUSED: "check that the cluster is running",
  CERT_NOT_YET_VALID: "check the clock of this machine",
  ERR_SSL_WRONG_VERSION_NUMBER: "check that the server speaks HTTPS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "check that the server speaks HTTPS",
};

/** Wraps an error of Node as the cause of a ConnectionError; a UserError is returned unchanged. */
export function toConnectionError(error: unknown, context: Context): UserError {
  return error instanceof UserError ? error : unreachableError(context, describeCause(error, context), error);
}

/** @param cause - the second half of the message, such as `connection refused`. */
export function unreachableError(context: Context, cause: string, error?: unknown): ConnectionError {
  const message = `cannot reach ${context.server} (${describeContext(context)}): ${cause}`;
  return new ConnectionError(message, { cause: error });
}

function describeCause(error: unknown, { server, tls }: Context): string {
  const { code = "", cert } = error as { code?: string; cert?: { subjectaltname?: string } };
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const names = cert?.subjectaltname?.slice(0, 300) || "no names";
    const host = tls.serverName ?? new URL(server).hostname;
    return `certificate is valid for ${names}, not for ${host}; set tls-server-name in the kubeconfig to a valid name`;
  }
  // In TLS 1.3, these alerts arrive after the handshake, with the first read.
  if (code.endsWith("_ALERT_CERTIFICATE_REQUIRED")) return "the server requires a client certificate";
  if (/_ALERT_(.*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/.test(code)) return "the server rejected the client certificate";
  const isUntrusted = /SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_SIGNATURE|ISSUER_CERT/.test(code);
  const hint = isUntrusted ? "set certificate-authority in the kubeconfig to the CA of the server" : HINTS[code];
  const cause = describeNetworkError(error as NodeJS.ErrnoException);
  return hint === undefined ? cause : `${cause}; ${hint}`;
}

/** Returns the error for a request whose connection is closed. */
export function closedError(context: Context): ConnectionError {
  return unreachableError(context, "connection closed");
}

/** Returns the error of a connection that the peer has closed before a response was complete. */
export function createResetError(): NodeJS.ErrnoException {
  return Object.assign(new Error("connection reset by peer"), { code: "ECONNRESET" });
}

/** Our code for a stream that the server refused before processing. */
export const REFUSED_STREAM = "REFUSED_STREAM";
/** Our code for a connection that is closed because the peer does not respond to pings. */
export const PING_TIMEOUT = "PING_TIMEOUT";

/** Whether the server has certainly not processed a failed request, so that even a write can be retried. */
export function isUnprocessed({ code }: NodeJS.ErrnoException): boolean {
  return code === REFUSED_STREAM || code === "ERR_HTTP2_GOAWAY_SESSION" || code === "ERR_HTTP2_INVALID_SESSION";
}

/** Whether a request failed because its connection was lost. */
export function isLost(error: NodeJS.ErrnoException): boolean {
  return isUnprocessed(error) || LOST_CONNECTION_CODES.has(error.code ?? "");
}

const LOST_CONNECTION_CODES = new Set([
  ...["ECONNRESET", "EPIPE", "ETIMEDOUT", "ERR_HTTP2_STREAM_CANCEL", "ERR_HTTP2_SESSION_ERROR"],
  PING_TIMEOUT,
]);
