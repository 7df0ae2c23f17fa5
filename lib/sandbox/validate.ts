/** What an API server checks of an object before it stores it, as far as ConfigMaps, Secrets and metadata go. */
import { isDeepStrictEqual } from "node:util";
import { isFields } from "../util/fields.ts";
import { encode, type KubernetesObject } from "./object.ts";
import { apiVersion, type ServedResource } from "./resources.ts";
import { badRequest, type Cause, invalid } from "./status.ts";

/** Most bytes of a Secret's or ConfigMap's data. */
const DATA_LIMIT = 1_048_576;
/** Most bytes of all annotations, keys and values. */
const ANNOTATIONS_LIMIT = 262_144;

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and " +
  "end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const KEY = /^[-._a-zA-Z0-9]+$/;
const KEY_RULE =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or " +
  "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const PART_RULE =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
  "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const LABEL_RULE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and " +
  "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** The maps of data that a kind has, and how their values are written. */
const DATA: Record<string, Record<string, "text" | "base64">> = {
  Secret: { data: "base64", stringData: "text" },
  ConfigMap: { data: "text", binaryData: "base64" },
};

/** Which fields of an object there are; `true` for one whose own fields are not looked at. */
interface Shape {
  [field: string]: Shape | true;
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
 * The fields of a body that its kind does not have, as paths (`metadata.foo`), in their order.
 *
 * @returns undefined for a kind whose fields the sandbox does not know
 */
export function unknownFields(resource: ServedResource, body: unknown): string[] | undefined {
  const shape = SHAPES[resource.kind];
  if (!shape) return undefined;
  const unknown: string[] = [];
  const look = (value: unknown, known: Shape, prefix: string) => {
    if (!isFields(value)) return;
    for (const [key, inner] of Object.entries(value)) {
      const next = Object.hasOwn(known, key) ? known[key] : undefined;
      if (next === undefined) unknown.push(prefix + key);
      else if (next !== true) look(inner, next, `${prefix}${key}.`);
    }
  };
  look(body, { apiVersion: true, kind: true, metadata: METADATA, ...shape }, "");
  return unknown;
}

/** Thrown by {@link decode}; the caller says whether that is a bad request or a patch that doesn't fit. */
export class DecodeError extends Error {}

/**
 * Reads a body as an object of that kind: a copy with the kind filled in, `stringData` folded into `data`, and without empty
 * maps and unknown fields, as far as the fields of its kind are known.
 *
 * @throws DecodeError where it is an object of another kind, a field is of the wrong type, or base64 isn't any
 */
export function decode(resource: ServedResource, body: unknown): KubernetesObject {
  if (!isFields(body)) throw new DecodeError("json: cannot unmarshal a value that is no object");
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
  for (const key of ["labels", "annotations"] as const) stringMap(object.metadata, key, `ObjectMeta.metadata.${key}`);
  const maps = DATA[resource.kind];
  if (!maps) return object;
  for (const field of Object.keys(rest)) if (!Object.hasOwn(SHAPES[resource.kind] ?? {}, field)) delete object[field];
  for (const [field, form] of Object.entries(maps)) {
    stringMap(object, field, `${resource.kind}.${field}`);
    if (form === "base64") for (const text of textsOf(object, field)) checkBase64(text);
  }
  const { stringData, ...folded } = object;
  return stringData ? { ...folded, data: { ...folded.data, ...encode(stringData) } } : object;
}

function textsOf(object: KubernetesObject, field: string): string[] {
  return Object.values(object[field] ?? {});
}

/** A body of a create or replace. */
export function decodeBody(resource: ServedResource, body: unknown): KubernetesObject {
  try {
    return decode(resource, body);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw badRequest(cannotBeHandled(resource, error.message));
  }
}

/** Why a body is refused. */
export function cannotBeHandled({ kind }: ServedResource, why: string): string {
  return `${kind} in version "v1" cannot be handled as a ${kind}: ${why}`;
}

function stringMap(holder: Record<string, unknown>, key: string, field: string): void {
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
  // Go's decoder passes over line breaks.
  const characters = text.replace(/[\r\n]/g, "");
  if (BASE64.test(characters)) return;
  const wrong = /[^A-Za-z0-9+/]/.exec(text)?.index ?? text.length;
  throw new DecodeError(`illegal base64 data at input byte ${wrong}`);
}

/**
 * Checks an object that is about to be stored.
 *
 * @param old what it replaces
 * @throws StatusError 422 with all that is wrong
 */
export function validate(resource: ServedResource, object: KubernetesObject, old: KubernetesObject | undefined): void {
  const { name } = object.metadata;
  const causes: Cause[] = [];
  const add = (reason: string, field: string, message: string) => causes.push({ reason, message, field });
  if (!name) add("FieldValueRequired", "metadata.name", "Required value: name or generateName is required");
  else if (!NAME.test(name) || name.length > 253) {
    add("FieldValueInvalid", "metadata.name", `Invalid value: ${JSON.stringify(name)}: ${NAME_RULE}`);
  }
  for (const [key, value] of Object.entries(object.metadata.labels ?? {})) {
    if (!isQualifiedName(key)) add("FieldValueInvalid", "metadata.labels", badName(key));
    if (!LABEL.test(value) || value.length > 63) {
      add("FieldValueInvalid", "metadata.labels", `Invalid value: ${JSON.stringify(value)}: ${LABEL_RULE}`);
    }
  }
  const annotations = Object.entries(object.metadata.annotations ?? {});
  for (const [key] of annotations) {
    if (!isQualifiedName(key.toLowerCase())) add("FieldValueInvalid", "metadata.annotations", badName(key));
  }
  if (size(annotations.flat()) > ANNOTATIONS_LIMIT)
    add("FieldValueTooLong", "metadata.annotations", tooLong(ANNOTATIONS_LIMIT));
  const maps = DATA[resource.kind];
  if (maps) checkData(object, maps, add);
  if (resource.kind === "Secret") checkType(object, old, add);
  if (maps && old?.immutable === true) checkImmutable(object, old, Object.keys(maps), add);
  if (causes.length > 0) throw invalid({ ...resource, name: name ?? "" }, causes);
}

/** `name` or `prefix/name`. */
function isQualifiedName(key: string): boolean {
  const parts = key.split("/");
  const name = parts.pop() ?? "";
  const [prefix] = parts;
  if (parts.length > 1 || name.length > 63 || !PART.test(name)) return false;
  return prefix === undefined || (NAME.test(prefix) && prefix.length <= 253);
}

function badName(key: string): string {
  return `Invalid value: ${JSON.stringify(key)}: ${PART_RULE}`;
}

type Add = (reason: string, field: string, message: string) => void;

function checkData(object: KubernetesObject, maps: Record<string, "text" | "base64">, add: Add): void {
  let bytes = 0;
  for (const [field, form] of Object.entries(maps)) {
    for (const [key, text] of Object.entries((object[field] ?? {}) as Record<string, string>)) {
      bytes += Buffer.from(text, form === "text" ? "utf8" : form).length;
      if (KEY.test(key) && key.length <= 253 && key !== "." && !key.startsWith("..")) continue;
      add("FieldValueInvalid", `${field}[${key}]`, `Invalid value: ${JSON.stringify(key)}: ${KEY_RULE}`);
    }
  }
  if (bytes > DATA_LIMIT) add("FieldValueTooLong", object.kind === "Secret" ? "data" : "", tooLong(DATA_LIMIT));
}

function checkType(secret: KubernetesObject, old: KubernetesObject | undefined, add: Add): void {
  const required = secret.type === "kubernetes.io/tls" ? ["tls.crt", "tls.key"] : [];
  for (const key of required.filter((one) => secret.data?.[one] === undefined)) {
    add("FieldValueRequired", `data[${key}]`, "Required value");
  }
  if (old && old.type !== secret.type) {
    add("FieldValueInvalid", "type", `Invalid value: ${JSON.stringify(secret.type)}: field is immutable`);
  }
}

function checkImmutable(object: KubernetesObject, old: KubernetesObject, fields: string[], add: Add): void {
  const changed =
    object.immutable === true ? fields.filter((field) => !isDeepStrictEqual(object[field], old[field])) : ["immutable"];
  for (const field of changed) {
    add("FieldValueForbidden", field, "Forbidden: field is immutable when `immutable` is set");
  }
}

function tooLong(limit: number): string {
  return `Too long: may not be more than ${limit} bytes`;
}

function size(texts: string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}
