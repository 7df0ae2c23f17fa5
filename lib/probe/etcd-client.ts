/** A peer's etcd over gRPC, at one address, verified as Cilium verifies it. */
import { createSecureContext } from "node:tls";
import {
  Client,
  credentials as grpcCredentials,
  type MethodDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { isAddress } from "../util/address.ts";
import { describeNetworkMessage } from "../util/network-error.ts";
import { covers, subjectAltNames } from "../x509/names.ts";
import type { TlsMaterial } from "./dial.ts";
import { ETCD, prefixRangeEnd, type RoleResponse, type StatusResponse, type UserResponse } from "./etcd-api.ts";
import { NotPermitted, type ProbedAddress, StepFailure } from "./steps.ts";

export interface EtcdClient {
  /** @throws Failed; where etcd does not allow it, with code `not-permitted`. */
  get(key: string): Promise<string | undefined>;
  /** The first keys that begin with `prefix`, and how many there are. */
  list(prefix: string, limit?: number): Promise<{ keys: string[]; count: number }>;
  user(name: string): Promise<UserResponse>;
  role(name: string): Promise<RoleResponse>;
  status(): Promise<StatusResponse>;
  close(): void;
}

/** @param timeout of each call, in milliseconds. */
export function createEtcdClient({ host, ip, port }: ProbedAddress, tls: TlsMaterial, timeout: number): EtcdClient {
  const { ca, cert, key } = tls;
  const context = createSecureContext({ ...(ca !== undefined && { ca }), cert, key, allowPartialTrustChain: true });
  const judged = grpcCredentials.createFromSecureContext(context, {
    // As Go does, by the names alone; a common name is none.
    checkServerIdentity: (_, certificate) => {
      const names = namesOf(certificate.subjectaltname);
      return covers(names, host) ? undefined : new Error(`the certificate does not cover ${host}`);
    },
  });
  // By the address alone, so that nothing else is resolved and no proxy of the environment comes between.
  const client = new Client(ip.includes(":") ? `ipv6:[${ip}]:${port}` : `ipv4:${ip}:${port}`, judged, {
    // An address is no name to ask for in TLS; what the certificate has to cover is judged above.
    "grpc.ssl_target_name_override": isAddress(host) ? "etcd" : host,
    "grpc.default_authority": host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_retries": 0,
  });
  const call = <Q, A>({ path, requestSerialize, responseDeserialize }: MethodDefinition<Q, A>, request: Q) =>
    new Promise<A>((resolve, reject) => {
      const deadline = Date.now() + timeout;
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, { deadline }, (error, answer) => {
        if (error) reject(toStepFailure(error, timeout));
        else resolve(answer as A);
      });
    });
  return {
    get: async (name) => (await call(ETCD.range, { key: Buffer.from(name) })).kvs[0]?.value.toString(),
    list: async (prefix, limit = 0) => {
      const asked = { key: Buffer.from(prefix), range_end: prefixRangeEnd(prefix) };
      const { kvs, count } = await call(ETCD.range, {
        ...asked,
        ...(limit > 0 ? { limit, keys_only: true } : { count_only: true }),
      });
      return { keys: kvs.map((kv) => kv.key.toString()), count };
    },
    user: (name) => call(ETCD.userGet, { name }),
    role: (role) => call(ETCD.roleGet, { role }),
    status: () => call(ETCD.status, {}),
    close: () => client.close(),
  };
}

function namesOf(subjectaltname: string | undefined): string[] {
  return subjectAltNames({ subjectAltName: subjectaltname });
}

function toStepFailure({ code, details }: ServiceError, timeout: number): StepFailure {
  const look = "look at the pods of the clustermesh-apiserver there";
  // Of an unknown user etcd has no status of its own, only this sentence.
  if (/user name not found|user name is empty/.test(details)) {
    return new StepFailure(
      "user-unknown",
      `does not know the user of the client certificate (${details})`,
      "import this cluster's secret there, so that it is let in (clustermesh-remote-users)",
    );
  }
  if (code === status.PERMISSION_DENIED) {
    return new NotPermitted("not-permitted", `does not permit it (${details})`, "what may role remote read there?");
  }
  if (code === status.DEADLINE_EXCEEDED) {
    return new StepFailure(
      "etcd-unavailable",
      `does not answer within ${timeout / 1000} s; has its etcd a quorum?`,
      look,
    );
  }
  if (code === status.UNAVAILABLE || code === status.RESOURCE_EXHAUSTED) {
    return new StepFailure("etcd-unavailable", `is not able to answer (${describeNetworkMessage(details)})`, look);
  }
  return new StepFailure(
    "not-etcd",
    `does not answer as etcd does (${details})`,
    "something else listens there: is it the port of Service clustermesh-apiserver?",
  );
}
