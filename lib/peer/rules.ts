/** The rules that a peer is judged by, alone, among others, and against a target. Pure: the clock is an argument. */
import type { KeyObject, X509Certificate } from "node:crypto";
import { findOverlaps, formatHostPort, isAddress, parseEndpoint } from "./address.ts";
import {
  commonName,
  covers,
  type Flaw,
  flawOf,
  hasPem,
  isFor,
  keyFits,
  nameOf,
  PemError,
  type Purpose,
  readCertificates,
  readPrivateKey,
  subjectAltNames,
  validity,
  wayUp,
} from "./certificate.ts";
import { checkAuthorityExpiry, checkIssuerExpiry, checkValidity, type ExpiryOptions } from "./check-expiry.ts";
import { aliasProblem, canonicalAliases, canonicalEndpoints, endpointHostnames, isOwnCache } from "./etcd-config.ts";
import { formatDate } from "./expiry.ts";
import { dedupeFindings, type Finding, type FindingCode, finding, type Place } from "./findings.ts";
import type { Layout } from "./layout.ts";
import { isLoopbackAddress, isNodeLocal, isPartlyNodeLocal } from "./node-local.ts";
import { type ClusterFacts, isClusterName, MESH_DOMAIN, type Peer, versionAtLeast } from "./peer.ts";

/** A peer and where it came from. */
export interface SourcedPeer {
  peer: Peer;
  source: string;
  /** How it stood in its file. */
  layout?: Layout | undefined;
}

/**
 * What is wrong with a peer by itself: its name, endpoints, aliases and certificates.
 *
 * @param now the time to judge certificates by.
 */
export function checkPeer({ peer, source }: SourcedPeer, now: Date, options: ExpiryOptions = {}): Finding[] {
  const place = { source, key: peer.name };
  return [...checkIdentity(peer, place), ...checkEndpoints(peer, place), ...checkTls(peer, place, now, options)];
}

function checkIdentity({ name, facts }: Peer, place: Place): Finding[] {
  const findings: Finding[] = [];
  if (!isClusterName(name)) {
    findings.push(
      finding(
        "name-illegal",
        place,
        `${JSON.stringify(name)} is no name of a cluster in a mesh`,
        "a key with a config is called like the cluster: at most 32 of a-z, 0-9 and -, and not default",
      ),
    );
  }
  const { id, maxConnectedClusters: maximum = 511 } = facts;
  if (id !== undefined && (id < 1 || id > maximum)) {
    findings.push(finding("id-illegal", place, `cluster id ${id} is not within 1 to ${maximum}`));
  }
  return findings;
}

function checkEndpoints(peer: Peer, place: Place): Finding[] {
  if (isOwnCache(peer.endpoints)) {
    return [
      finding(
        "own-cache",
        place,
        "this entry points at its cluster's own cache, not at a peer",
        "take Secret cilium-kvstoremesh of that cluster instead",
      ),
    ];
  }
  // Whether there may be one is for who reads it to say: see checkNodeLocal.
  if (isNodeLocal(peer.endpoints)) return [];
  const findings: Finding[] = [];
  if (peer.endpoints.length === 0) findings.push(finding("endpoint-invalid", place, "the config has no endpoint"));
  for (const url of peer.endpoints) {
    if (parseEndpoint(url) === undefined) {
      findings.push(
        finding("endpoint-invalid", place, `endpoint ${JSON.stringify(url)} is no URL of the form https://host:port`),
      );
    }
  }
  const problem = aliasProblem(peer.hostAliases);
  if (problem) findings.push(finding("alias-invalid", place, `the config has ${problem}; Cilium refuses it`));
  const { serverNames } = peer.facts;
  for (const url of peer.endpoints) {
    const endpoint = parseEndpoint(url);
    if (!endpoint) continue;
    const { host } = endpoint;
    if (serverNames && !covers(serverNames, host)) {
      findings.push(
        finding(
          "endpoint-not-covered",
          place,
          `the server certificate does not cover ${host}, only ${serverNames.join(", ")}`,
          "extract again, with --endpoint if need be",
        ),
      );
    } else if (!serverNames && isAddress(host) && host !== "127.0.0.1" && host !== "::1") {
      findings.push(
        finding(
          "endpoint-address",
          place,
          `the endpoint is the address ${host}, which the certificates that the chart makes do not cover`,
          {
            template: "extract {peer} anew, or import with --endpoint {peer}={endpoint}",
            values: { peer: peer.name, endpoint: formatHostPort(endpoint) },
          },
        ),
      );
    }
  }
  return findings;
}

