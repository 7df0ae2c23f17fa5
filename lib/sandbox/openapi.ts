/**
 * What the API says of its patches, in OpenAPI v3. kubectl asks before `apply`, `create -f` and `diff` whether the server
 * checks fields and knows dry runs; schemas of objects, as `kubectl explain` wants them, are not there.
 */
import { apiVersion, RESOURCES, type ServedResource } from "./resources.ts";

/** @returns undefined for a path that is none of OpenAPI's */
export function openApi(path: string): unknown {
  const groups = new Map(RESOURCES.map((resource) => [pathOf(resource), resource.group]));
  if (path === "/openapi/v3") {
    const paths = [...groups.keys()].map((group) => [group, { serverRelativeURL: `/openapi/v3/${group}` }]);
    return { paths: Object.fromEntries(paths) };
  }
  const group = groups.get(path.replace(/^\/openapi\/v3\//, ""));
  if (group === undefined) return undefined;
  const resources = RESOURCES.filter((resource) => resource.group === group);
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "v1.36.0+sandbox" },
    paths: Object.fromEntries(resources.map((resource) => [`/${objectPath(resource)}`, { patch: patchOf(resource) }])),
    components: { schemas: {} },
  };
}

function pathOf({ group }: ServedResource): string {
  return group ? `apis/${group}/v1` : "api/v1";
}

function objectPath(resource: ServedResource): string {
  const namespace = resource.namespaced ? "namespaces/{namespace}/" : "";
  return `${pathOf(resource)}/${namespace}${resource.plural}/{name}`;
}

function patchOf(resource: ServedResource) {
  const [version] = apiVersion(resource).split("/").slice(-1);
  const names = ["dryRun", "fieldManager", "fieldValidation"];
  return {
    parameters: names.map((name) => ({ name, in: "query", schema: { type: "string", uniqueItems: true } })),
    responses: { 200: { description: "OK" } },
    "x-kubernetes-action": "patch",
    "x-kubernetes-group-version-kind": { group: resource.group, version, kind: resource.kind },
  };
}
