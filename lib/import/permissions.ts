/** Checks the permissions for a plan before its first write. */
import { configMaps, daemonSets, deployments, type KubernetesApi, type Subject, secrets } from "../kube/api.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { type Change, describeObject } from "./plan/change.ts";
import type { Plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";

/**
 * Returns a finding for each write of a plan that the user is not authorized to make.
 *
 * @throws UserError if the access review fails.
 */
export async function checkPermissions(api: KubernetesApi, target: Target, { changes }: Plan): Promise<Finding[]> {
  const subjects = new Map(changes.map((change) => [JSON.stringify([change.verb, change.kind, change.name]), change]));
  const missing = await Promise.all(
    [...subjects.values()].map(async (change) => {
      const subject = subjectOf(change, target.namespace);
      const check = await api.findMissingPermission(subject);
      if (check === undefined) return [];
      const { verb } = subject;
      const { namespace } = target;
      const object = describeObject(change.kind, change.name);
      return [finding("not-allowed", { source: target.source }, { verb, object, namespace, check })];
    }),
  );
  return missing.flat();
}

function subjectOf({ verb, kind, name }: Change, namespace: string): Subject {
  const resource = { Secret: secrets, ConfigMap: configMaps, Deployment: deployments, DaemonSet: daemonSets }[kind];
  return { verb: verb === "create" ? "create" : "patch", resource, namespace, name };
}
