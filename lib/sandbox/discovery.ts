import { REVIEW_GROUP, REVIEW_KIND, REVIEWS } from "./access.ts";
import { openApi } from "./openapi.ts";
import { CREATABLE, RESOURCES, type Resource } from "./resources.ts";

/**
 * What the API says of itself, in the form that every client reads.
 *
 * @returns undefined for a path that is none of these
 */
export function discovery(path: string): unknown {
  switch (path) {
    case "/healthz":
    case "/livez":
    case "/readyz":
      return "ok";
    case "/version":
      return { major: "1", minor: "36", gitVersion: "v1.36.0+sandbox", platform: "sandbox" };
    case "/api":
      return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
    case "/apis":
      return { kind: "APIGroupList", apiVersion: "v1", groups: [APPS, REVIEW] };
    case "/apis/apps":
      return { kind: "APIGroup", apiVersion: "v1", ...APPS };
    case "/api/v1":
      return resourceList("", "v1");
    case "/apis/apps/v1":
      return resourceList("apps", "apps/v1");
    case `/apis/${REVIEW_GROUP}`:
      return { kind: "APIGroup", apiVersion: "v1", ...REVIEW };
    case `/apis/${REVIEW_GROUP}/v1`:
      return {
        kind: "APIResourceList",
        apiVersion: "v1",
        groupVersion: `${REVIEW_GROUP}/v1`,
        resources: [REVIEW_RESOURCE],
      };
    default:
      return openApi(path);
  }
}

const APPS = group("apps");
const REVIEW = group(REVIEW_GROUP);
const REVIEW_RESOURCE = {
  name: REVIEWS,
  singularName: REVIEW_KIND.toLowerCase(),
  namespaced: false,
  kind: REVIEW_KIND,
  verbs: ["create"],
};

function group(name: string) {
  const version = { groupVersion: `${name}/v1`, version: "v1" };
  return { name, versions: [version], preferredVersion: version };
}

function resourceList(group: Resource["group"], groupVersion: string): unknown {
  const resources = RESOURCES.filter((resource) => resource.group === group).map((resource) => ({
    name: resource.plural,
    singularName: resource.kind.toLowerCase(),
    namespaced: resource.namespaced,
    kind: resource.kind,
    verbs: [...(CREATABLE.includes(resource.kind) ? ["create"] : []), "delete", "get", "list", "patch", "update"],
    ...(resource.shortNames.length > 0 && { shortNames: resource.shortNames }),
  }));
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources };
}
