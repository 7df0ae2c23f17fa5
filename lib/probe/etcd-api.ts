/**
 * The part of etcd's gRPC API that peers use, with the field numbers of etcd's `rpc.proto`, `kv.proto` and `auth.proto`.
 * The embedded etcd of the sandbox serves the same part.
 */
import type { MethodDefinition } from "@grpc/grpc-js";
import protobuf from "protobufjs/light.js";

export interface RangeRequest {
  key: Buffer;
  /** Absent for a single key; {@link prefixRangeEnd} for a prefix. */
  range_end?: Buffer;
  limit?: number;
  /** Answered from the local state of this member, without consensus. */
  serializable?: boolean;
  keys_only?: boolean;
  count_only?: boolean;
}

export interface RangeResponse {
  kvs: { key: Buffer; value: Buffer; mod_revision: number }[];
  more: boolean;
  /** Number of keys in the range, regardless of the limit. */
  count: number;
}

export interface UserResponse {
  roles: string[];
}

export interface RoleResponse {
  /** `permType` is READ, WRITE or READWRITE; `range_end` as in a request. */
  perm: { permType: string; key: Buffer; range_end: Buffer }[];
}

export interface StatusResponse {
  version: string;
  /** Id of the leader; 0 without a leader. */
  leader: number;
}

const defineField = (type: string, id: number, rule?: "repeated") => ({ type, id, ...(rule && { rule }) });

const root = protobuf.Root.fromJSON({
  nested: {
    RangeRequest: {
      fields: {
        key: defineField("bytes", 1),
        range_end: defineField("bytes", 2),
        limit: defineField("int64", 3),
        serializable: defineField("bool", 7),
        keys_only: defineField("bool", 8),
        count_only: defineField("bool", 9),
      },
    },
    KeyValue: {
      fields: { key: defineField("bytes", 1), mod_revision: defineField("int64", 3), value: defineField("bytes", 5) },
    },
    RangeResponse: {
      fields: {
        kvs: defineField("KeyValue", 2, "repeated"),
        more: defineField("bool", 3),
        count: defineField("int64", 4),
      },
    },
    AuthUserGetRequest: { fields: { name: defineField("string", 1) } },
    AuthUserGetResponse: { fields: { roles: defineField("string", 2, "repeated") } },
    AuthRoleGetRequest: { fields: { role: defineField("string", 1) } },
    PermissionType: { values: { READ: 0, WRITE: 1, READWRITE: 2 } },
    Permission: {
      fields: {
        permType: defineField("PermissionType", 1),
        key: defineField("bytes", 2),
        range_end: defineField("bytes", 3),
      },
    },
    AuthRoleGetResponse: { fields: { perm: defineField("Permission", 2, "repeated") } },
    StatusRequest: { fields: {} },
    StatusResponse: { fields: { version: defineField("string", 2), leader: defineField("uint64", 4) } },
  },
});

function defineMethod<Q, A>(path: string, request: string, response: string): MethodDefinition<Q, A> {
  const [requestType, responseType] = [root.lookupType(request), root.lookupType(response)];
  const encode = (type: protobuf.Type, value: object) => Buffer.from(type.encode(type.create(value)).finish());
  const decode = (type: protobuf.Type, bytes: Buffer) =>
    type.toObject(type.decode(bytes), { longs: Number, enums: String, bytes: Buffer, defaults: true });
  return {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (value) => encode(requestType, value as object),
    requestDeserialize: (bytes) => decode(requestType, bytes) as Q,
    responseSerialize: (value) => encode(responseType, value as object),
    responseDeserialize: (bytes) => decode(responseType, bytes) as A,
  };
}

/** The gRPC methods, with the serialization of their messages. */
export const ETCD = {
  range: defineMethod<RangeRequest, RangeResponse>("/etcdserverpb.KV/Range", "RangeRequest", "RangeResponse"),
  userGet: defineMethod<{ name: string }, UserResponse>(
    "/etcdserverpb.Auth/UserGet",
    "AuthUserGetRequest",
    "AuthUserGetResponse",
  ),
  roleGet: defineMethod<{ role: string }, RoleResponse>(
    "/etcdserverpb.Auth/RoleGet",
    "AuthRoleGetRequest",
    "AuthRoleGetResponse",
  ),
  status: defineMethod<object, StatusResponse>("/etcdserverpb.Maintenance/Status", "StatusRequest", "StatusResponse"),
};

/** Returns the range end for all keys with a prefix: the prefix with its last byte incremented. */
export function prefixRangeEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  return end;
}
