/** Validation of Events, as in kube-apiserver: of `events.k8s.io/v1` it is stricter than of `v1`. */
import { isDeepStrictEqual } from "node:util";
import { isNewEvent } from "./event-conversion.ts";
import type { AddCause } from "./event-lease.ts";
import type { KubernetesObject } from "./object.ts";
import type { ServedResource } from "./resources.ts";

const NAME_LIMIT = 128;
const MESSAGE_LIMIT = 1_024;
const NAME_PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const NAME_PART_RULE =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
  "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/** Fields that cannot be changed with `events.k8s.io/v1`, in the order of the server's checks. */
const IMMUTABLE_FIELDS = [
  ...["involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "reason", "type"],
  ...["eventTime", "action", "related", "reportingComponent", "reportingInstance"],
];
/** The names of fields in Go, in which messages repeat structs. */
const GO_FIELDS: Readonly<Record<string, readonly string[]>> = {
  involvedObject: ["Kind", "Namespace", "Name", "UID", "APIVersion", "ResourceVersion", "FieldPath"],
  source: ["Component", "Host"],
};

/**
 * Validates an Event before it is stored.
 *
 * @param resource - of the API that writes it
 * @param event - in its stored form
 * @param old - the Event that it replaces
 */
export function validateEvent(
  resource: ServedResource,
  event: KubernetesObject,
  old: KubernetesObject | undefined,
  add: AddCause,
): void {
  const controller = isNewEvent(resource) ? "reportingController" : "reportingComponent";
  validateAnyEvent(event, controller, add);
  if (!isNewEvent(resource)) return;
  if (!old || !isDeepStrictEqual(event.series, old.series)) validateSeries(event.series, add);
  if (old) {
    for (const field of IMMUTABLE_FIELDS) {
      if (isDeepStrictEqual(event[field], old[field])) continue;
      const value = JSON.stringify(toGoValue(field, event[field]) ?? null);
      const name = field === "reportingComponent" ? controller : field;
      add("FieldValueInvalid", name, `Invalid value: ${value}: field is immutable`);
    }
    return;
  }
  if (event.eventTime === null) add("FieldValueRequired", "eventTime", "Required value");
  if (event.type !== "Normal" && event.type !== "Warning") {
    add("FieldValueInvalid", "type", `Invalid value: "": has invalid value: ${event.type ?? ""}`);
  }
  const unset: [field: string, isSet: boolean][] = [
    ["firstTimestamp", event.firstTimestamp !== null],
    ["lastTimestamp", event.lastTimestamp !== null],
    ["count", event.count !== undefined],
    ["source", Object.keys(event.source).length > 0],
  ];
  for (const [field] of unset.filter(([, isSet]) => isSet)) {
    add("FieldValueInvalid", field, 'Invalid value: "": needs to be unset');
  }
}

/** Validates what both APIs require: an Event with `eventTime` must be complete. */
function validateAnyEvent(event: KubernetesObject, controller: string, add: AddCause): void {
  const { namespace } = event.metadata;
  const about: string = event.involvedObject.namespace ?? "";
  const isTimed = event.eventTime !== null;
  const clusterNamespaces = isTimed ? ["default", "kube-system"] : ["default"];
  const isPlaced = about === "" ? clusterNamespaces.includes(namespace ?? "") : isTimed || about === namespace;
  if (!isPlaced) {
    const message = `Invalid value: ${JSON.stringify(about)}: does not match event.namespace`;
    add("FieldValueInvalid", "involvedObject.namespace", message);
  }
  if (!isTimed) return;
  const reporter: string = event.reportingComponent;
  if (reporter === "") add("FieldValueRequired", controller, "Required value");
  for (const rule of findBrokenNameRules(reporter)) {
    add("FieldValueInvalid", controller, `Invalid value: ${JSON.stringify(reporter)}: ${rule}`);
  }
  for (const field of ["reportingInstance", "action", "reason"]) {
    if (!event[field]) add("FieldValueRequired", field, "Required value");
    checkLength(event, field, NAME_LIMIT, add);
  }
  checkLength(event, "message", MESSAGE_LIMIT, add);
}

/** Returns the rules that a name such as `example.com/controller` violates. */
function findBrokenNameRules(name: string): string[] {
  const part = name.slice(name.indexOf("/") + 1);
  const broken: string[] = [];
  if (part === "") broken.push("name part must be non-empty");
  if (part.length > 63) broken.push("name part must be no more than 63 bytes");
  if (!NAME_PART.test(part)) broken.push(NAME_PART_RULE);
  return broken;
}

function checkLength(event: KubernetesObject, field: string, limit: number, add: AddCause): void {
  const bytes = Buffer.byteLength(event[field] ?? "");
  if (bytes > limit) add("FieldValueInvalid", field, `Invalid value: "": can have at most ${limit} characters`);
}

function validateSeries(series: { count?: number; lastObservedTime?: string } | undefined, add: AddCause): void {
  if (series === undefined) return;
  if ((series.count ?? 0) < 2) add("FieldValueInvalid", "series.count", 'Invalid value: "": should be at least 2');
  if (!series.lastObservedTime) add("FieldValueRequired", "series.lastObservedTime", "Required value");
}

function toGoValue(field: string, value: unknown): unknown {
  const names = GO_FIELDS[field];
  if (names === undefined) return value;
  const values = new Map(Object.entries(value as object).map(([name, inner]) => [name.toLowerCase(), inner]));
  return Object.fromEntries(names.map((name) => [name, values.get(name.toLowerCase()) ?? ""]));
}
