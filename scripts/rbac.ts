/** `clustermesh-secrets rbac`: prints the permissions that commands need. */
import { showRbacDocuments, showRbacList } from "../lib/render/rbac.ts";
import { EXIT } from "../lib/util/errors.ts";
import { type RbacArguments, rbacOptions, readPermissions, readRbacOptions } from "./cli/rbac-flags.ts";
import { toProgram } from "./cli/run.ts";
import { writeStdout } from "./cli/streams.ts";

export const rbacCommand = toProgram({
  usage: "$0 --for COMMAND... [flags]",
  description:
    "Prints a ServiceAccount, its roles and bindings with exactly the permissions that the commands use in one cluster. " +
    "Contacts no cluster. Each rule has a comment: why it is needed, and what the commands do without it. --no-optional " +
    "leaves out what they can do without. Permissions are the same for all clusters of a mesh, so apply the manifests in each. " +
    "With --clusters-from or --state-namespace, prints those for the cluster with the Secrets of the clusters, and with the " +
    "state of sync, instead.",
  examples: [
    ["$0 --for extract | kubectl apply -f -", "Create a ServiceAccount that can extract the cluster"],
    ["$0 --for import --namespace cilium --no-restarts", "Import without permission to restart pods"],
    [
      "$0 --for connect --clusters-from argocd --clusters-namespace argocd",
      "Grant listing the clusters of Argo CD, in its cluster",
    ],
    ["$0 --for connect --for status --service-account mesh-admin", "Grant what several commands need"],
  ],
  exitCodes: { 0: "success", 2: "invalid arguments" },
  options: rbacOptions,
  run: runRbac,
});

async function runRbac(args: RbacArguments): Promise<number> {
  const permissions = readPermissions(args);
  const options = readRbacOptions(args);
  const show = args.output === "json" ? showRbacList : showRbacDocuments;
  writeStdout(show(permissions, options));
  return EXIT.done;
}
