import { EXIT, UserError } from "../../util/errors.ts";

/** The credentials of a context cannot be obtained. */
export class CredentialsError extends UserError {
  constructor(context: string, message: string, options?: ErrorOptions) {
    super(`context ${JSON.stringify(context)}: ${message}`, EXIT.failed, options);
    this.name = "CredentialsError";
  }
}