/**
 * That a peer which came as a file is served on the node itself ({@link isNodeLocal}): the same endpoint leads each importer
 * to its own nodes, so only `--endpoint` can say that something listens there.
 */
export function checkNodeLocal({ peer: { name, endpoints }, source }: SourcedPeer): Finding[] {
  if (!isNodeLocal(endpoints)) return [];
  const message = `${name} is only reachable from a node: ${endpoints.join(", ")} is a loopback address`;
  const port = String(parseEndpoint(endpoints[0] ?? "")?.port ?? "PORT");
  return [
    finding("endpoint-node-local", { source, key: name }, message, {
      template: "leave it out, or if there is a tunnel on each node: --endpoint {peer}=127.0.0.1:{port}",
      values: { peer: name, port },
    }),
  ];
}

/**
 * That a name in a peer's endpoints has host aliases that are loopback addresses, or that some of its endpoints are: each
 * node and each pod connects to itself there. It works on one machine, as in a test mesh, so it is a warning, and only
 * commands that look at peers report it.
 */
export function checkLoopbackAddresses({ name, endpoints, hostAliases }: Peer, place: Place): Finding[] {
  const names = endpointHostnames(endpoints);
  const aliased = hostAliases
    .filter(({ hostname }) => names.includes(hostname))
    .map(({ hostname, ips }) => ({ hostname, ips: ips.filter(isLoopbackAddress) }))
    .filter(({ ips }) => ips.length > 0);
  const hosts = aliased.map(({ hostname, ips }) => `${hostname} (${ips.join(", ")})`);
  if (isPartlyNodeLocal(endpoints)) hosts.push(...endpoints.filter((endpoint) => isNodeLocal([endpoint])));
  if (hosts.length === 0) return [];
  const message = `${name} is reached at loopback addresses, where nodes and pods connect to themselves: ${hosts.join(", ")}`;
  const remedy = "outside of a test on one machine, re-extract with --endpoint HOST:PORT";
  return [finding("loopback-address", place, message, remedy)];
}

function checkTls(peer: Peer, place: Place, now: Date, options: ExpiryOptions): Finding[] {
  const findings: Finding[] = [];
  let authorities: readonly X509Certificate[] | undefined;
  let unfit: Finding[] = [];
  if (peer.ca === "system") {
    findings.push(finding("system-roots", place, "the config names no CA: Cilium takes the system's roots"));
  } else if (peer.ca !== "importer") {
    if (!hasPem(peer.ca.pem)) {
      findings.push(
        finding(
          "ca-empty",
          place,
          "the CA file holds no certificate: nothing would ever verify",
          "charts up to 1.13 write it so where clustermesh.apiserver.tls.ca.cert is not set: extract the peer anew",
        ),
      );
    } else {
      authorities = attempt(() => readCertificates((peer.ca as { pem: string }).pem), "ca-invalid", "the CA file");
      if (authorities) {
        unfit = checkAuthorities(authorities, peer, place, now);
        const usable = authorities.filter((ca) => authorityFlaw(ca, peer, now) === undefined);
        const useOf = (ca: X509Certificate) => (flawOf(ca, true, "server", now) === undefined ? "ca" : "server");
        findings.push(...unfit, ...checkAuthorityExpiry(usable, useOf, place, now, options));
      }
    }
  }
  if (peer.client !== "importer") {
    const { cert, key } = peer.client;
    const chain = attempt(() => readCertificates(cert), "certificate-invalid", "the client certificate");
    const privateKey: KeyObject | undefined = attempt(() => readPrivateKey(key), "key-invalid", "the key file");
    const leaf = chain?.[0];
    if (chain && leaf) {
      findings.push(...checkValidity(leaf, "client", place, now, options), ...checkUse(leaf, place));
      if (privateKey && chain.slice(1).some((one) => keyFits(privateKey, one))) {
        findings.push(
          finding(
            "chain-order",
            place,
            "the client certificate stands behind others in its file, and has to come first",
          ),
        );
      } else if (privateKey && !keyFits(privateKey, leaf)) {
        findings.push(finding("key-mismatch", place, "the private key is not that of the client certificate"));
      }
      // What is wrong with every CA was said.
      if (authorities) {
        const reported = new Set(findings.map(({ certificate }) => certificate?.fingerprint));
        findings.push(
          ...checkIssuers(chain, authorities, unfit.length > 0, place, now),
          ...checkIssuerExpiry(chain, authorities, place, now, options).filter(
            ({ certificate }) => !reported.has(certificate?.fingerprint),
          ),
        );
      }
    }
  }
  return findings;

  function attempt<T>(read: () => T, code: "ca-invalid" | "certificate-invalid" | "key-invalid", what: string) {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof PemError)) throw error;
      findings.push(finding(code, place, `${what} ${error.message}`));
      return undefined;
    }
  }
}

