/** Decoding and validation of objects, as in kube-apiserver: of metadata, and of the kinds whose fields are known. */
import { isDeepStrictEqual } from "node:util";
import { isFields } from "../util/fields.ts";
import { type AddCause, DecodeError, decodeTypedFields, typedFieldsOf, validateLease } from "./event-lease.ts";
import { validateEvent } from "./event-validation.ts";
import { encode, type KubernetesObject } from "./object.ts";
import { apiVersion, resourceOf, type ServedResource } from "./resources.ts";
import { type Cause, invalid, type Refusal } from "./status.ts";

/** Maximum bytes of the data of a Secret or ConfigMap. */
const DATA_LIMIT = 1_048_576;
/** Maximum bytes of all annotations, keys and values. */
const ANNOTATIONS_LIMIT = 262_144;

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and " +
  "end with an alphanumeric character";
const KEY = /^[-._a-zA-Z0-9]+$/;
const KEY_RULE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** The name part of a label key, or a label value. */
const PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const PART_RULE =
  "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/** The data maps of a kind, and the encoding of their values. */
const DATA: Record<string, Record<string, "text" | "base64">> = {
  Secret: { data: "base64", stringData: "text" },
  ConfigMap: { data: "text", binaryData: "base64" },
};

/** The known fields of an object; not an object for a field without known fields. */
interface Shape {
  readonly [field: string]: Shape | true | string;
}

const shapeOf = (fields: readonly string[]): Shape => Object.fromEntries(fields.map((field) => [field, true]));

const METADATA = shapeOf([
  ...["name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp"],
  ...["deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers"],
  "managedFields",
]);

const SHAPES: Record<string, Shape> = {
  Secret: shapeOf(["data", "stringData", "type", "immutable"]),
  ConfigMap: shapeOf(["data", "binaryData", "immutable"]),
  Namespace: { spec: shapeOf(["finalizers"]), status: shapeOf(["phase", "conditions"]) },
};

/**
 * Returns the unknown fields of a body in their order, as paths (`metadata.foo`); undefined for a kind whose fields the
 * sandbox does not know.
 */
export function unknownFields(resource: ServedResource, body: unknown): string[] | undefined {
  const shape: Shape | undefined = typedFieldsOf(resource) ?? SHAPES[resource.kind];
  if (!shape) return undefined;
  const unknown: string[] = [];
  const visit = (value: unknown, known: Shape, prefix: string) => {
    if (!isFields(value)) return;
    for (const [key, inner] of Object.entries(value)) {
      const next = Object.hasOwn(known, key) ? known[key] : undefined;
      if (next === undefined) unknown.push(prefix + key);
      else if (typeof next === "object") visit(inner, next, `${prefix}${key}.`);
    }
  };
  visit(body, { apiVersion: true, kind: true, metadata: METADATA, ...shape }, "");
  return unknown;
}

/**
 * Decodes a body as an object of a kind, in the form in which it is stored: fills in the kind, merges `stringData` into `data`, and removes empty maps and,
 * as far as the fields of the kind are known, unknown fields.
 *
 * @param refuse - creates the error for an object of another kind, a field of the wrong type, or invalid base64
 */
export function decode(resource: ServedResource, body: unknown, refuse: Refusal): KubernetesObject {
  try {
    return decodeObject(resource, body);
  } catch (error) {
    throw error instanceof DecodeError ? refuse(error.message) : error;
  }
}

function decodeObject(resource: ServedResource, body: unknown): KubernetesObject {
  if (!isFields(body)) throw new DecodeError("json: cannot unmarshal a value that is not an object");
  const { kind = resource.kind, apiVersion: version = apiVersion(resource), metadata = {}, ...rest } = body;
  if (kind !== resource.kind || version !== apiVersion(resource)) {
    throw new DecodeError(`${kind} of ${version}: unknown conversion`);
  }
  if (!isFields(metadata)) throw new DecodeError("json: cannot unmarshal metadata");
  const object = structuredClone({
    apiVersion: apiVersion(resource),
    kind: resource.kind,
    metadata,
    ...rest,
  }) as KubernetesObject;
  for (const key of Object.keys(object.metadata)) if (!Object.hasOwn(METADATA, key)) delete object.metadata[key];
  for (const key of ["labels", "annotations"] as const)
    normalizeStringMap(object.metadata, key, `ObjectMeta.metadata.${key}`);
  if (typedFieldsOf(resource)) return decodeTypedFields(resource, object);
  const maps = DATA[resource.kind];
  if (!maps) return object;
  for (const field of Object.keys(rest)) if (!Object.hasOwn(SHAPES[resource.kind] ?? {}, field)) delete object[field];
  for (const [field, encoding] of Object.entries(maps)) {
    normalizeStringMap(object, field, `${resource.kind}.${field}`);
    if (encoding === "base64") Object.values<string>(object[field] ?? {}).forEach(checkBase64);
  }
  const { stringData, ...others } = object;
  return stringData ? { ...others, data: { ...others.data, ...encode(stringData) } } : object;
}

