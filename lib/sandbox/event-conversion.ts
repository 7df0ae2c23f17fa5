/** The two APIs of Events: `v1`, whose objects are stored, and `events.k8s.io/v1` with other names of the same fields. */
import type { KubernetesObject } from "./object.ts";
import { apiVersion, type ServedResource } from "./resources.ts";

/** Fields of `events.k8s.io/v1` by those of `v1`. */
const SERVED_FIELDS: Readonly<Record<string, string>> = {
  involvedObject: "regarding",
  message: "note",
  source: "deprecatedSource",
  firstTimestamp: "deprecatedFirstTimestamp",
  lastTimestamp: "deprecatedLastTimestamp",
  count: "deprecatedCount",
  reportingComponent: "reportingController",
};
const STORED_FIELDS = Object.fromEntries(Object.entries(SERVED_FIELDS).map(([stored, served]) => [served, stored]));

/** Whether a resource is that of the Events of `events.k8s.io`. */
export function isNewEvent({ group, kind }: Pick<ServedResource, "group" | "kind">): boolean {
  return group === "events.k8s.io" && kind === "Event";
}

/** Returns values by the fields of `events.k8s.io/v1`, given those by the fields of `v1`. */
export function toServedFields<T>(fields: Readonly<Record<string, T>>): Record<string, T> {
  return rename(fields, SERVED_FIELDS);
}

/** Returns values by the fields of `v1`, given those by the fields of `events.k8s.io/v1`. */
export function toStoredFields<T>(fields: Readonly<Record<string, T>>): Record<string, T> {
  return rename(fields, STORED_FIELDS);
}

/** Returns a stored object; for the resource of `events.k8s.io` with the fields of its API, of which empty strings are omitted. */
export function toServedEvent(resource: ServedResource, object: KubernetesObject): KubernetesObject {
  if (!isNewEvent(resource)) return object;
  const fields = Object.entries(object).filter(([, value]) => value !== "");
  return { ...(toServedFields(Object.fromEntries(fields)) as KubernetesObject), apiVersion: apiVersion(resource) };
}

function rename<T>(fields: Readonly<Record<string, T>>, names: Readonly<Record<string, string>>): Record<string, T> {
  return Object.fromEntries(Object.entries(fields).map(([field, value]) => [names[field] ?? field, value]));
}
