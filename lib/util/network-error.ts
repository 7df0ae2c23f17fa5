/** Descriptions of errors of connections, name resolution and certificates. */
import { getSystemErrorMap } from "node:util";
import { describeSystemError } from "./system-error.ts";

const UNKNOWN_AUTHORITY = "certificate signed by unknown authority";
const NOT_TLS = "first record does not look like a TLS handshake";

/** By the codes of Node's errors; worded as in Go. Other codes are described by the system or OpenSSL. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  ENOTFOUND: "no such host",
  EAI_AGAIN: "temporary failure in name resolution",
  ECONNRESET: "connection reset by peer",
  EHOSTUNREACH: "no route to host",
  CERT_HAS_EXPIRED: "certificate has expired",
  CERT_NOT_YET_VALID: "certificate is not yet valid",
  CERT_SIGNATURE_FAILURE: "certificate has an invalid signature",
  DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
  INVALID_CA: "certificate signed by a certificate that is not a CA",
  INVALID_PURPOSE: "certificate is not for this purpose",
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  ERR_SSL_WRONG_VERSION_NUMBER: NOT_TLS,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NOT_TLS,
  ERR_TLS_CERT_ALTNAME_INVALID: "certificate does not cover the name",
};

/**
 * Describes why a connection failed, without code, address and system call: `connection refused`, `no such host`.
 *
 * @param error - an error of Node, or the code of a certificate error.
 */
export function describeNetworkError(error: Pick<NodeJS.ErrnoException, "code" | "message">): string {
  const { code = "", message } = error;
  const known = DESCRIPTIONS[code];
  if (known !== undefined) return known;
  // OpenSSL's description.
  const { reason, errno } = error as NodeJS.ErrnoException & { reason?: unknown };
  if (typeof reason === "string" && reason !== "") return reason;
  if (errno !== undefined) return describeSystemError(error);
  const description = describeSystemCode(code);
  if (description !== undefined) return description;
  // Errors of OpenSSL have no message, or one for internal use.
  const isDescriptive = code === "" || !(message === "" || message.includes(code) || code.startsWith("ERR_SSL_"));
  if (isDescriptive) return message;
  return code
    .replace(/^ERR_SSL_/, "")
    .replaceAll("_", " ")
    .toLowerCase();
}

/** Returns the message of a library; if it contains a system error code, the description of that error. */
export function describeNetworkMessage(message: string): string {
  const found = message.match(/\bE[A-Z]{3,}\b/g)?.find((word) => describeSystemCode(word) !== undefined);
  if (found !== undefined) return describeNetworkError({ code: found, message });
  return message === "" ? "no reason given" : message;
}

function describeSystemCode(code: string): string | undefined {
  return [...getSystemErrorMap().values()].find(([name]) => name === code)?.[1];
}
