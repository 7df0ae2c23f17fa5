/** Errors of connections, of names and of certificates in words. */
import { getSystemErrorMap } from "node:util";
import { describeSystemError } from "./system-error.ts";

const UNKNOWN_AUTHORITY = "certificate signed by unknown authority";

/** By the codes of Node's errors: those of which neither the system nor OpenSSL has words, or none that a person knows. */
const WORDS: Readonly<Record<string, string>> = {
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
  ERR_SSL_WRONG_VERSION_NUMBER: "first bytes are not TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "first bytes are not TLS",
  ERR_TLS_CERT_ALTNAME_INVALID: "certificate does not cover the name",
};

/**
 * Why a connection failed, without its code, address and call: `connection refused`, `no such host`.
 *
 * @param error as Node throws it; of a certificate that was not accepted, its code is enough.
 */
export function describeNetworkError(error: Pick<NodeJS.ErrnoException, "code" | "message">): string {
  const { code = "", message } = error;
  const known = WORDS[code];
  if (known !== undefined) return known;
  // What OpenSSL says of its own errors.
  const { reason, errno } = error as NodeJS.ErrnoException & { reason?: unknown };
  if (typeof reason === "string" && reason !== "") return reason;
  if (errno !== undefined) return describeSystemError(error);
  const words = wordsOfSystem(code);
  if (words !== undefined) return words;
  // OpenSSL's names come alone, or with a message for its programmers; others come with a sentence.
  const hasSentence = code === "" || !(message === "" || message.includes(code) || code.startsWith("ERR_SSL_"));
  if (hasSentence) return message;
  return code
    .replace(/^ERR_SSL_/, "")
    .replaceAll("_", " ")
    .toLowerCase();
}

/** A message of a library, or the words for the system's code in it: `connection refused` of `connect ECONNREFUSED ::1:1`. */
export function describeNetworkMessage(message: string): string {
  const found = message.match(/\bE[A-Z]{3,}\b/g)?.find((word) => wordsOfSystem(word) !== undefined);
  if (found !== undefined) return describeNetworkError({ code: found, message });
  return message === "" ? "no reason given" : message;
}

/** What the system says of an error, by the name of its code. */
function wordsOfSystem(code: string): string | undefined {
  return [...getSystemErrorMap().values()].find(([name]) => name === code)?.[1];
}