/** What is wrong with a CA file of which no certificate lets Cilium trust a server; nothing where one of them does. */
function checkAuthorities(authorities: readonly X509Certificate[], peer: Peer, place: Place, now: Date): Finding[] {
  const findings = authorities.flatMap((ca) => {
    const flaw = authorityFlaw(ca, peer, now);
    if (!flaw) return [];
    const message = `the CA file holds ${told(ca, flaw, "server")}`;
    return [finding(FILE_FLAWS[flaw], place, message, REMEDY, dataOf(flaw, "server"))];
  });
  return findings.length === authorities.length ? findings : [];
}

function authorityFlaw(ca: X509Certificate, peer: Peer, now: Date): Flaw | undefined {
  const flaw = flawOf(ca, true, "server", now);
  return flaw === "no-ca" && isServer(ca, peer) ? undefined : flaw;
}

/** Whether it may be the server's certificate itself, which, trusted as it is, needs no CA. */
function isServer(certificate: X509Certificate, { endpoints }: Peer): boolean {
  const names = subjectAltNames(certificate);
  return isFor("server", certificate) && endpoints.some((url) => covers(names, parseEndpoint(url)?.host ?? ""));
}

/**
 * What is wrong on the way from the client certificate up to the CA file, by which the peer's etcd judges it.
 *
 * @param unfit whether it was said already what is wrong with the CAs of the file.
 */
function checkIssuers(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  unfit: boolean,
  place: Place,
  now: Date,
): Finding[] {
  const flawAt = (issuer: X509Certificate, trusted: boolean) => flawOf(issuer, trusted, "client", now);
  if (wayUp(chain, authorities, (issuer, trusted) => flawAt(issuer, trusted) === undefined)) return [];
  const way = wayUp(chain, authorities, () => true);
  if (!way) {
    return [
      finding(
        "certificate-not-signed",
        place,
        "the client certificate is not signed by the peer's CA, so its etcd will refuse it",
        "extract the peer again; its CA may have changed",
      ),
    ];
  }
  return way.flatMap((issuer, i) => {
    const trusted = i === way.length - 1;
    const flaw = i === 0 || (trusted && unfit) ? undefined : flawAt(issuer, trusted);
    if (!flaw) return [];
    const codes = trusted ? CA_FLAWS : CHAIN_FLAWS;
    const message = `the client certificate comes from ${told(issuer, flaw, "client")}`;
    return [finding(codes[flaw], place, message, REMEDY, dataOf(flaw, "client"))];
  });
}

/** Of every CA of a file, of the one that the client certificate comes from, and of those between the two. */
const FILE_FLAWS: Record<Flaw, FindingCode> = {
  expired: "ca-expired",
  "not-yet-valid": "certificate-not-yet-valid",
  "no-ca": "ca-invalid",
  usage: "certificate-usage",
};
const CA_FLAWS: typeof FILE_FLAWS = { ...FILE_FLAWS, "no-ca": "certificate-not-signed" };
const CHAIN_FLAWS: typeof FILE_FLAWS = { ...CA_FLAWS, expired: "certificate-expired" };
const REMEDY = "have it issued anew there, and extract the peer again";

