/** Whether peers can be reached and are alive: their etcds are asked what Cilium would ask them. */
import type { X509Certificate } from "node:crypto";
import { bothValues } from "../peer/checks/mesh.ts";
import { checkPeer } from "../peer/checks/peer.ts";
import { checkValidity, type ExpiryOptions } from "../peer/checks/validity.ts";
import { type Finding, type FindingCode, finding, type Place, type RemedyTemplate, redact } from "../peer/findings.ts";
import { isNodeLocal } from "../peer/node-local.ts";
import type { ClientCertificate, Peer, SourcedPeer } from "../peer/peer.ts";
import { formatHostPort, isAddress, parseEndpoint } from "../util/address.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { enumerate } from "../util/enumerate.ts";
import { describeNetworkError } from "../util/network-error.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { type CertificateFact, fingerprintOf } from "../x509/expiry.ts";
import { certificateUser } from "../x509/names.ts";
import { type Credentials, describeServer, dial, type ServerCertificate } from "./dial.ts";
import { type EtcdClient, etcdClient } from "./etcd-client.ts";
import { type Attempt, Failed, type StepName, type StepResult, Steps } from "./steps.ts";

/** A heartbeat older than this many milliseconds means that nobody writes it: Cilium does so every minute. */
const HEARTBEAT_LIMIT = 120_000;
/** How many addresses are tried at a time: with more, this machine's own slowness would look like theirs. */
export const PARALLEL = 64;

/** The kinds that every cluster exports, and under which prefix. */
const KINDS = {
  nodes: "cilium/state/nodes/v1",
  identities: "cilium/state/identities/v1",
  endpoints: "cilium/state/ip/v1",
  services: "cilium/state/services/v1",
} as const;
export type Kind = keyof typeof KINDS;

export interface ProbeOptions {
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
  /** Holds what was parsed already. */
  cache?: ParseCache | undefined;
}

/** What one address answered. */
export interface AddressProbe extends Attempt {
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
  counts?: Record<Kind, number> | undefined;
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
  enter: <T>(work: () => Promise<T>) => Promise<T> = limitConcurrency(PARALLEL),
): Promise<PeerProbe[]> {
  return withMaxima(await Promise.all(peers.map((sourced) => probePeer(sourced, options, enter))));
}

/** What is reported of a peer that only a node can reach, by its name alone. */
export function skippedProbe(name: string, source: string): PeerProbe {
  return { name: redact(name), source, addresses: [], skipped: "node-local", findings: [] };
}

/** What makes it senseless to try: there is nothing to connect to or to come with. */
const UNUSABLE: FindingCode[] = [
  "endpoint-invalid",
  "alias-invalid",
  "own-cache",
  "ca-empty",
  "ca-invalid",
  "certificate-invalid",
  "key-invalid",
  "key-mismatch",
  "chain-order",
];

