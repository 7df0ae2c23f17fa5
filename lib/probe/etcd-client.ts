/** gRPC client of a peer's etcd at one address, with the TLS verification of Cilium's client. */
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
import { CHECK_PODS, CHECK_PORT, CHECK_QUORUM, NotPermitted, type ProbedAddress, StepFailure } from "./steps.ts";

export interface EtcdClient {
  /** @throws StepFailure, as all calls; NotPermitted if etcd denies access. */
  get(key: string): Promise<string | undefined>;
  /** The first `limit` keys with a prefix, and the number of all; without a limit only the number. */
  list(prefix: string, limit?: number): Promise<{ keys: string[]; count: number }>;
  /** The roles of an etcd user. */
  user(name: string): Promise<UserResponse>;
  /** The permissions of an etcd role. */
  role(name: string): Promise<RoleResponse>;
  /** The state of the etcd member that serves the connection. */
  status(): Promise<StatusResponse>;
  /** Closes the connection. */
  close(): void;
}

/**
 * Creates a client that connects on its first call.
 *
 * @param timeout - milliseconds for each call.
 */
export function createEtcdClient({ host, ip, port }: ProbedAddress, tls: TlsMaterial, timeout: number): EtcdClient {
  const { ca, cert, key } = tls;
  const context = createSecureContext({ ...(ca !== undefined && { ca }), cert, key, allowPartialTrustChain: true });
  const channelCredentials = grpcCredentials.createFromSecureContext(context, {
    // As in Go, by subject alternative names only, not by the common name.
    checkServerIdentity: (_, certificate) => {
      const names = subjectAltNames({ subjectAltName: certificate.subjectaltname });
      return covers(names, host) ? undefined : new Error(`the server certificate does not cover ${host}`);
    },
  });
  // The target is the address, and proxies of the environment are disabled, so nothing else is resolved or contacted.
  const client = new Client(ip.includes(":") ? `ipv6:[${ip}]:${port}` : `ipv4:${ip}:${port}`, channelCredentials, {
    // An address cannot be a TLS server name; the names of the certificate are verified above.
    "grpc.ssl_target_name_override": isAddress(host) ? "etcd" : host,
    "grpc.default_authority": host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_retries": 0,
  });
  const call = <Q, A>({ path, requestSerialize, responseDeserialize }: MethodDefinition<Q, A>, request: Q) =>
    new Promise<A>((resolve, reject) => {
      const deadline = Date.now() + timeout;
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, { deadline }, (error, response) => {
        if (error) reject(toStepFailure(error, timeout));
        else resolve(response as A);
      });
    });
  return {
    get: async (name) => (await call(ETCD.range, { key: Buffer.from(name) })).kvs[0]?.value.toString(),
    list: async (prefix, limit = 0) => {
      const { kvs, count } = await call(ETCD.range, {
        key: Buffer.from(prefix),
        range_end: prefixRangeEnd(prefix),
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

function toStepFailure({ code, details }: ServiceError, timeout: number): StepFailure {
  // etcd has no status code for an unknown user, only this message.
  if (/user name not found|user name is empty/.test(details)) {
    return new StepFailure(
      "user-unknown",
      `has no user for the client certificate (${details})`,
      "import the importer's secret into the peer's cluster: extract-secret --context IMPORTER | import-secrets --context PEER -",
    );
  }
  if (code === status.PERMISSION_DENIED) {
    return new NotPermitted(
      "not-permitted",
      `denies access (${details})`,
      "check the permissions of etcd role remote in the peer's cluster",
    );
  }
  if (code === status.DEADLINE_EXCEEDED) {
    return new StepFailure("etcd-unavailable", `does not respond within ${timeout / 1000}s`, CHECK_QUORUM);
  }
  if (code === status.UNAVAILABLE || code === status.RESOURCE_EXHAUSTED) {
    return new StepFailure("etcd-unavailable", `is not available (${describeNetworkMessage(details)})`, CHECK_PODS);
  }
  return new StepFailure("not-etcd", `is not an etcd server (${details})`, CHECK_PORT);
}