/** An issuer, and its flaw. */
function told(issuer: X509Certificate, flaw: Flaw, purpose: Purpose): string {
  const { from, until } = validity(issuer);
  const says = {
    expired: `expired on ${formatDate(until)}`,
    "not-yet-valid": `is valid only from ${formatDate(from)} on`,
    "no-ca": "is no CA that may sign",
    usage: `does not vouch for ${purpose}s: its extended key usage lacks ${purpose}Auth`,
  };
  return `${nameOf(issuer.subject)}, which ${says[flaw]}`;
}

function dataOf(flaw: Flaw, purpose: Purpose): Pick<Finding, "data"> {
  return flaw === "usage" ? { data: { usage: `${purpose}Auth` } } : {};
}

/** What keeps an etcd from taking a client certificate for that of a user. */
function checkUse(leaf: X509Certificate, place: Place): Finding[] {
  const findings: Finding[] = [];
  if (!isFor("client", leaf)) {
    const message = "the client certificate is not for clients: its extended key usage lacks clientAuth";
    findings.push(finding("certificate-usage", place, message, REMEDY, dataOf("usage", "client")));
  }
  if (commonName(leaf) === undefined) {
    const message = "the client certificate has no common name, so no etcd has a user for it";
    findings.push(finding("no-common-name", place, message, REMEDY));
  }
  return findings;
}

/** Whether two peers are the same, whatever their files told besides. An id or maximum that one lacks is no difference. */
export function samePeer(a: Peer, b: Peer): boolean {
  const essence = ({ name, endpoints, hostAliases, ca, client }: Peer) =>
    JSON.stringify([name, canonicalEndpoints(endpoints), canonicalAliases(hostAliases), ca, client]);
  const { id = b.facts.id, maxConnectedClusters: maximum = b.facts.maxConnectedClusters } = a.facts;
  return (
    essence(a) === essence(b) && id === (b.facts.id ?? id) && maximum === (b.facts.maxConnectedClusters ?? maximum)
  );
}

/** A peer that already stands in the target and is not among the files: what is kept of it. */
export interface StandingPeer {
  name: string;
  /** Set if only a node can reach it: that its id is unknown is then not reported. */
  nodeLocal?: true;
  id?: number | undefined;
  maxConnectedClusters?: number | undefined;
}

/** The target as far as the rules ask: its facts, and what it resolves and mounts. */
export interface Judge {
  /** How the target is called in findings: its context. */
  source: string;
  facts: ClusterFacts;
  standing: readonly StandingPeer[];
  /** Set if every id in the files is recorded in the target already, so that no id is compared for the first time. */
  idsRecorded?: boolean;
}

/** That the id of a peer is not known; of an existing one if `existing` is set. */
export function unknownId(name: string, place: Place, existing?: true): Finding {
  const which = existing ? `existing peer ${name}` : name;
  const message = `cluster id of ${which} is unknown, so duplicates cannot be detected`;
  return finding("id-unknown", place, message, "re-extract with extract-secret", { ...(existing && { existing }) });
}

/**
 * What is wrong with peers together, and with them in this target: names, ids, maxima, their number, and what has to
 * fit between clusters. Existing peers of unknown id are reported only if ids of the files have to be compared with them.
 */
