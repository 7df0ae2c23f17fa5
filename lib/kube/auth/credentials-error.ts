import { UserError } from "../../util/errors.ts";

/** The credentials of a context cannot be had. */
export class CredentialsError extends UserError {
  constructor(context: string, message: string, options?: ErrorOptions) {
    super(`context ${context}: ${message}`, 1, options);
    this.name = "CredentialsError";
  }
}
