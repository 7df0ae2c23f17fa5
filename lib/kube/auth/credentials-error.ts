import { EXIT, UserError } from "../../util/errors.ts";
import { type Context, describeContext } from "../kubeconfig/kubeconfig.ts";

/** The credentials of a context cannot be obtained. */
export class CredentialsError extends UserError {
  constructor(context: Pick<Context, "name" | "isForeign">, message: string, options?: ErrorOptions) {
    super(`${describeContext(context)}: ${message}`, EXIT.failed, options);
    this.name = "CredentialsError";
  }
}