export function checkMesh(peers: readonly SourcedPeer[], target: Judge): Finding[] {
  const place = { source: target.source };
  const findings: Finding[] = [];
  const { facts } = target;
  const own = facts.name ?? target.source;

  const ids = new Map<number, string>();
  if (facts.id !== undefined) ids.set(facts.id, own);
  const members = [
    ...target.standing.map((peer) => ({ ...peer, source: target.source, stands: true })),
    ...peers.map(({ peer, source }) => ({
      ...peer.facts,
      name: peer.name,
      source,
      stands: false,
      nodeLocal: undefined,
    })),
  ];
  const comparesIds = !target.idsRecorded && peers.some(({ peer }) => peer.facts.id !== undefined);

  let reference =
    facts.maxConnectedClusters === undefined ? undefined : { name: own, maximum: facts.maxConnectedClusters };
  for (const { name, id, maxConnectedClusters: maximum, source, stands, nodeLocal } of members) {
    const at = { source, key: name };
    if (id === undefined) {
      if (!stands) findings.push(unknownId(name, at));
      else if (comparesIds && !nodeLocal) findings.push(unknownId(name, at, true));
    } else {
      const other = ids.get(id);
      const clusters: [string, string] = [name, other ?? own];
      if (other === facts.name && id === facts.id) {
        const message = `${name} has id ${id}, which is the target's own (${facts.name})`;
        findings.push(finding("id-of-target", at, message, undefined, { clusters, data: { id: `${id}` } }));
      } else if (other !== undefined) {
        const message = `${name} has id ${id}, and so has ${other}`;
        findings.push(finding("id-twice", at, message, undefined, { clusters, data: { id: `${id}` } }));
      } else {
        ids.set(id, name);
      }
    }
    if (maximum === undefined) continue;
    reference ??= { name, maximum };
    if (maximum !== reference.maximum) {
      findings.push(
        finding(
          "maximum-differs",
          at,
          `${name} has max-connected-clusters ${maximum}, ${reference.name} ${reference.maximum}`,
          stands
            ? {
                template: "if that is no longer so, import the present file of {peer} in the same call",
                values: { peer: name },
              }
            : "give all clusters of a mesh the same clustermesh.maxConnectedClusters",
          { clusters: [name, reference.name], data: { values: bothValues(maximum, reference.maximum) } },
        ),
      );
    }
  }
  const limit = (facts.maxConnectedClusters ?? 255) - 1;
  if (members.length > limit) {
    findings.push(
      finding(
        "too-many-peers",
        place,
        `${members.length} peers, but max-connected-clusters ${limit + 1} allows ${limit}`,
        limit < 510 ? "clustermesh.maxConnectedClusters=511 in every cluster allows 510" : undefined,
      ),
    );
  }
  return [...findings, ...checkFit(peers, target)];
}

function checkFit(peers: readonly SourcedPeer[], { source, facts }: Judge): Finding[] {
  const findings: Finding[] = [];
  const sources = new Map(peers.map(({ peer, source }) => [peer.name, source]));
  const target = { name: facts.name ?? source, facts };
  const owners = [
    { name: target.name, cidrs: facts.podCidrs ?? [] },
    ...peers.map(({ peer }) => ({ name: peer.name, cidrs: peer.facts.podCidrs ?? [] })),
  ];
  for (const { a, b, cidrs } of findOverlaps(owners)) {
    findings.push(
      finding(
        "pod-cidrs-overlap",
        { source: sources.get(b) ?? source, key: b },
        `pod CIDRs ${cidrs[0]} of ${a} and ${cidrs[1]} of ${b} overlap, so their pods cannot reach each other`,
        "give each cluster pod CIDRs of its own",
        { clusters: [a, b] },
      ),
    );
  }
  for (const sourced of peers) {
    findings.push(...checkTraffic(target, sourced), ...checkNodePort(target, sourced));
  }
  return findings;
}

/** Two values that differ, the same from either side. */
export function bothValues(one: string | number | undefined, other: string | number | undefined): string {
  return [`${one}`, `${other}`].sort().join(" and ");
}

/** One side of a pair, as it is called in findings. */
interface Side {
  name: string;
  facts: ClusterFacts;
}

/** What has to be equal for traffic between two clusters. */
function checkTraffic({ name, facts }: Side, { peer, source }: SourcedPeer): Finding[] {
  const findings: Finding[] = [];
  const place = { source, key: peer.name };
  const differs = <T>(a: T | undefined, b: T | undefined) => a !== undefined && b !== undefined && a !== b;
  const both = { clusters: [name, peer.name] as [string, string] };
  if (differs(tunnel(facts), tunnel(peer.facts))) {
    findings.push(
      finding(
        "tunnel-differs",
        place,
        `${peer.name} routes by ${tunnel(peer.facts)}, ${name} by ${tunnel(facts)}`,
        "give all clusters one routing mode and tunnel protocol",
        { ...both, data: { values: bothValues(tunnel(facts), tunnel(peer.facts)) } },
      ),
    );
  }
  if (differs(facts.encryption, peer.facts.encryption)) {
    findings.push(
      finding(
        "encryption-differs",
        place,
        `encryption is ${peer.facts.encryption} in ${peer.name} and ${facts.encryption} in ${name}`,
        "encryption is on everywhere in a mesh or nowhere",
        { ...both, data: { values: bothValues(facts.encryption, peer.facts.encryption) } },
      ),
    );
  }
  return findings;
}

/**
 * Before cilium#41337 (1.19) kube-proxy replacement takes a remote node port for its own, where they are equal. It is
 * symmetric if the peer would do the same with the node port of this side.
 */
