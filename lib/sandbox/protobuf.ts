/**
 * Kubernetes objects in their binary form, which kubectl sends for the kinds that it knows (`create secret`, `auth can-i`).
 * Messages and numbers of fields are those of Kubernetes' public `generated.proto` files.
 */
import protobuf from "protobufjs/light.js";
import { isFields } from "../util/fields.ts";
import { badRequest, notImplemented, type StatusError } from "./status.ts";

/** The type of a body in this form. */
export const PROTOBUF = "application/vnd.kubernetes.protobuf";

/** What a body begins with. */
const MAGIC = Buffer.from("k8s\0");

/** Fields of one type by their numbers. */
const fields = (type: string, ids: Record<string, number>) =>
  Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, { type, id }]));
const map = (type: string, id: number) => ({ keyType: "string", type, id });

const root = protobuf.Root.fromJSON({
  nested: {
    Unknown: {
      fields: {
        ...fields("TypeMeta", { typeMeta: 1 }),
        ...fields("bytes", { raw: 2 }),
        ...fields("string", { contentEncoding: 3 }),
      },
    },
    TypeMeta: { fields: fields("string", { apiVersion: 1, kind: 2 }) },
    ObjectMeta: {
      fields: {
        ...fields("string", { name: 1, generateName: 2, namespace: 3, uid: 5, resourceVersion: 6 }),
        labels: map("string", 11),
        annotations: map("string", 12),
        ownerReferences: { rule: "repeated", type: "OwnerReference", id: 13 },
        finalizers: { rule: "repeated", type: "string", id: 14 },
      },
    },
    OwnerReference: {
      fields: {
        ...fields("string", { kind: 1, name: 3, uid: 4, apiVersion: 5 }),
        ...fields("bool", { controller: 6, blockOwnerDeletion: 7 }),
      },
    },
    ConfigMap: {
      fields: {
        ...fields("ObjectMeta", { metadata: 1 }),
        data: map("string", 2),
        binaryData: map("bytes", 3),
        ...fields("bool", { immutable: 4 }),
      },
    },
    Secret: {
      fields: {
        ...fields("ObjectMeta", { metadata: 1 }),
        data: map("bytes", 2),
        ...fields("string", { type: 3 }),
        stringData: map("string", 4),
        ...fields("bool", { immutable: 5 }),
      },
    },
    Namespace: { fields: fields("ObjectMeta", { metadata: 1 }) },
    SelfSubjectAccessReview: {
      fields: { ...fields("ObjectMeta", { metadata: 1 }), ...fields("SelfSubjectAccessReviewSpec", { spec: 2 }) },
    },
    SelfSubjectAccessReviewSpec: {
      fields: {
        ...fields("ResourceAttributes", { resourceAttributes: 1 }),
        ...fields("NonResourceAttributes", { nonResourceAttributes: 2 }),
      },
    },
    ResourceAttributes: {
      fields: fields("string", { namespace: 1, verb: 2, group: 3, version: 4, resource: 5, subresource: 6, name: 7 }),
    },
    NonResourceAttributes: { fields: fields("string", { path: 1, verb: 2 }) },
  },
});

/** The kinds that are read in this form, with their API versions. */
const KINDS: Readonly<Record<string, string>> = {
  ConfigMap: "v1",
  Secret: "v1",
  Namespace: "v1",
  SelfSubjectAccessReview: "authorization.k8s.io/v1",
};

/** Maps of what people name: there an empty value is one. */
const FREE_MAPS = ["data", "binaryData", "stringData", "labels", "annotations"];

/**
 * Reads a body of type {@link PROTOBUF}.
 *
 * @returns the object as its JSON would be: bytes in base64, and without the fields that Go leaves out where they are empty.
 * @throws StatusError 400 for a body that cannot be decoded, 501 for a kind that is not read in this form
 */
export function decodeProtobuf(body: Buffer): unknown {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw unrecognized("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  }
  const { typeMeta, raw } = decoded("Unknown", body.subarray(MAGIC.length)) as {
    typeMeta?: { apiVersion?: string; kind?: string };
    raw?: Buffer;
  };
  const { apiVersion, kind = "" } = typeMeta ?? {};
  if (!Object.hasOwn(KINDS, kind) || KINDS[kind] !== apiVersion) {
    throw notImplemented(`bodies of type ${PROTOBUF} with a ${kind}`);
  }
  const object = root.lookupType(kind).toObject(decoded(kind, raw ?? Buffer.alloc(0)), { bytes: String });
  return { apiVersion, kind, ...withoutEmpty(object) };
}

function decoded(type: string, bytes: Buffer): protobuf.Message {
  try {
    return root.lookupType(type).decode(bytes);
  } catch (error) {
    throw unrecognized(`proto: ${(error as Error).message}`);
  }
}

function unrecognized(why: string): StatusError {
  return badRequest(`the object provided is unrecognized: ${why}`);
}

function withoutEmpty(object: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(object).filter(([, value]) => value !== "");
  return Object.fromEntries(
    entries.map(([key, value]) => [key, isFields(value) && !FREE_MAPS.includes(key) ? withoutEmpty(value) : value]),
  );
}