function normalizeStringMap(holder: Record<string, unknown>, key: string, field: string): void {
  const value = holder[key] ?? undefined;
  if (value !== undefined && !isFields(value)) throw new DecodeError(`json: cannot unmarshal into field ${field}`);
  if (value === undefined || Object.keys(value).length === 0) {
    delete holder[key];
    return;
  }
  for (const [name, text] of Object.entries(value)) {
    if (text === null) value[name] = "";
    else if (typeof text !== "string") {
      throw new DecodeError(`json: cannot unmarshal ${typeof text} into Go struct field ${field} of type string`);
    }
  }
}

function checkBase64(text: string): void {
  // Go's decoder ignores line breaks.
  const characters = text.replace(/[\r\n]/g, "");
  if (BASE64.test(characters)) return;
  const wrong = /[^A-Za-z0-9+/]/.exec(text)?.index ?? text.length;
  throw new DecodeError(`illegal base64 data at input byte ${wrong}`);
}

/**
 * Validates an object before it is stored.
 *
 * @param old - the object that it replaces
 * @throws StatusError 422 with all violations
 */
export function validate(resource: ServedResource, object: KubernetesObject, old: KubernetesObject | undefined): void {
  const { name } = object.metadata;
  const causes: Cause[] = [];
  const add: AddCause = (reason, field, message) => causes.push({ reason, message, field });
  if (!name) add("FieldValueRequired", "metadata.name", "Required value: name or generateName is required");
  else if (!NAME.test(name) || name.length > 253) {
    add("FieldValueInvalid", "metadata.name", `Invalid value: ${JSON.stringify(name)}: ${NAME_RULE}`);
  }
  for (const [key, value] of Object.entries(object.metadata.labels ?? {})) {
    if (!isQualifiedName(key)) add("FieldValueInvalid", "metadata.labels", invalidName(key));
    if (value !== "" && (!PART.test(value) || value.length > 63)) {
      const rule = `a valid label must be an empty string or ${PART_RULE}`;
      add("FieldValueInvalid", "metadata.labels", `Invalid value: ${JSON.stringify(value)}: ${rule}`);
    }
  }
  const annotations = Object.entries(object.metadata.annotations ?? {});
  for (const [key] of annotations) {
    if (!isQualifiedName(key.toLowerCase())) add("FieldValueInvalid", "metadata.annotations", invalidName(key));
  }
  const size = annotations.flat().reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (size > ANNOTATIONS_LIMIT) add("FieldValueTooLong", "metadata.annotations", tooLong(ANNOTATIONS_LIMIT));
  const maps = DATA[resource.kind];
  if (maps) checkData(object, maps, add);
  if (resource.kind === "Secret") checkType(object, old, add);
  if (resource.kind === "Event") validateEvent(resource, object, old, add);
  if (resource.kind === "Lease") validateLease(object, add);
  if (maps && old?.immutable === true) checkImmutable(object, old, Object.keys(maps), add);
  // The group of Events is that of their storage.
  const group = resourceOf(resource.kind)?.group ?? resource.group;
  if (causes.length > 0) throw invalid({ kind: resource.kind, group, name: name ?? "" }, causes);
}

/** Whether a key has the form `name` or `prefix/name`. */
function isQualifiedName(key: string): boolean {
  const parts = key.split("/");
  const name = parts.pop() ?? "";
  const [prefix] = parts;
  if (parts.length > 1 || name.length > 63 || !PART.test(name)) return false;
  return prefix === undefined || (NAME.test(prefix) && prefix.length <= 253);
}

function invalidName(key: string): string {
  return `Invalid value: ${JSON.stringify(key)}: name part must ${PART_RULE}`;
}

function checkData(object: KubernetesObject, maps: Record<string, "text" | "base64">, add: AddCause): void {
  let bytes = 0;
  for (const [field, encoding] of Object.entries(maps)) {
    for (const [key, text] of Object.entries((object[field] ?? {}) as Record<string, string>)) {
      bytes += Buffer.from(text, encoding === "text" ? "utf8" : encoding).length;
      if (KEY.test(key) && key.length <= 253 && key !== "." && !key.startsWith("..")) continue;
      add("FieldValueInvalid", `${field}[${key}]`, `Invalid value: ${JSON.stringify(key)}: ${KEY_RULE}`);
    }
  }
  if (bytes > DATA_LIMIT) add("FieldValueTooLong", object.kind === "Secret" ? "data" : "", tooLong(DATA_LIMIT));
}

function checkType(secret: KubernetesObject, old: KubernetesObject | undefined, add: AddCause): void {
  const required = secret.type === "kubernetes.io/tls" ? ["tls.crt", "tls.key"] : [];
  for (const key of required.filter((one) => secret.data?.[one] === undefined)) {
    add("FieldValueRequired", `data[${key}]`, "Required value");
  }
  if (old && old.type !== secret.type) {
    add("FieldValueInvalid", "type", `Invalid value: ${JSON.stringify(secret.type)}: field is immutable`);
  }
}

function checkImmutable(object: KubernetesObject, old: KubernetesObject, fields: string[], add: AddCause): void {
  const changed =
    object.immutable === true ? fields.filter((field) => !isDeepStrictEqual(object[field], old[field])) : ["immutable"];
  for (const field of changed) {
    add("FieldValueForbidden", field, "Forbidden: field is immutable when `immutable` is set");
  }
}

function tooLong(limit: number): string {
  return `Too long: may not be more than ${limit} bytes`;
}