async function probePeer(
  { peer: given, source }: SourcedPeer,
  options: ProbeOptions,
  enter: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<PeerProbe> {
  if (isNodeLocal(given.endpoints)) return skippedProbe(given.name, source);
  const peer = completed(given, options.own);
  const place = { source, key: peer.name };
  // Of an address in the URL it will be seen whether the certificate covers it.
  const { now, expiresWithin, remedyFor, cache } = options;
  const expiry: ExpiryOptions = {
    expiresWithin,
    ...(remedyFor && { remedyFor: (certificate) => remedyFor(given, certificate) }),
  };
  const said = checkPeer({ peer, source, remedyFor: expiry.remedyFor }, now, { expiresWithin, cache }).filter(
    ({ code }) => code !== "endpoint-address",
  );
  const result: PeerProbe = { name: redact(peer.name), source, addresses: [], findings: said };
  const { ca, client } = peer;
  if (client === "importer" || ca === "importer") {
    const lacks = client === "importer" ? "without a client certificate, for its importer has one" : "without a CA";
    const remedy = "say whose: --cert, --key and --ca, or --context of an importer";
    return { ...result, findings: [...said, finding("peer-without-key", place, `it comes ${lacks}`, remedy)] };
  }
  if (said.some(({ code }) => UNUSABLE.includes(code))) return result;
  const credentials = { ...client, ca: ca === "system" ? undefined : ca.pem };
  const answers: Answer[] = [];
  await Promise.all(
    peer.endpoints.map(async (endpoint) => {
      const attempts = await attemptsOf(endpoint, peer, options);
      if (attempts instanceof Failed) result.findings.push(asFinding(attempts, place));
      else {
        const work = attempts.map((one) => enter(() => probeAddress(one, peer, credentials, options)));
        answers.push(...(await Promise.all(work)));
      }
    }),
  );
  answers.sort((a, b) => (a.address.endpoint < b.address.endpoint ? -1 : 1));
  result.addresses = answers.map(({ address }) => address);
  const serves = result.addresses.some(({ failed }) => failed === undefined);
  // What an etcd has taken is good, whatever one would expect of the file.
  if (serves) result.findings = result.findings.filter(({ code }) => !DISPROVED.includes(code));
  result.findings.push(...weighed(answers, serves, place, expiry), ...servedExpiring(answers, place, now, expiry));
  return result;
}

/** Warnings about server certificates that expire soon, each once, however many addresses show it. */
function servedExpiring(answers: readonly Answer[], place: Place, now: Date, options: ExpiryOptions): Finding[] {
  const served = new Map(
    answers
      .filter(({ address }) => address.steps.some(({ step, ok }) => step === "tls" && ok))
      .flatMap(({ certificate }) => (certificate ? [[fingerprintOf(certificate), certificate] as const] : [])),
  );
  return [...served.values()].flatMap((certificate) => checkValidity(certificate, "server", place, now, options));
}

const DISPROVED: FindingCode[] = [
  "ca-expired",
  "certificate-not-signed",
  "certificate-usage",
  "no-common-name",
  "endpoint-not-covered",
];

/** A peer with what its importer has of its own, where it comes without. */
function completed(peer: Peer, own: ProbeOptions["own"] = {}): Peer {
  const ca = peer.ca === "importer" ? (own.ca ?? peer.facts.ca) : undefined;
  return {
    ...peer,
    ...(ca !== undefined && { ca: { pem: ca } }),
    ...(peer.client === "importer" && own.client && { client: own.client }),
  };
}

/** What an endpoint stands for: the addresses of its host alias, or of its name. */
async function attemptsOf(
  endpoint: string,
  { hostAliases }: Peer,
  { resolve, stepTimeout }: ProbeOptions,
): Promise<Attempt[] | Failed> {
  const parsed = parseEndpoint(endpoint);
  if (!parsed) return [];
  const { host, port } = parsed;
  const aliased = hostAliases.find(({ hostname }) => hostname === host)?.ips;
  try {
    const ips =
      aliased ??
      (isAddress(host)
        ? [host]
        : await new Steps(stepTimeout).run("resolve", "name-not-resolved", () => resolved(host, resolve)));
    return ips.map((ip) => ({ endpoint, host, port, ip }));
  } catch (error) {
    if (error instanceof Failed) return error;
    throw error;
  }
}

async function resolved(host: string, resolve: ProbeOptions["resolve"]): Promise<string[]> {
  try {
    return await resolve(host);
  } catch (error) {
    const why = describeNetworkError(error as NodeJS.ErrnoException);
    throw new Failed(
      "name-not-resolved",
      `${host} has no host alias, and DNS does not know it here (${why})`,
      "extract the peer anew, so that its file tells the addresses",
    );
  }
}

interface Answer {
  address: AddressProbe;
  /** Why it is not as it should be; the first ended the steps, others did not. */
  failures: Failed[];
  /** What the server showed. */
  certificate: X509Certificate | undefined;
}

async function probeAddress(
  attempt: Attempt,
  peer: Peer,
  credentials: Credentials,
  { stepTimeout, now, cache }: ProbeOptions,
): Promise<Answer> {
  const steps = new Steps(stepTimeout);
  const address: AddressProbe = { ...attempt, steps: steps.results, user: certificateUser(credentials.cert, cache) };
  const failures: Failed[] = [];
  let client: EtcdClient | undefined;
  let certificate: X509Certificate | undefined;
  try {
    const shown = (one: X509Certificate) => {
      certificate = one;
      address.server = describeServer(one, now);
    };
    await dial(attempt, credentials, steps, shown, now);
    const etcd = etcdClient(attempt, credentials, stepTimeout);
    client = etcd;
    address.roles = await steps.run("user", "etcd-unavailable", () => rolesOf(etcd, address.user ?? ""));
    address.heartbeatAge = await steps.run("heartbeat", "etcd-unavailable", () => heartbeat(etcd, now));
    const config = await steps.run("config", "etcd-unavailable", () => clusterConfig(etcd, peer, address.roles ?? []));
    address.id = config.id;
    address.maxConnectedClusters = config.maxConnectedClusters;
    const [missing, counts] = await steps.run("synced", "etcd-unavailable", () =>
      Promise.all([config.canaries ? unsynchronized(etcd, peer.name) : [], countAll(etcd)]),
    );
    address.counts = counts;
    if (missing.length > 0) {
      failures.push(
        new Failed(
          "not-synchronized",
          `has not written all of its ${missing.join(", ")} yet`,
          "right after a start this passes; else look at the logs of its apiserver container",
        ),
      );
    }
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    failures.push(error);
    address.failed = steps.results.at(-1)?.step;
  } finally {
    client?.close();
  }
  return { address, failures, certificate };
}

async function rolesOf(etcd: EtcdClient, user: string): Promise<string[]> {
  try {
    return (await etcd.user(user)).roles;
  } catch (error) {
    // An etcd without a leader answers nothing, but says that it has none.
    const { leader } = await etcd.status().catch(() => ({ leader: 1 }));
    if (leader === 0) throw withoutLeader();
    throw error;
  }
}

function withoutLeader(): Failed {
  return new Failed(
    "etcd-unavailable",
    "has an etcd without a leader",
    "look at the pods of the clustermesh-apiserver there",
  );
}

/** @returns the seconds since the last one. */
async function heartbeat(etcd: EtcdClient, now: Date): Promise<number> {
  const text = await etcd.get("cilium/.heartbeat").catch(async (error) => {
    const { leader } = await etcd.status().catch(() => ({ leader: 1 }));
    throw leader === 0 ? withoutLeader() : error;
  });
  const stopped = "its apiserver container does not write: look at its logs, and whether it reaches its API server";
  if (text === undefined)
    throw new Failed("heartbeat-missing", "has an etcd without a heartbeat: nobody writes to it", stopped);
  const age = now.getTime() - Date.parse(text);
  if (!(age <= HEARTBEAT_LIMIT)) {
    const since = Number.isNaN(age)
      ? `${JSON.stringify(text.slice(0, 40))} is no time`
      : `${Math.round(age / 1000)} s old`;
    throw new Failed("heartbeat-stale", `has an old heartbeat (${since})`, stopped);
  }
  return Math.max(0, Math.round(age / 1000));
}

interface ClusterConfig {
  id: number;
  maxConnectedClusters: number | undefined;
  canaries: boolean;
}

/** What the cluster says of itself, judged against what its file says. */
async function clusterConfig(etcd: EtcdClient, { name, facts }: Peer, roles: string[]): Promise<ClusterConfig> {
  const prefix = "cilium/cluster-config/";
  let text: string | undefined;
  try {
    text = await etcd.get(prefix + name);
  } catch (error) {
    const other = error instanceof Failed && error.code === "not-permitted" ? await servedBy(etcd, roles) : undefined;
    throw other === undefined ? error : otherCluster(other, name);
  }
  if (text === undefined) {
    const [other] = (await etcd.list(prefix, 1).catch(() => ({ keys: [] as string[] }))).keys;
    if (other !== undefined) throw otherCluster(other.slice(prefix.length), name);
    throw new Failed(
      "cluster-config-missing",
      `has an etcd that does not say which cluster it is (${prefix}${name})`,
      "look at the logs of its apiserver container",
    );
  }
  const config = parsed(text);
  if (config === undefined) {
    throw new Failed("cluster-config-missing", `says of itself what is no JSON (${prefix}${name})`, "is it Cilium's?");
  }
  if (facts.id !== undefined && config.id !== facts.id) {
    throw new Failed(
      "id-differs",
      `is ${name} with id ${config.id}, its file says ${facts.id}`,
      "extract the peer anew",
    );
  }
  return config;
}

function parsed(text: string): ClusterConfig | undefined {
  try {
    const { id, capabilities = {} } = JSON.parse(text);
    if (typeof id !== "number") return undefined;
    return {
      id,
      maxConnectedClusters: capabilities.maxConnectedClusters,
      canaries: capabilities.syncedCanaries === true,
    };
  } catch {
    return undefined;
  }
}

/** The name of the cluster by what its role may read: from Cilium 1.18 on its own config alone. */
async function servedBy(etcd: EtcdClient, roles: string[]): Promise<string | undefined> {
  const prefix = "cilium/cluster-config/";
  for (const role of roles) {
    const { perm } = await etcd.role(role).catch(() => ({ perm: [] }));
    const keys = perm.map(({ key }) => key.toString()).filter((key) => key.startsWith(prefix) && key !== prefix);
    if (keys[0] !== undefined) return keys[0].slice(prefix.length);
  }
  return undefined;
}

function otherCluster(other: string, name: string): Failed {
  return new Failed(
    "other-cluster",
    `is ${other}, not ${name}`,
    "the address has gone to another cluster: extract the peer anew, and mind equal node ports with kube-proxy replacement",
  );
}

/** The kinds that are not complete yet. */
async function unsynchronized(etcd: EtcdClient, name: string): Promise<Kind[]> {
  const prefix = `cilium/synced/${name}/`;
  const { keys } = await etcd.list(prefix, 100);
  const synced = new Set(keys.map((key) => key.slice(prefix.length)));
  return (Object.keys(KINDS) as Kind[]).filter((kind) => !synced.has(KINDS[kind]));
}

async function countAll(etcd: EtcdClient): Promise<Record<Kind, number>> {
  const kinds = Object.keys(KINDS) as Kind[];
  const counts = await Promise.all(kinds.map(async (kind) => (await etcd.list(`${KINDS[kind]}/`)).count));
  return Object.fromEntries(kinds.map((kind, i) => [kind, counts[i] ?? 0])) as Record<Kind, number>;
}

/**
 * The findings of all addresses, one for those that fail alike. Where one of them serves, another that takes no connection
 * costs Cilium some seconds and no more; one that takes it and is wrong would be tried first again for ever.
 */
function weighed(answers: readonly Answer[], serves: boolean, place: Place, options: ExpiryOptions): Finding[] {
  const groups = new Map<string, { failure: Failed; addresses: AddressProbe[] }>();
  for (const { address, failures } of answers) {
    for (const failed of failures) {
      const { message, remedy } = failed;
      const failure =
        serves && address.failed === "tcp"
          ? new Failed("address-unreachable", message, `others serve; ${remedy}`)
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
  { code, message, remedy, certificate }: Failed,
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
