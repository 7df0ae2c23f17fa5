/** Codes for probes of a peer's etcd. */
import { describeInvalidity, type Invalidity } from "./certificate-codes.ts";
import { error, literal, warning } from "./code.ts";

/** Why a step of a probe failed, with a remedy. */
export interface Failure {
  problem: string;
  advice?: string | undefined;
}

/** The remedy for a server certificate that has expired or is not valid yet. */
export const RENEW_SERVER_CERTIFICATE =
  "renew secret/clustermesh-apiserver-server-cert in the peer's cluster, then restart the pods of clustermesh-apiserver";

/** The remedy of a failed step. */
export const adviceOf = ({ advice }: Failure) => advice && literal(advice);

const details = { message: ({ problem }: Failure) => problem, remedy: adviceOf } as const;

/** A peer that is not running explains them. */
const unreachable = { ...details, impliedBy: "pod-not-ready" } as const;

export const PROBE_CODES = {
  "name-not-resolved": error<Failure>({
    ...details,
    impliedBy: "host-alias-missing",
    summary: (of) => `names of ${of} cannot be resolved`,
  }),
  "connection-refused": error<Failure>({ ...unreachable, summary: (of) => `${of} refuse the connection` }),
  "connection-timeout": error<Failure>({ ...unreachable, summary: (of) => `${of} do not respond` }),
  "connection-failed": error<Failure>({ ...unreachable, each: true, summary: (of) => `${of} cannot be reached` }),
  "not-tls": error<Failure>({ ...unreachable, summary: (of) => `${of} do not speak TLS` }),
  "server-ca-unknown": error<Failure>({
    ...details,
    impliedBy: "ca-stale",
    summary: (of) => `server certificates of ${of} are not signed by the CAs of these peers`,
  }),
  "server-certificate-expired": error<Failure | Invalidity>({
    message: (values) => ("problem" in values ? values.problem : describeInvalidity(values)),
    remedy: (values) => ("problem" in values ? adviceOf(values) : RENEW_SERVER_CERTIFICATE),
    summary: (of) => `server certificates of ${of} have expired or are not valid yet`,
  }),
  "client-refused": error<Failure>({ ...details, summary: (of) => `${of} reject the client certificate` }),
  "not-etcd": error<Failure>({ ...details, summary: (of) => `endpoints of ${of} are not etcd servers` }),
  "etcd-unavailable": error<Failure>({
    ...details,
    summary: (of) => `etcds of ${of} do not respond, or have no leader`,
  }),
  "user-unknown": error<Failure>({
    ...details,
    summary: (of) => `etcds of ${of} have no user for the client certificate`,
  }),
  "not-permitted": error<Failure>({
    ...details,
    summary: (of) => `etcds of ${of} deny access to keys that Cilium reads`,
  }),
  "heartbeat-missing": error<Failure>({ ...details, summary: (of) => `etcds of ${of} have no heartbeat` }),
  "heartbeat-stale": error<Failure>({ ...details, summary: (of) => `heartbeats of ${of} are outdated` }),
  "other-cluster": error<Failure>({
    ...details,
    each: true,
    summary: (of) => `addresses of ${of} belong to other clusters`,
  }),
  "cluster-config-missing": error<Failure>({ ...details, summary: (of) => `etcds of ${of} have no cluster config` }),
  "id-differs": error<Failure>({
    ...details,
    each: true,
    summary: (of) => `cluster ids of ${of} differ from the configured ones`,
  }),
  "not-synchronized": warning<Failure>({ ...details, summary: (of) => `${of} are not fully synchronized yet` }),
  "address-unreachable": warning<Failure>({
    ...details,
    summary: (of) => `some addresses of ${of} do not accept connections`,
  }),
} as const;

/** The codes of failed steps of a probe. */
export type FailureCode = keyof typeof PROBE_CODES | "endpoint-not-covered";
