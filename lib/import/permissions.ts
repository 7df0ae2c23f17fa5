/** Checks the permissions for a plan before its first write. */
import { findPermission } from "../cilium/select-permissions.ts";
import { configMaps, daemonSets, deployments, type KubernetesApi, type Subject, secrets } from "../kube/api.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { type Change, describeObject } from "./plan/change.ts";
import type { Plan } from "./plan/plan.ts";
import type { Target } from "./plan/target.ts";

/**
 * Returns a finding for each write of a plan that the user is not authorized to make.
 *
 * @throws UserError if the access review fails; Error if the table of permissions, from which `rbac` grants them, lacks a
 *   write.
 */
export async function checkPermissions(api: KubernetesApi, target: Target, { changes }: Plan): Promise<Finding[]> {
  const { namespace, source } = target;
  const writes = new Map(changes.map((change) => [JSON.stringify([change.verb, change.kind, change.name]), change]));
  const missing = await Promise.all(
    [...writes.values()].map(async (change) => {
      const subject = toReview(change, namespace);
      const check = await api.findMissingPermission(subject);
      if (check === undefined) return [];
      const object = describeObject(change.kind, change.name);
      return [finding("not-allowed", { source }, { verb: subject.verb, object, namespace, check })];
    }),
  );
  return missing.flat();
}

/**
 * Returns the request to review for a change.
 *
 * @throws Error if `rbac` does not grant it, because the table of permissions lacks it.
 */
export function toReview({ verb, kind, name }: Change, namespace: string): Subject {
  const resource = { Secret: secrets, ConfigMap: configMaps, Deployment: deployments, DaemonSet: daemonSets }[kind];
  const request: Subject = { verb: verb === "create" ? "create" : "patch", resource, namespace, name };
  if (!findPermission(request))
    throw new Error(`no permission to ${request.verb} ${describeObject(kind, name)} in the table`);
  return request;
}