function checkNodePort({ name, facts }: Side, { peer, source }: SourcedPeer): Finding[] {
  const { nodePort } = facts;
  if (nodePort === undefined || !takesNodePorts(facts)) return [];
  const same = peer.endpoints.map(parseEndpoint).find((endpoint) => endpoint && endpoint.port === nodePort);
  if (!same) return [];
  const symmetric = peer.facts.nodePort === nodePort && takesNodePorts(peer.facts);
  return [
    finding(
      "same-node-port",
      { source, key: peer.name },
      `${formatHostPort(same)} has ${name}'s own node port ${nodePort}, ` +
        `and Cilium ${facts.version} with kube-proxy replacement sends such traffic to the local etcd`,
      "give one of them another clustermesh.apiserver.service.nodePort, or a LoadBalancer",
      symmetric ? { clusters: [name, peer.name] } : {},
    ),
  ];
}

function takesNodePorts({ kubeProxyReplacement, version }: ClusterFacts): boolean {
  return kubeProxyReplacement === true && versionAtLeast(version, "1.19") === false;
}

/**
 * What is wrong with the peers of several files together, wherever they are imported: by the rules of {@link checkMesh},
 * with the first that knows a thing in the place of the target.
 */
export function checkTogether(peers: readonly SourcedPeer[]): Finding[] {
  if (peers.length < 2) return [];
  const source = "these files";
  const findings = checkMesh(peers, { source, facts: {}, standing: [] }).filter(
    ({ code }) => code !== "too-many-peers",
  );
  const first = (knows: (facts: ClusterFacts) => unknown) => peers.find(({ peer }) => knows(peer.facts) !== undefined);
  const routed = first(tunnel)?.peer;
  const encrypted = first(({ encryption }) => encryption)?.peer;
  const identified = peers.filter(({ peer: { facts } }) => facts.authMode === "cluster" && facts.ca !== undefined);
  const shared = identified[0]?.peer;
  const importers = peers.filter(({ peer: { facts } }) => facts.kubeProxyReplacement === true && facts.nodePort);
  for (const sourced of peers) {
    const { name, facts } = sourced.peer;
    if (routed) {
      const { routingMode, tunnelProtocol } = routed.facts;
      findings.push(
        ...checkTraffic(
          {
            name: routed.name,
            facts: { ...(routingMode && { routingMode }), ...(tunnelProtocol && { tunnelProtocol }) },
          },
          sourced,
        ),
      );
    }
    if (encrypted?.facts.encryption) {
      findings.push(
        ...checkTraffic({ name: encrypted.name, facts: { encryption: encrypted.facts.encryption } }, sourced),
      );
    }
    for (const { peer } of importers) {
      if (peer.name !== name) findings.push(...checkNodePort(peer, sourced));
    }
    if (shared && facts.authMode === "cluster" && facts.ca !== undefined && facts.ca !== shared.facts.ca) {
      findings.push(
        finding(
          "ca-differs",
          { source: sourced.source, key: name },
          `${name} and ${shared.name} have authMode cluster, and not the same CA`,
          "authMode cluster wants one CA for all clusters",
          { clusters: [shared.name, name] },
        ),
      );
    }
  }
  return dedupeFindings(findings);
}

function tunnel({ routingMode, tunnelProtocol }: ClusterFacts): string | undefined {
  return routingMode === "native" ? "native" : tunnelProtocol;
}

/**
 * Whether the peer's names can be resolved by the target.
 *
 * @param resolved names that the target resolves already, by a workload's aliases or a standing config's.
 */
export function checkAddresses({ peer, source }: SourcedPeer, resolved: ReadonlySet<string>): Finding[] {
  const aliased = new Set(peer.hostAliases.map(({ hostname }) => hostname));
  return endpointHostnames(peer.endpoints)
    .filter((host) => host.toLowerCase().endsWith(`.${MESH_DOMAIN}`) && !aliased.has(host) && !resolved.has(host))
    .map((host) =>
      finding(
        "no-addresses",
        { source, key: peer.name },
        `the file tells no addresses of ${host}, and DNS does not know it`,
        "charts before 1.20 keep them in hostAliases of the workload: extract the peer with extract-secret",
      ),
    );
}
