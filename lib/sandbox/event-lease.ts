/** The kinds Event and Lease: decoding of their fields, and validation of Leases, as in kube-apiserver. */
import { isFields } from "../util/fields.ts";
import { isNewEvent, toServedFields, toStoredFields } from "./event-conversion.ts";
import { type KubernetesObject, timestamp } from "./object.ts";
import { apiVersion, resourceOf, type ServedResource } from "./resources.ts";
import { qualifiedName } from "./status.ts";

/** A field's type in Go; `MicroTime` requires exactly six digits of a second. */
type FieldType = "string" | "int32" | "Time" | "MicroTime";

interface TypedFields {
  readonly [field: string]: FieldType | TypedFields;
}

const strings = (...names: string[]): TypedFields => Object.fromEntries(names.map((name) => [name, "string"]));

const REFERENCE = strings("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath");

const EVENT: TypedFields = {
  ...strings("reason", "message", "type", "action", "reportingComponent", "reportingInstance"),
  involvedObject: REFERENCE,
  related: REFERENCE,
  source: strings("component", "host"),
  firstTimestamp: "Time",
  lastTimestamp: "Time",
  count: "int32",
  eventTime: "MicroTime",
  series: { count: "int32", lastObservedTime: "MicroTime" },
};

const LEASE: TypedFields = {
  spec: {
    ...strings("holderIdentity", "strategy", "preferredHolder"),
    leaseDurationSeconds: "int32",
    leaseTransitions: "int32",
    acquireTime: "MicroTime",
    renewTime: "MicroTime",
  },
};

const TYPED_FIELDS: Readonly<Record<string, TypedFields>> = {
  events: EVENT,
  "events.events.k8s.io": toServedFields(EVENT),
  "leases.coordination.k8s.io": LEASE,
};

/** Returns the fields of an Event or a Lease, besides kind and metadata; undefined for other resources. */
export function typedFieldsOf(resource: ServedResource): TypedFields | undefined {
  return TYPED_FIELDS[qualifiedName(resource)];
}

/** Fields of stored objects that the server sends even if they are empty. */
export const EMPTY_FIELDS: Readonly<Record<string, object>> = {
  Event: {
    involvedObject: {},
    source: {},
    ...{ firstTimestamp: null, lastTimestamp: null, eventTime: null },
    ...{ reportingComponent: "", reportingInstance: "" },
  },
  Lease: { spec: {} },
};

/** Thrown if the fields of a body cannot be decoded; the message is the cause in the words of Go's decoder. */
export class DecodeError extends Error {}

/**
 * Decodes the fields of an Event or a Lease: checks their types, converts times to UTC, and removes unknown fields and those
 * that Go omits.
 *
 * @returns the object in the form in which it is stored
 * @throws DecodeError for a value of the wrong type or an invalid time
 */
export function decodeTypedFields(resource: ServedResource, object: KubernetesObject): KubernetesObject {
  const { apiVersion: _, kind, metadata, ...fields } = object;
  const decoded = decodeStruct(fields, typedFieldsOf(resource) ?? {}, kind);
  const stored = isNewEvent(resource) ? toStoredFields(decoded) : decoded;
  const version = apiVersion(resourceOf(kind) ?? resource);
  return { apiVersion: version, kind, metadata, ...EMPTY_FIELDS[kind], ...stored };
}

function decodeStruct(value: Record<string, unknown>, fields: TypedFields, path: string): Record<string, unknown> {
  const decoded: Record<string, unknown> = {};
  for (const [name, type] of Object.entries(fields)) {
    const given = value[name] ?? undefined;
    if (given === undefined) continue;
    const field = `${path}.${name}`;
    if (typeof type === "object") {
      if (!isFields(given)) throw wrongType(given, field, "struct");
      decoded[name] = decodeStruct(given, type, field);
    } else {
      const leaf = decodeLeaf(given, type, field);
      // The fields of Leases are pointers, of which Go omits only null.
      if (path.startsWith("Lease") || (leaf !== "" && leaf !== 0)) decoded[name] = leaf;
    }
  }
  return decoded;
}

function decodeLeaf(value: unknown, type: FieldType, field: string): string | number {
  if (type === "int32") {
    if (typeof value !== "number" || (value | 0) !== value) throw wrongType(value, field, type);
    return value;
  }
  if (typeof value !== "string") throw wrongType(value, field, type);
  return type === "string" ? value : parseTime(value, type);
}

const TIMES = {
  Time: { form: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/, layout: "2006-01-02T15:04:05Z07:00" },
  MicroTime: {
    form: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{6})(?:Z|[+-]\d\d:\d\d)$/,
    layout: "2006-01-02T15:04:05.000000Z07:00",
  },
};

function parseTime(text: string, type: keyof typeof TIMES): string {
  const { form, layout } = TIMES[type];
  const [matched, micros] = form.exec(text) ?? [];
  const date = new Date(text);
  if (matched === undefined || Number.isNaN(date.getTime())) {
    throw new DecodeError(`parsing time ${JSON.stringify(text)} as ${JSON.stringify(layout)}: cannot parse`);
  }
  const seconds = timestamp(date);
  return micros === undefined ? seconds : seconds.replace("Z", `.${micros}Z`);
}

function wrongType(value: unknown, field: string, type: string): DecodeError {
  const kind = Array.isArray(value) ? "array" : typeof value === "number" ? `number ${value}` : typeof value;
  return new DecodeError(`json: cannot unmarshal ${kind} into Go struct field ${field} of type ${type}`);
}

/** Adds a violation of a field to a list. */
export type AddCause = (reason: string, field: string, message: string) => void;

/** Validates the numbers of a Lease. */
export function validateLease({ spec }: KubernetesObject, add: AddCause): void {
  const check = (field: string, minimum: number, rule: string) => {
    const value: number = spec[field] ?? minimum;
    if (value < minimum)
      add("FieldValueInvalid", `spec.${field}`, `Invalid value: ${value}: must be greater than ${rule}`);
  };
  check("leaseDurationSeconds", 1, "0");
  check("leaseTransitions", 0, "or equal to 0");
}
