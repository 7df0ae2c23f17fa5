/**
 * Kubernetes objects in their binary form, which kubectl sends for the kinds that it knows (`create secret`, `auth can-i`).
 * Messages and numbers of fields are those of Kubernetes' public `generated.proto` files.
 */
import protobuf from "protobufjs/light.js";
import { isFields } from "../util/fields.ts";

/** What a body begins with. */
const MAGIC = Buffer.from("k8s\0");

/** Thrown for a body that is none, and for a kind that is not read in this form. */
export class ProtobufError extends Error {
  /** The kind that is not read; undefined for a body that cannot be decoded. */
  readonly kind: string | undefined;
  constructor(message: string, kind?: string) {
    super(message);
    this.kind = kind;
  }
}

const field = (type: string, id: number, rule?: "repeated") => ({ type, id, ...(rule && { rule }) });
const map = (type: string, id: number) => ({ keyType: "string", type, id });

const root = protobuf.Root.fromJSON({
  nested: {
    Unknown: {
      fields: { typeMeta: field("TypeMeta", 1), raw: field("bytes", 2), contentEncoding: field("string", 3) },
    },
    TypeMeta: { fields: { apiVersion: field("string", 1), kind: field("string", 2) } },
    ObjectMeta: {
      fields: {
        name: field("string", 1),
        generateName: field("string", 2),
        namespace: field("string", 3),
        uid: field("string", 5),
        resourceVersion: field("string", 6),
        labels: map("string", 11),
        annotations: map("string", 12),
        ownerReferences: field("OwnerReference", 13, "repeated"),
        finalizers: field("string", 14, "repeated"),
      },
    },
    OwnerReference: {
      fields: {
        kind: field("string", 1),
        name: field("string", 3),
        uid: field("string", 4),
        apiVersion: field("string", 5),
        controller: field("bool", 6),
        blockOwnerDeletion: field("bool", 7),
      },
    },
    ConfigMap: {
      fields: {
        metadata: field("ObjectMeta", 1),
        data: map("string", 2),
        binaryData: map("bytes", 3),
        immutable: field("bool", 4),
      },
    },
    Secret: {
      fields: {
        metadata: field("ObjectMeta", 1),
        data: map("bytes", 2),
        type: field("string", 3),
        stringData: map("string", 4),
        immutable: field("bool", 5),
      },
    },
    Namespace: { fields: { metadata: field("ObjectMeta", 1) } },
    SelfSubjectAccessReview: {
      fields: { metadata: field("ObjectMeta", 1), spec: field("SelfSubjectAccessReviewSpec", 2) },
    },
    SelfSubjectAccessReviewSpec: {
      fields: {
        resourceAttributes: field("ResourceAttributes", 1),
        nonResourceAttributes: field("NonResourceAttributes", 2),
      },
    },
    ResourceAttributes: {
      fields: {
        namespace: field("string", 1),
        verb: field("string", 2),
        group: field("string", 3),
        version: field("string", 4),
        resource: field("string", 5),
        subresource: field("string", 6),
        name: field("string", 7),
      },
    },
    NonResourceAttributes: { fields: { path: field("string", 1), verb: field("string", 2) } },
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
 * Reads a body of type `application/vnd.kubernetes.protobuf`.
 *
 * @returns the object as its JSON would be: bytes in base64, and without the fields that Go leaves out where they are empty.
 * @throws ProtobufError
 */
export function decodeProtobuf(body: Buffer): unknown {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  }
  const { typeMeta, raw } = decoded("Unknown", body.subarray(MAGIC.length)) as {
    typeMeta?: { apiVersion?: string; kind?: string };
    raw?: Buffer;
  };
  const { apiVersion, kind = "" } = typeMeta ?? {};
  if (!Object.hasOwn(KINDS, kind) || KINDS[kind] !== apiVersion) {
    throw new ProtobufError(`no message for ${kind} of ${apiVersion}`, kind);
  }
  const object = root.lookupType(kind).toObject(decoded(kind, raw ?? Buffer.alloc(0)), { bytes: String });
  return { apiVersion, kind, ...withoutEmpty(object) };
}

function decoded(type: string, bytes: Buffer): protobuf.Message {
  try {
    return root.lookupType(type).decode(bytes);
  } catch (error) {
    throw new ProtobufError(`proto: ${(error as Error).message}`);
  }
}

function withoutEmpty(object: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(object).filter(([, value]) => value !== "");
  return Object.fromEntries(
    entries.map(([key, value]) => [key, isFields(value) && !FREE_MAPS.includes(key) ? withoutEmpty(value) : value]),
  );
}
