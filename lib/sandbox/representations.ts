/** The forms in which objects are sent: whole in the API that the client asks, or as PartialObjectMetadata. */
import { toServedEvent } from "./event-conversion.ts";
import type { KubernetesObject } from "./object.ts";
import type { ServedResource } from "./resources.ts";
import { notImplemented, StatusError } from "./status.ts";

/** Whole objects, their metadata, or a list of their metadata. */
export type Representation = "object" | "metadata" | "metadataList";

/** By the parameters of the media type. */
const REPRESENTATIONS: Readonly<Record<string, Representation>> = {
  "": "object",
  "as=PartialObjectMetadata;g=meta.k8s.io;v=v1": "metadata",
  "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1": "metadataList",
};

/**
 * Returns the first representation of an Accept header that the server supports.
 *
 * @throws StatusError 406 if there is none
 */
export function negotiate(accept = "*/*"): Representation {
  for (const clause of accept.split(",")) {
    const [type = "", ...parameters] = clause.split(";").map((part) => part.trim());
    if (!["*/*", "application/*", "application/json"].includes(type)) continue;
    const form = parameters.filter((parameter) => /^(?:as|g|v)=/.test(parameter)).sort();
    const found = REPRESENTATIONS[form.join(";")];
    if (found !== undefined) return found;
  }
  throw notAcceptable("406: Not Acceptable\n\nAvailable representations: application/json", {});
}

/**
 * Checks that a representation is one of the response to a verb.
 *
 * @throws StatusError 406; 501 for a watch as a list, which kube-apiserver begins and never sends anything
 */
export function checkRepresentation(verb: string, resource: ServedResource, representation: Representation): void {
  const type = `${resource.group === "" ? "core" : resource.group.replace(/\..*/, "")}.${resource.kind}`;
  if (verb === "list" && representation === "metadata") {
    throw notAcceptable(`you requested PartialObjectMetadata, but the requested object is a list (*${type}List)`);
  }
  if (verb === "list" || representation !== "metadataList") return;
  if (verb === "watch") throw notImplemented("watches of PartialObjectMetadataList");
  throw notAcceptable(`you requested PartialObjectMetadataList, but the requested object is not a list (*${type})`);
}

/** Returns a stored object as the API of a resource sends it. */
export function represent(
  resource: ServedResource,
  object: KubernetesObject,
  representation: Representation,
): KubernetesObject {
  if (representation === "object") return toServedEvent(resource, object);
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata };
}

function notAcceptable(message: string, details?: Record<string, unknown>): StatusError {
  return new StatusError(406, "NotAcceptable", message, details);
}
