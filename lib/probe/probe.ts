/** Probes peers live, with the requests of Cilium's client to their etcds. */

import type { X509Certificate } from "node:crypto";
import { checkPeer } from "../peer/checks/check-peer.ts";
import { checkValidity, type ExpiryOptions } from "../peer/checks/validity.ts";
import type { RemedyTemplate } from "../peer/codes/code.ts";
import { hasTrait } from "../peer/finding-codes.ts";
import { type Finding, finding, type Place, redact } from "../peer/findings.ts";
import { isNodeLocal } from "../peer/node-local.ts";
import type { ClientCertificate, Peer, SourcedPeer } from "../peer/peer.ts";
import { formatHostPort, isAddress, parseEndpoint } from "../util/address.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { enumerate } from "../util/enumerate.ts";
import { describeNetworkError } from "../util/network-error.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { shellQuote } from "../util/shell.ts";
import { type CertificateFact, fingerprintOf } from "../x509/expiry.ts";
import { certificateUser } from "../x509/names.ts";
import { describeServer, dialAddress, type ServerCertificate, type TlsMaterial } from "./dial.ts";
import {
  countContents,
  type EtcdContent,
  listUnsynchronized,
  readClusterConfig,
  readHeartbeatAge,
  readRoles,
} from "./etcd-checks.ts";
import { createEtcdClient, type EtcdClient } from "./etcd-client.ts";
import { type ProbedAddress, StepFailure, type StepName, type StepResult, Steps } from "./steps.ts";

/** Higher values would measure the load of this machine instead of the peers. */
export const MAX_CONCURRENT_PROBES = 64;

export interface ProbeOptions {
  /** Parsed certificates of earlier checks. */
  cache?: ParseCache | undefined;
  /** Timeout of each step, in milliseconds. */
  stepTimeout: number;
  /** The time that certificates and heartbeats are compared with. */
  now: Date;
  /** Resolves a name to its addresses. */
  resolve(name: string): Promise<string[]>;
  /** The importer's own CA (PEM) and client certificate, for peers without them. */
  own?: { ca?: string | undefined; client?: ClientCertificate | undefined };
  /** The context of the cluster whose peers are probed; undefined for peers of files. */
  importer?: string | undefined;
  /** Returns the context of a peer's cluster; undefined if it is unknown. */
  contextOf?: ((peer: string) => string | undefined) | undefined;
  /** Warn about certificates that expire within this many milliseconds; 30 days by default. */
  expiresWithin?: number | undefined;
  /** The remedy for an expiring or expired certificate of a peer; by default a remedy for its file. */
  remedyFor?: ((peer: Peer, certificate: CertificateFact) => RemedyTemplate | string) | undefined;
}

/** The result for one address. */
export interface AddressProbe extends ProbedAddress {
  steps: StepResult[];
  /** The failed step; undefined if all succeeded. */
  failed?: StepName | undefined;
  server?: ServerCertificate | undefined;
  /** The etcd user of the client certificate; `roles` are those that etcd returned. */
  user?: string | undefined;
  roles?: string[] | undefined;
  /** Seconds since the last heartbeat. */
  heartbeatAge?: number | undefined;
  id?: number | undefined;
  maxConnectedClusters?: number | undefined;
  /** Number of resources of each kind in etcd. */
  counts?: Record<EtcdContent, number> | undefined;
}

export interface PeerProbe {
  name: string;
  source: string;
  addresses: AddressProbe[];
  /** Set if the peer was not probed, because it is reachable only from the same node. */
  skipped?: "node-local";
  /** Problems that prevent a connection, now or later, including those of the file. */
  findings: Finding[];
}

/**
 * Probes peers, each address of each endpoint separately. Verification is that of Cilium's client: host aliases have
 * precedence over DNS, and names and certificates are verified as in Go.
 *
 * @param limit - limits the number of concurrent probes; shared between calls.
 */
export async function probePeers(
  peers: readonly SourcedPeer[],
  options: ProbeOptions,
  limit: <T>(work: () => Promise<T>) => Promise<T> = limitConcurrency(MAX_CONCURRENT_PROBES),
): Promise<PeerProbe[]> {
  return withMaximumFindings(await Promise.all(peers.map((sourced) => probePeer(sourced, options, limit))));
}

/** Returns the result for a peer that is reachable only from the same node, and therefore not probed. */
export function toSkippedProbe(name: string, source: string): PeerProbe {
  return { name: redact(name), source, addresses: [], skipped: "node-local", findings: [] };
}

