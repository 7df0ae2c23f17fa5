/** Errors of Secrets that describe a cluster. */
import { redact } from "../peer/findings.ts";
import { enumerate } from "../util/enumerate.ts";
import { EXIT, UserError } from "../util/errors.ts";

/** A field that a Secret must not have without permission. */
export interface RefusedField {
  /** The field as its format calls it, such as `exec` or `tlsClientConfig.insecure`. */
  field: string;
  /** The flag that permits it; undefined if none does. */
  permittedBy: string | undefined;
}

/** A Secret does not lead to a cluster. It affects only that cluster. */
export class ClusterSecretError extends UserError {
  /** The name of the Secret. */
  readonly secret: string;
  /** Why it cannot be used, in one line; without values of the Secret that may be confidential. */
  readonly problem: string;
  /** Set if the Secret has fields that need permission. */
  readonly refused: readonly RefusedField[];

  constructor(secret: string, problem: string, refused: readonly RefusedField[] = []) {
    const line = redact(problem);
    super(`secret/${secret}: ${line}`, EXIT.refused);
    this.name = "ClusterSecretError";
    this.secret = secret;
    this.problem = line;
    this.refused = refused;
  }
}

/** Returns the error of a Secret with fields that are not permitted. */
export function refusalOf(secret: string, refused: readonly RefusedField[]): ClusterSecretError {
  const fields = enumerate(refused.map(({ field }) => field));
  return new ClusterSecretError(secret, `not permitted in a Secret: ${fields}`, refused);
}
