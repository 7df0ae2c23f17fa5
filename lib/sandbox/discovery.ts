/**
 * Discovery documents, and OpenAPI v3 reduced to the patch operations, where kubectl looks up before `apply`, `create -f` and
 * `diff` whether the server supports dry runs and field validation. Schemas (`kubectl explain`) are not served.
 */
import { apiVersion, RESOURCES, REVIEW_RESOURCE, type ServedResource, STORED_GROUPS } from "./resources.ts";

const VERSION = "v1.36.0+sandbox";
const GROUPS = [...STORED_GROUPS, REVIEW_RESOURCE.group];

const namedGroups = GROUPS.filter((name) => name !== "").map((name) => {
  const version = { groupVersion: `${name}/v1`, version: "v1" };
  return { name, versions: [version], preferredVersion: version };
});

const DOCUMENTS: Readonly<Record<string, unknown>> = {
  "/healthz": "ok",
  "/livez": "ok",
  "/readyz": "ok",
  "/version": { major: "1", minor: "36", gitVersion: VERSION, platform: "sandbox" },
  "/api": { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] },
  "/apis": { kind: "APIGroupList", apiVersion: "v1", groups: namedGroups },
  ...byPath(
    namedGroups,
    ({ name }) => `apis/${name}`,
    (group) => ({ kind: "APIGroup", apiVersion: "v1", ...group }),
  ),
  ...byPath(GROUPS, groupPath, resourceList),
  "/openapi/v3": {
    paths: Object.fromEntries(
      STORED_GROUPS.map((group) => [groupPath(group), { serverRelativeURL: `/openapi/v3/${groupPath(group)}` }]),
    ),
  },
  ...byPath(STORED_GROUPS, (group) => `openapi/v3/${groupPath(group)}`, openApi),
};

/** Returns the discovery or OpenAPI document at a path; undefined at any other path. */
export function discovery(path: string): unknown {
  return DOCUMENTS[path];
}

function byPath<T>(items: readonly T[], path: (item: T) => string, document: (item: T) => object) {
  return Object.fromEntries(items.map((item) => [`/${path(item)}`, document(item)]));
}

function groupPath(group: string): string {
  return group ? `apis/${group}/v1` : "api/v1";
}

function resourcesOf(group: string): ServedResource[] {
  return [...RESOURCES, REVIEW_RESOURCE].filter((resource) => resource.group === group);
}

function resourceList(group: string): object {
  const resources = resourcesOf(group).map((resource) => {
    const { plural: name, kind, namespaced, shortNames, creatable } = resource;
    const stored = resource === REVIEW_RESOURCE ? [] : ["delete", "get", "list", "patch", "update", "watch"];
    const verbs = creatable ? ["create", ...stored] : stored;
    return {
      name,
      singularName: kind.toLowerCase(),
      namespaced,
      kind,
      verbs,
      ...(shortNames.length > 0 && { shortNames }),
    };
  });
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion: apiVersion({ group }), resources };
}

function openApi(group: string): object {
  const names = ["dryRun", "fieldManager", "fieldValidation"];
  const paths = resourcesOf(group).map(({ plural, kind, namespaced }) => {
    const patch = {
      parameters: names.map((name) => ({ name, in: "query", schema: { type: "string", uniqueItems: true } })),
      responses: { 200: { description: "OK" } },
      "x-kubernetes-action": "patch",
      "x-kubernetes-group-version-kind": { group, version: "v1", kind },
    };
    return [`/${groupPath(group)}/${namespaced ? "namespaces/{namespace}/" : ""}${plural}/{name}`, { patch }];
  });
  const info = { title: "Kubernetes", version: VERSION };
  return { openapi: "3.0.0", info, paths: Object.fromEntries(paths), components: { schemas: {} } };
}