async function probePeer(
  { peer: given, source }: SourcedPeer,
  options: ProbeOptions,
  limit: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<PeerProbe> {
  if (isNodeLocal(given.endpoints)) return toSkippedProbe(given.name, source);
  const peer = withImporterTls(given, options.own);
  const place = { source, key: peer.name };
  const { now, expiresWithin, remedyFor, cache } = options;
  const expiry: ExpiryOptions = {
    expiresWithin,
    ...(remedyFor && { remedyFor: (certificate) => remedyFor(given, certificate) }),
  };
  const fileFindings = checkPeer({ peer, source, remedyFor: expiry.remedyFor }, now, { expiresWithin, cache }).filter(
    (one) => !hasTrait(one, "undecided"),
  );
  const result: PeerProbe = { name: redact(peer.name), source, addresses: [], findings: fileFindings };
  const { ca, client } = peer;
  if (client === "importer" || ca === "importer") {
    const lacking = client === "importer" ? "certificate" : "CA";
    return { ...result, findings: [...fileFindings, finding("peer-without-key", place, { lacking })] };
  }
  if (fileFindings.some((one) => hasTrait(one, "unprobeable"))) return result;
  const tlsMaterial = { ...client, ca: ca === "system" ? undefined : ca.pem };
  const answers: Answer[] = [];
  await Promise.all(
    peer.endpoints.map(async (endpoint) => {
      const addresses = await resolveAddresses(endpoint, peer, options);
      if (addresses instanceof StepFailure) result.findings.push(toFinding(addresses, place));
      else {
        const work = addresses.map((one) => limit(() => probeAddress(one, peer, tlsMaterial, options)));
        answers.push(...(await Promise.all(work)));
      }
    }),
  );
  answers.sort((a, b) => (a.address.endpoint < b.address.endpoint ? -1 : 1));
  result.addresses = answers.map(({ address }) => address);
  const hasWorkingAddress = result.addresses.some(({ failed }) => failed === undefined);
  // A working connection disproves these findings about the file.
  if (hasWorkingAddress) result.findings = result.findings.filter((one) => !hasTrait(one, "disprovable"));
  result.findings.push(
    ...toFindings(answers, hasWorkingAddress, place, expiry),
    ...checkServedExpiry(answers, place, now, expiry),
  );
  if (!hasWorkingAddress && given.facts.endpointGiven) {
    const { importer } = options;
    const context = options.contextOf?.(given.name);
    const values = {
      name: shellQuote(given.name),
      ...(context !== undefined && { peer: shellQuote(context) }),
      ...(importer !== undefined && { importer: shellQuote(importer) }),
    };
    result.findings.push(finding("endpoint-given", place, values));
  }
  return result;
}

/** Warns about server certificates that expire soon, once for each certificate. */
function checkServedExpiry(answers: readonly Answer[], place: Place, now: Date, options: ExpiryOptions): Finding[] {
  const served = new Map(
    answers
      .filter(({ address }) => address.steps.some(({ step, ok }) => step === "tls" && ok))
      .flatMap(({ certificate }) => (certificate ? [[fingerprintOf(certificate), certificate] as const] : [])),
  );
  return [...served.values()].flatMap((certificate) => checkValidity(certificate, "server", place, now, options));
}

/** Adds the importer's own CA and client certificate to a peer without them. */
function withImporterTls(peer: Peer, own: ProbeOptions["own"] = {}): Peer {
  const ca = peer.ca === "importer" ? (own.ca ?? peer.facts.ca) : undefined;
  return {
    ...peer,
    ...(ca !== undefined && { ca: { pem: ca } }),
    ...(peer.client === "importer" && own.client && { client: own.client }),
  };
}

/** Resolves an endpoint by its host alias, else by DNS. */
async function resolveAddresses(
  endpoint: string,
  { hostAliases }: Peer,
  options: ProbeOptions,
): Promise<ProbedAddress[] | StepFailure> {
  const parsed = parseEndpoint(endpoint);
  if (!parsed) return [];
  const { host, port } = parsed;
  const { stepTimeout } = options;
  const aliased = hostAliases.find(({ hostname }) => hostname === host)?.ips;
  try {
    const ips =
      aliased ??
      (isAddress(host)
        ? [host]
        : await new Steps(stepTimeout).run("resolve", "name-not-resolved", () => resolveHost(host, options)));
    return ips.map((ip) => ({ endpoint, host, port, ip }));
  } catch (error) {
    if (error instanceof StepFailure) return new StepFailure(error.code, `${host} ${error.message}`, error.remedy);
    throw error;
  }
}

async function resolveHost(host: string, { resolve, importer }: ProbeOptions): Promise<string[]> {
  try {
    return await resolve(host);
  } catch (error) {
    const cause = describeNetworkError(error as NodeJS.ErrnoException);
    throw new StepFailure(
      "name-not-resolved",
      `has no host alias, and cannot be resolved on this machine (${cause})`,
      importer === undefined
        ? "re-extract the peer to add its addresses"
        : "import the peer's file again; before Cilium 1.20, with --restart-agents",
    );
  }
}

interface Answer {
  address: AddressProbe;
  /** At most one of them ended the probe. */
  failures: StepFailure[];
  /** The server certificate. */
  certificate: X509Certificate | undefined;
}

async function probeAddress(
  probed: ProbedAddress,
  peer: Peer,
  tlsMaterial: TlsMaterial,
  { stepTimeout, now, cache }: ProbeOptions,
): Promise<Answer> {
  const steps = new Steps(stepTimeout);
  const address: AddressProbe = { ...probed, steps: steps.results, user: certificateUser(tlsMaterial.cert, cache) };
  const failures: StepFailure[] = [];
  let client: EtcdClient | undefined;
  let certificate: X509Certificate | undefined;
  try {
    const onCertificate = (one: X509Certificate) => {
      certificate = one;
      address.server = describeServer(one, now);
    };
    await dialAddress(probed, tlsMaterial, steps, onCertificate, now);
    const etcd = createEtcdClient(probed, tlsMaterial, stepTimeout);
    client = etcd;
    address.roles = await steps.run("user", "etcd-unavailable", () => readRoles(etcd, address.user ?? ""));
    address.heartbeatAge = await steps.run("heartbeat", "etcd-unavailable", () => readHeartbeatAge(etcd, now));
    const config = await steps.run("config", "etcd-unavailable", () =>
      readClusterConfig(etcd, peer, address.roles ?? []),
    );
    address.id = config.id;
    address.maxConnectedClusters = config.maxConnectedClusters;
    const [missing, counts] = await steps.run("synced", "etcd-unavailable", () =>
      Promise.all([config.canaries ? listUnsynchronized(etcd, peer.name) : [], countContents(etcd)]),
    );
    address.counts = counts;
    if (missing.length > 0) {
      failures.push(
        new StepFailure(
          "not-synchronized",
          `has not fully synchronized ${missing.join(", ")} yet`,
          "normal shortly after a restart; otherwise check the logs of its apiserver container",
        ),
      );
    }
  } catch (error) {
    if (!(error instanceof StepFailure)) throw error;
    failures.push(error);
    address.failed = steps.results.at(-1)?.step;
  } finally {
    client?.close();
  }
  return { address, failures, certificate };
}

/**
 * Creates the findings about all addresses; addresses with the same failure share one. A failed TCP connection is only
 * a warning if another address works, since Cilium then tries the next one. After later failures, it does not.
 */
function toFindings(
  answers: readonly Answer[],
  hasWorkingAddress: boolean,
  place: Place,
  options: ExpiryOptions,
): Finding[] {
  const groups = new Map<string, { failure: StepFailure; addresses: AddressProbe[] }>();
  for (const { address, failures } of answers) {
    for (const failed of failures) {
      const { message, remedy } = failed;
      const failure =
        hasWorkingAddress && address.failed === "tcp"
          ? new StepFailure("address-unreachable", message, `other addresses work; ${remedy}`)
          : failed;
      const key = JSON.stringify([failure.code, message, failure.remedy, failure.certificate?.fingerprint]);
      const group = groups.get(key) ?? { failure, addresses: [] };
      groups.set(key, group);
      group.addresses.push(address);
    }
  }
  return [...groups.values()].map(({ failure, addresses }) =>
    toFinding(failure, place, describeAddresses(addresses), failure.certificate ? options : {}),
  );
}

/** Formats addresses with their names, as the singular subject of a message. */
function describeAddresses(addresses: readonly AddressProbe[]): string {
  const list = addresses.map(({ ip, port }) => formatHostPort({ host: ip, port }));
  const names = [...new Set(addresses.flatMap(({ host, ip }) => (host === ip ? [] : [host])))];
  const suffix = names.length > 0 ? ` (${names.join(", ")})` : "";
  return list.length === 1 ? `${list[0]}${suffix}` : `each of ${enumerate(list)}${suffix}`;
}

function toFinding(
  { code, message, remedy, certificate }: StepFailure,
  place: Place,
  where?: string,
  { remedyFor }: ExpiryOptions = {},
): Finding {
  const problem = where === undefined ? message : `${where} ${message}`;
  return finding(
    code,
    place,
    { problem, advice: remedy },
    {
      ...(certificate && { certificate, remedy: remedyFor?.(certificate) }),
    },
  );
}

/** Adds findings about different values of max-connected-clusters, which must be equal in a mesh. */
function withMaximumFindings(probes: PeerProbe[]): PeerProbe[] {
  const maximumOf = ({ addresses }: PeerProbe) => addresses.find(({ id }) => id !== undefined)?.maxConnectedClusters;
  const first = probes.find((probe) => maximumOf(probe) !== undefined);
  const otherMaximum = first && maximumOf(first);
  return probes.map((probe) => {
    const maximum = maximumOf(probe);
    if (!first || otherMaximum === undefined || maximum === undefined || maximum === otherMaximum) return probe;
    const place = { source: probe.source, key: probe.name };
    const values = { maximum, other: first.name, otherMaximum };
    const difference = finding("maximum-differs", place, values, { clusters: [first.name, probe.name] });
    return { ...probe, findings: [...probe.findings, difference] };
  });
}
