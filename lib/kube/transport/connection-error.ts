/** Why an API server cannot be reached, in words for a person. */
import { UserError } from "../../util/errors.ts";
import { describeNetworkError } from "../../util/network-error.ts";
import type { Context } from "../kubeconfig/kubeconfig.ts";

/** The API server could not be reached, or did not answer. One line: what, where, why. */
export class ConnectionError extends UserError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 1, options);
    this.name = "ConnectionError";
  }
}

/** By the codes of Node's errors. */
const REASONS: Record<string, string> = {
  ECONNREFUSED: "the connection was refused; is the cluster up?",
  ENOTFOUND: "its name is not known to DNS",
  EAI_AGAIN: "its name could not be resolved now",
  ECONNRESET: "the connection was cut",
  EPIPE: "the connection was cut",
  ETIMEDOUT: "it does not answer",
  EHOSTUNREACH: "there is no route to it",
  ENETUNREACH: "there is no route to it",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; is the clock right?",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS; is it an http:// server?",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "it does not speak TLS; is it an http:// server?",
  EPROTO: "it does not speak TLS as expected",
};

/** A failure of the connection as a ConnectionError, whose cause it is. What is a UserError already stays. */
export function toConnectionError(error: unknown, context: Context): UserError {
  if (error instanceof UserError) return error;
  return unreachableError(context, reason(error) ?? describeNetworkError(error as NodeJS.ErrnoException), error);
}

export function unreachableError({ server, name }: Context, why: string, cause?: unknown): ConnectionError {
  return new ConnectionError(`${server} (context ${name}) cannot be reached: ${why}`, { cause });
}

function reason(error: unknown): string | undefined {
  const { code = "", cert } = error as { code?: string; cert?: { subjectaltname?: string } };
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const names = cert?.subjectaltname?.slice(0, 300) || "no name";
    return `its certificate is for ${names}; tls-server-name in the kubeconfig can say which is meant`;
  }
  if (/SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_SIGNATURE|ISSUER_CERT/.test(code)) {
    return "its certificate is not signed by a known CA; certificate-authority in the kubeconfig has to name it";
  }
  // In TLS 1.3 these come after the handshake, with the first read.
  if (code.endsWith("_ALERT_CERTIFICATE_REQUIRED")) return "it wants a client certificate";
  if (/_ALERT_(.*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/.test(code)) return "it refused the client certificate";
  return REASONS[code];
}

export function closedError(context: Context): ConnectionError {
  return unreachableError(context, "the connection was closed");
}

/** The code of a request that the server refused before it began with it. */
export const REFUSED_STREAM = "REFUSED_STREAM";

/** Whether a request that failed was surely not begun by the server, so that even a write may be sent again. */
export function isUnprocessed({ code }: NodeJS.ErrnoException): boolean {
  return code === REFUSED_STREAM || code === "ERR_HTTP2_GOAWAY_SESSION" || code === "ERR_HTTP2_INVALID_SESSION";
}
