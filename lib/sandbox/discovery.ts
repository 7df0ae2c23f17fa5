import { REVIEW_GROUP, REVIEW_KIND, REVIEWS } from "./access.ts";
import { openApi } from "./openapi.ts";
import { CREATABLE, RESOURCES, type ServedResource } from "./resources.ts";

const [APPS, REVIEW] = ["apps", REVIEW_GROUP].map((name) => {
  const version = { groupVersion: `${name}/v1`, version: "v1" };
  return { name, versions: [version], preferredVersion: version };
});
const REVIEW_ENTRY = entry({ plural: REVIEWS, kind: REVIEW_KIND, namespaced: false, shortNames: [] }, ["create"]);

const DOCUMENTS: Readonly<Record<string, unknown>> = {
  "/healthz": "ok",
  "/livez": "ok",
  "/readyz": "ok",
  "/version": { major: "1", minor: "36", gitVersion: "v1.36.0+sandbox", platform: "sandbox" },
  "/api": { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] },
  "/apis": { kind: "APIGroupList", apiVersion: "v1", groups: [APPS, REVIEW] },
  "/apis/apps": { kind: "APIGroup", apiVersion: "v1", ...APPS },
  "/api/v1": resourceList("v1", entriesOf("")),
  "/apis/apps/v1": resourceList("apps/v1", entriesOf("apps")),
  [`/apis/${REVIEW_GROUP}`]: { kind: "APIGroup", apiVersion: "v1", ...REVIEW },
  [`/apis/${REVIEW_GROUP}/v1`]: resourceList(`${REVIEW_GROUP}/v1`, [REVIEW_ENTRY]),
};

/**
 * What the API says of itself, in the form that every client reads.
 *
 * @returns undefined for a path that is none of these
 */
export function discovery(path: string): unknown {
  return DOCUMENTS[path] ?? openApi(path);
}

function resourceList(groupVersion: string, resources: object[]): object {
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources };
}

function entriesOf(group: ServedResource["group"]): object[] {
  const verbs = ["delete", "get", "list", "patch", "update"];
  return RESOURCES.filter((resource) => resource.group === group).map((resource) =>
    entry(resource, CREATABLE.includes(resource.kind) ? ["create", ...verbs] : verbs),
  );
}

function entry(
  resource: Pick<ServedResource, "plural" | "kind" | "namespaced" | "shortNames">,
  verbs: string[],
): object {
  const { plural, kind, namespaced, shortNames } = resource;
  const names = shortNames.length > 0 ? { shortNames } : {};
  return { name: plural, singularName: kind.toLowerCase(), namespaced, kind, verbs, ...names };
}
