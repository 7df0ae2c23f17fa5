/**
 * Kubernetes objects in protobuf, which kubectl sends for built-in kinds (`create secret`, `auth can-i`). Messages and field
 * numbers are those of Kubernetes' public `generated.proto` files.
 */
import protobuf from "protobufjs/light.js";
import { isFields } from "../util/fields.ts";
import { badRequest, notImplemented, type StatusError } from "./status.ts";

/** Media type. */
export const PROTOBUF = "application/vnd.kubernetes.protobuf";

/** Prefix of every body. */
const MAGIC = Buffer.from("k8s\0");

/** Fields of each message as `name type number`; a `map` has string keys. */
const MESSAGES = {
  Unknown: ["typeMeta TypeMeta 1", "raw bytes 2", "contentEncoding string 3"],
  TypeMeta: ["apiVersion string 1", "kind string 2"],
  ObjectMeta: [
    ...["name string 1", "generateName string 2", "namespace string 3", "uid string 5", "resourceVersion string 6"],
    ...["labels map:string 11", "annotations map:string 12"],
    ...["ownerReferences repeated:OwnerReference 13", "finalizers repeated:string 14"],
  ],
  OwnerReference: [
    ...["kind string 1", "name string 3", "uid string 4", "apiVersion string 5"],
    ...["controller bool 6", "blockOwnerDeletion bool 7"],
  ],
  ConfigMap: ["metadata ObjectMeta 1", "data map:string 2", "binaryData map:bytes 3", "immutable bool 4"],
  Secret: [
    ...["metadata ObjectMeta 1", "data map:bytes 2", "type string 3", "stringData map:string 4", "immutable bool 5"],
  ],
  Namespace: ["metadata ObjectMeta 1"],
  SelfSubjectAccessReview: ["metadata ObjectMeta 1", "spec SelfSubjectAccessReviewSpec 2"],
  SelfSubjectAccessReviewSpec: [
    ...["resourceAttributes ResourceAttributes 1", "nonResourceAttributes NonResourceAttributes 2"],
  ],
  ResourceAttributes: [
    ...["namespace string 1", "verb string 2", "group string 3", "version string 4", "resource string 5"],
    ...["subresource string 6", "name string 7"],
  ],
  NonResourceAttributes: ["path string 1", "verb string 2"],
};

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(
    Object.entries(MESSAGES).map(([message, fields]) => [message, { fields: Object.fromEntries(fields.map(toField)) }]),
  ),
});

function toField(text: string): [name: string, field: protobuf.IField] {
  const [name = "", form = "", id] = text.split(" ");
  const [type = "", modifier] = form.split(":").reverse();
  const rule = modifier === "map" ? { keyType: "string" } : modifier === "repeated" ? { rule: "repeated" } : {};
  return [name, { type, id: Number(id), ...rule }];
}

/** API versions of the supported kinds. */
const KINDS: Readonly<Record<string, string>> = {
  ConfigMap: "v1",
  Secret: "v1",
  Namespace: "v1",
  SelfSubjectAccessReview: "authorization.k8s.io/v1",
};

/** Maps with keys chosen by users, which keep empty values. */
const USER_MAPS = ["data", "binaryData", "stringData", "labels", "annotations"];

/**
 * Decodes a body of type {@link PROTOBUF}.
 *
 * @returns the object in its JSON form: bytes in base64, without the empty fields that Go omits
 * @throws StatusError 400 for an invalid body, 501 for an unsupported kind
 */
export function decodeProtobuf(body: Buffer): unknown {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw unrecognized("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  }
  const { typeMeta, raw } = decodeMessage("Unknown", body.subarray(MAGIC.length)) as {
    typeMeta?: { apiVersion?: string; kind?: string };
    raw?: Buffer;
  };
  const { apiVersion, kind = "" } = typeMeta ?? {};
  if (!Object.hasOwn(KINDS, kind) || KINDS[kind] !== apiVersion) {
    throw notImplemented(`${kind || "objects without a kind"} in ${PROTOBUF}`);
  }
  const object = root.lookupType(kind).toObject(decodeMessage(kind, raw ?? Buffer.alloc(0)), { bytes: String });
  return { apiVersion, kind, ...omitEmpty(object) };
}

function decodeMessage(type: string, bytes: Buffer): protobuf.Message {
  try {
    return root.lookupType(type).decode(bytes);
  } catch (error) {
    throw unrecognized(`proto: ${(error as Error).message}`);
  }
}

function unrecognized(why: string): StatusError {
  return badRequest(`the object provided is unrecognized: ${why}`);
}

function omitEmpty(object: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(object).filter(([, value]) => value !== "");
  return Object.fromEntries(
    entries.map(([key, value]) => [key, isFields(value) && !USER_MAPS.includes(key) ? omitEmpty(value) : value]),
  );
}
