/** The finding about a cluster that cannot be read. Pure. */
import { ClusterSecretError } from "../members/cluster-secret-error.ts";
import { type Finding, finding } from "../peer/findings.ts";
import type { UserError } from "../util/errors.ts";

/**
 * Returns the finding about a cluster that cannot be read.
 *
 * @param source - the name of the cluster: its context, or the name in its Secret.
 */
export function unreadableFinding(source: string, error: UserError): Finding {
  if (!(error instanceof ClusterSecretError)) {
    return finding("cluster-unreadable", { source }, { problem: error.singleLineMessage });
  }
  const { secret, problem, refused } = error;
  if (refused.length === 0) return finding("member-invalid", { source }, { secret, problem });
  const flags = refused.map(({ permittedBy }) => permittedBy);
  const isPermissible = flags.every((flag) => flag !== undefined);
  const values = { secret, problem, ...(isPermissible && { flags: [...new Set(flags)].join(" ") }) };
  return finding("member-refused", { source }, values);
}
