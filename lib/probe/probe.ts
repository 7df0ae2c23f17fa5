/** Whether peers can be reached and are alive: their etcds are asked what Cilium would ask them. */

import type { X509Certificate } from "node:crypto";
import { checkPeer } from "../peer/checks/check-peer.ts";
import { bothValues } from "../peer/checks/mesh.ts";
import { checkValidity, type ExpiryOptions } from "../peer/checks/validity.ts";
import { hasTrait } from "../peer/finding-codes.ts";
import { type Finding, finding, type Place, type RemedyTemplate, redact } from "../peer/findings.ts";
import { isNodeLocal } from "../peer/node-local.ts";
import type { ClientCertificate, Peer, SourcedPeer } from "../peer/peer.ts";
import { formatHostPort, isAddress, parseEndpoint } from "../util/address.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { enumerate } from "../util/enumerate.ts";
import { describeNetworkError } from "../util/network-error.ts";
import type { ParseCache } from "../util/parse-cache.ts";
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

/** How many addresses are tried at a time: with more, this machine's own slowness would look like theirs. */
export const MAX_CONCURRENT_PROBES = 64;

export interface ProbeOptions {
  /** Holds what was parsed already. */
  cache?: ParseCache | undefined;
  /** Milliseconds that one step may take. */
  stepTimeout: number;
  /** Now, by which certificates and heartbeats are judged. */
  now: Date;
  /** The addresses of a name, as this machine resolves it. */
  resolve(name: string): Promise<string[]>;
  /** What an importer has of its own, for peers that come without: its CA (PEM) and its client certificate. */
  own?: { ca?: string | undefined; client?: ClientCertificate | undefined };
  /** Milliseconds within which a certificate that expires is warned of; 30 days by default. */
  expiresWithin?: number | undefined;
  /** What to do about a certificate of a peer that expires, or has expired; by default what can be done with its file. */
  remedyFor?: ((peer: Peer, certificate: CertificateFact) => RemedyTemplate | string) | undefined;
}

/** What one address answered. */
export interface AddressProbe extends ProbedAddress {
  steps: StepResult[];
  /** The step that failed; undefined where all is well. */
  failed?: StepName | undefined;
  server?: ServerCertificate | undefined;
  /** The etcd user that was come as, and its roles. */
  user?: string | undefined;
  roles?: string[] | undefined;
  /** Seconds since the last heartbeat. */
  heartbeatAge?: number | undefined;
  id?: number | undefined;
  maxConnectedClusters?: number | undefined;
  /** How many there are of each kind. */
  counts?: Record<EtcdContent, number> | undefined;
}

export interface PeerProbe {
  name: string;
  source: string;
  addresses: AddressProbe[];
  /** Why nothing was tried: only a node can reach it, and that is no fault. */
  skipped?: "node-local";
  /** What keeps this peer from connecting, or will; those of its file too. */
  findings: Finding[];
}

/**
 * Checks peers live, each address behind each endpoint by itself. Nothing is trusted that Cilium would not: a host alias
 * stands for its addresses alone, and names and certificates are verified.
 *
 * @param enter lets so many addresses be tried at a time; shared where several calls run.
 */
export async function probePeers(
  peers: readonly SourcedPeer[],
  options: ProbeOptions,
  enter: <T>(work: () => Promise<T>) => Promise<T> = limitConcurrency(MAX_CONCURRENT_PROBES),
): Promise<PeerProbe[]> {
  return withMaxima(await Promise.all(peers.map((sourced) => probePeer(sourced, options, enter))));
}

/** What is reported of a peer that only a node can reach, by its name alone. */
export function toSkippedProbe(name: string, source: string): PeerProbe {
  return { name: redact(name), source, addresses: [], skipped: "node-local", findings: [] };
}

async function probePeer(
  { peer: given, source }: SourcedPeer,
  options: ProbeOptions,
  enter: <T>(work: () => Promise<T>) => Promise<T>,
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
    const lacks = client === "importer" ? "without a client certificate, for its importer has one" : "without a CA";
    const remedy = "say whose: --cert, --key and --ca, or --context of an importer";
    return { ...result, findings: [...fileFindings, finding("peer-without-key", place, `it comes ${lacks}`, remedy)] };
  }
  if (fileFindings.some((one) => hasTrait(one, "unprobeable"))) return result;
  const tlsMaterial = { ...client, ca: ca === "system" ? undefined : ca.pem };
  const answers: Answer[] = [];
  await Promise.all(
    peer.endpoints.map(async (endpoint) => {
      const addresses = await resolveAddresses(endpoint, peer, options);
      if (addresses instanceof StepFailure) result.findings.push(asFinding(addresses, place));
      else {
        const work = addresses.map((one) => enter(() => probeAddress(one, peer, tlsMaterial, options)));
        answers.push(...(await Promise.all(work)));
      }
    }),
  );
  answers.sort((a, b) => (a.address.endpoint < b.address.endpoint ? -1 : 1));
  result.addresses = answers.map(({ address }) => address);
  const serves = result.addresses.some(({ failed }) => failed === undefined);
  // What an etcd has taken is good, whatever one would expect of the file.
  if (serves) result.findings = result.findings.filter((one) => !hasTrait(one, "disprovable"));
  result.findings.push(
    ...toFindings(answers, serves, place, expiry),
    ...checkServedExpiry(answers, place, now, expiry),
  );
  return result;
}

