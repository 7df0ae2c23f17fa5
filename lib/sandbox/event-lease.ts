/** The kinds Event and Lease: decoding and validation of their fields, as in kube-apiserver. */
import { isFields } from "../util/fields.ts";
import { type KubernetesObject, timestamp } from "./object.ts";

/** A field's type in Go; `MicroTime` requires exactly six digits of a second. */
type FieldType = "string" | "int32" | "Time" | "MicroTime";

interface TypedFields {
  readonly [field: string]: FieldType | TypedFields;
}

const strings = (...names: string[]): TypedFields => Object.fromEntries(names.map((name) => [name, "string"]));

const REFERENCE = strings("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath");

/** The fields of each kind, besides kind and metadata. */
export const TYPED_FIELDS: Readonly<Record<string, TypedFields>> = {
  Event: {
    ...strings("reason", "message", "type", "action", "reportingComponent", "reportingInstance"),
    involvedObject: REFERENCE,
    related: REFERENCE,
    source: strings("component", "host"),
    firstTimestamp: "Time",
    lastTimestamp: "Time",
    count: "int32",
    eventTime: "MicroTime",
    series: { count: "int32", lastObservedTime: "MicroTime" },
  },
  Lease: {
    spec: {
      ...strings("holderIdentity", "strategy", "preferredHolder"),
      leaseDurationSeconds: "int32",
      leaseTransitions: "int32",
      acquireTime: "MicroTime",
      renewTime: "MicroTime",
    },
  },
};

/** Fields that the server writes even if they are empty. */
const EMPTY_FIELDS: Readonly<Record<string, object>> = {
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
 * @throws DecodeError for a value of the wrong type or an invalid time
 */
export function decodeTypedFields({ apiVersion, kind, metadata, ...fields }: KubernetesObject): KubernetesObject {
  const decoded = decodeStruct(fields, TYPED_FIELDS[kind] ?? {}, kind);
  return { apiVersion, kind, metadata, ...EMPTY_FIELDS[kind], ...decoded };
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

/** Validates an Event; one with `eventTime` must be complete when it is created. */
export function validateEvent(event: KubernetesObject, isNew: boolean, add: AddCause): void {
  const { namespace } = event.metadata;
  const about: string = event.involvedObject.namespace ?? "";
  if (about === "" ? namespace !== "default" : about !== namespace) {
    const message = `Invalid value: ${JSON.stringify(about)}: does not match event.namespace`;
    add("FieldValueInvalid", "involvedObject.namespace", message);
  }
  if (!isNew || event.eventTime === null) return;
  for (const field of ["reportingComponent", "reportingInstance", "action", "reason"]) {
    if (!event[field]) add("FieldValueRequired", field, "Required value");
  }
}

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