/** Warnings about server certificates that expire soon, each once, however many addresses show it. */
function checkServedExpiry(answers: readonly Answer[], place: Place, now: Date, options: ExpiryOptions): Finding[] {
  const served = new Map(
    answers
      .filter(({ address }) => address.steps.some(({ step, ok }) => step === "tls" && ok))
      .flatMap(({ certificate }) => (certificate ? [[fingerprintOf(certificate), certificate] as const] : [])),
  );
  return [...served.values()].flatMap((certificate) => checkValidity(certificate, "server", place, now, options));
}

/** A peer with what its importer has of its own, where it comes without. */
function withImporterTls(peer: Peer, own: ProbeOptions["own"] = {}): Peer {
  const ca = peer.ca === "importer" ? (own.ca ?? peer.facts.ca) : undefined;
  return {
    ...peer,
    ...(ca !== undefined && { ca: { pem: ca } }),
    ...(peer.client === "importer" && own.client && { client: own.client }),
  };
}

/** What an endpoint stands for: the addresses of its host alias, or of its name. */
async function resolveAddresses(
  endpoint: string,
  { hostAliases }: Peer,
  { resolve, stepTimeout }: ProbeOptions,
): Promise<ProbedAddress[] | StepFailure> {
  const parsed = parseEndpoint(endpoint);
  if (!parsed) return [];
  const { host, port } = parsed;
  const aliased = hostAliases.find(({ hostname }) => hostname === host)?.ips;
  try {
    const ips =
      aliased ??
      (isAddress(host)
        ? [host]
        : await new Steps(stepTimeout).run("resolve", "name-not-resolved", () => resolveHost(host, resolve)));
    return ips.map((ip) => ({ endpoint, host, port, ip }));
  } catch (error) {
    if (error instanceof StepFailure) return error;
    throw error;
  }
}

async function resolveHost(host: string, resolve: ProbeOptions["resolve"]): Promise<string[]> {
  try {
    return await resolve(host);
  } catch (error) {
    const why = describeNetworkError(error as NodeJS.ErrnoException);
    throw new StepFailure(
      "name-not-resolved",
      `${host} has no host alias, and DNS does not know it here (${why})`,
      "extract the peer anew, so that its file tells the addresses",
    );
  }
}

interface Answer {
  address: AddressProbe;
  /** Why it is not as it should be; the first ended the steps, others did not. */
  failures: StepFailure[];
  /** What the server showed. */
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
          `has not written all of its ${missing.join(", ")} yet`,
          "right after a start this passes; else look at the logs of its apiserver container",
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
 * The findings of all addresses, one for those that fail alike. Where one of them serves, another that takes no connection
 * costs Cilium some seconds and no more; one that takes it and is wrong would be tried first again for ever.
 */
function toFindings(answers: readonly Answer[], serves: boolean, place: Place, options: ExpiryOptions): Finding[] {
  const groups = new Map<string, { failure: StepFailure; addresses: AddressProbe[] }>();
  for (const { address, failures } of answers) {
    for (const failed of failures) {
      const { message, remedy } = failed;
      const failure =
        serves && address.failed === "tcp"
          ? new StepFailure("address-unreachable", message, `others serve; ${remedy}`)
          : failed;
      const key = JSON.stringify([failure.code, message, failure.remedy, failure.certificate?.fingerprint]);
      const group = groups.get(key) ?? { failure, addresses: [] };
      groups.set(key, group);
      group.addresses.push(address);
    }
  }
  return [...groups.values()].map(({ failure, addresses }) =>
    asFinding(failure, place, describeAddresses(addresses), failure.certificate ? options : {}),
  );
}

/** Addresses as the subject of a sentence in the singular, with the names that they are of. */
function describeAddresses(addresses: readonly AddressProbe[]): string {
  const list = addresses.map(({ ip, port }) => formatHostPort({ host: ip, port }));
  const names = [...new Set(addresses.flatMap(({ host, ip }) => (host === ip ? [] : [host])))];
  const of = names.length > 0 ? ` (${names.join(", ")})` : "";
  return list.length === 1 ? `${list[0]}${of}` : `each of ${enumerate(list)}${of}`;
}

function asFinding(
  { code, message, remedy, certificate }: StepFailure,
  place: Place,
  where?: string,
  { remedyFor }: ExpiryOptions = {},
): Finding {
  return finding(
    code,
    place,
    where === undefined ? message : `${where} ${message}`,
    (certificate && remedyFor?.(certificate)) ?? (remedy === "" ? undefined : remedy),
    certificate && { certificate },
  );
}

/** All clusters of a mesh have one maximum, and only the clusters themselves say it for sure. */
function withMaxima(probes: PeerProbe[]): PeerProbe[] {
  const of = ({ addresses }: PeerProbe) => addresses.find(({ id }) => id !== undefined)?.maxConnectedClusters;
  const first = probes.find((probe) => of(probe) !== undefined);
  return probes.map((probe) => {
    const maximum = of(probe);
    if (first === undefined || maximum === undefined || maximum === of(first)) return probe;
    const message = `${probe.name} has max-connected-clusters ${maximum}, ${first.name} ${of(first)}`;
    const remedy = "give all clusters of a mesh the same clustermesh.maxConnectedClusters";
    const place = { source: probe.source, key: probe.name };
    const clusters: [string, string] = [first.name, probe.name];
    const data = { values: bothValues(maximum, of(first)) };
    return {
      ...probe,
      findings: [...probe.findings, finding("maximum-differs", place, message, remedy, { clusters, data })],
    };
  });
}
