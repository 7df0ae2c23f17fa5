/**
 * In which order importers get the new CA and the new client certificate of a cluster, so that none is disconnected. Pure.
 *
 * It is the order of `docs/renew-certificates.md`: first trust the new CA beside the old one, then use a client
 * certificate of the new CA, then no longer trust the old one. It rests on these facts:
 *
 * - etcd (`transport.TLSInfo` of 3.6) reads the CA file by which it verifies clients once, when it starts, but its own
 *   certificate at each handshake. So after a change of both it presents a new certificate, and still requires an old one.
 * - The kubelet updates mounted Secrets within about two minutes; until then etcd presents its old certificate.
 * - Cilium's client reads its certificate at each handshake, and the CA file when it connects. The CA file of an importer is
 *   named after its content, so that another CA changes the config, and Cilium connects again.
 * - An importer gets CA, certificate and config in one Secret, which the kubelet updates as a whole.
 */
import type { X509Certificate } from "node:crypto";
import type { ClientCertificate, Peer } from "../peer/peer.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { buildChain, issuerProblem, type Purpose } from "../x509/chain.ts";
import { formatCertificates, normalizeCa, readCertificates, tryReadPem, validity } from "../x509/pem.ts";
import { authorityKey } from "./authorities.ts";
import type { AuthorityRecord } from "./state.ts";

/** After this time etcd presents the certificate that its Secret has. In milliseconds. */
const PROPAGATION_MS = 300_000;

/** What decides about the certificates that an importer gets. */
export interface AuthorityRequest {
  /** The peer in the importer's config, as it is. */
  existing: Peer | undefined;
  /** The importer's own files, which the config may refer to. */
  own: { ca?: string | undefined; client?: Pick<ClientCertificate, "cert"> | undefined };
  /** The peer as extracted now. */
  desired: Peer;
  /** The server certificate (PEM) of the peer, followed by its chain, if it can be read. */
  serverCertificate?: string | undefined;
  /** When all etcds of the peer had read their CA file ({@link findEtcdStart}); undefined if unknown. */
  etcdStarted?: Date | undefined;
  /** Since when the peer has its CAs; undefined if nothing is known. */
  record?: AuthorityRecord | undefined;
  now: Date;
  cache?: ParseCache;
}

/** Why an importer does not have the certificates of a peer yet. */
export interface AuthorityWait {
  /**
   * `restart`: etcd has not read the new CA. `client-certificate`: it is not signed by a CA of its cluster.
   * `server-certificate`: it is unknown, or not signed by a new CA. `propagation`: etcd may still present the old one.
   */
  for: "restart" | "client-certificate" | "server-certificate" | "propagation";
  /** For people. */
  message: string;
  /** When it ends; undefined if that depends on somebody. */
  until?: Date;
}

/** The peer to write. */
export interface OrderedPeer {
  peer: Peer;
  /**
   * What the write does in a change of the CA. `trust`: adds a CA. `switch`: uses a client certificate of another CA.
   * `drop`: removes a CA, perhaps together with `switch`.
   */
  step: "none" | "trust" | "switch" | "drop";
  /** Why something of the desired peer is not written yet. */
  waiting?: AuthorityWait;
}

/**
 * Returns the peer that an importer can be given now without being disconnected: the desired one, as far as the CA and the
 * client certificate may already change.
 *
 * - Each CA of the desired bundle is added at once.
 * - The client certificate changes if every etcd accepts it: it is signed by the CA of the existing one, or by a CA that
 *   all etcds have read. If that is not known, as after the first reading of the cluster, it is assumed.
 * - A CA that the desired bundle lacks stays until etcd presents a certificate of a desired CA and the client certificate is
 *   the desired one, and of a desired CA as well. A CA that is newer than those of the bundle, and never was one of them, stays as well: somebody
 *   has added it before a change, as with `rotate --trust`. An expired one does not.
 *
 * A desired peer that refers to the importer's own files is returned unchanged: they change without us.
 */
export function orderAuthorities(request: AuthorityRequest): OrderedPeer {
  const { existing, desired } = request;
  if (!existing || typeof desired.ca !== "object") return { peer: desired, step: "none" };
  if (isSameTls(existing, desired)) return { peer: desired, step: "none" };
  const context = new OrderContext(request, existing, desired.ca.pem);
  const { client, wait: clientWait } = context.chooseClient();
  const { kept, wait: caWait } = context.chooseKept(client === desired.client);
  const waiting = clientWait ?? caWait;
  const pem = kept.length === 0 ? desired.ca.pem : normalizeCa(desired.ca.pem + formatCertificates(kept));
  // What etcd accepts is not the bundle by which the importer verifies it.
  const facts = kept.length > 0 && client === desired.client ? { ...desired.facts, ca: desired.ca.pem } : desired.facts;
  return {
    peer: { ...desired, ca: { pem }, client, facts },
    step: context.stepOf(kept, client),
    ...(waiting && { waiting }),
  };
}

function isSameTls({ ca, client }: Peer, desired: Peer): boolean {
  return (
    typeof ca === "object" &&
    typeof desired.ca === "object" &&
    ca.pem === desired.ca.pem &&
    client !== "importer" &&
    desired.client !== "importer" &&
    client.cert === desired.client.cert &&
    client.key === desired.client.key
  );
}

/** The certificates of one request. */
class OrderContext {
  readonly #request: AuthorityRequest & { cache: ParseCache };
  readonly #existing: Peer;
  /** The CAs that the importer trusts; empty if they are unknown. */
  readonly #old: readonly X509Certificate[];
  readonly #wanted: readonly X509Certificate[];

  constructor(request: AuthorityRequest, existing: Peer, wanted: string) {
    this.#request = { cache: new ParseCache(), ...request };
    this.#existing = existing;
    const { ca } = existing;
    this.#old = this.#read(typeof ca === "object" ? ca.pem : ca === "importer" ? request.own.ca : undefined);
    this.#wanted = this.#read(wanted);
  }

  /** Chooses between the existing and the desired client certificate. */
  chooseClient(): { client: Peer["client"]; wait?: AuthorityWait } {
    const { desired, own } = this.#request;
    const before = this.#existing.client;
    const existing = before === "importer" ? own.client?.cert : before.cert;
    const wanted = desired.client === "importer" ? undefined : desired.client.cert;
    if (wanted === undefined || existing === undefined || existing === wanted) return { client: desired.client };
    const all = [...this.#old, ...this.#wanted];
    const oldRoot = this.#rootOf(existing, "client", all);
    const newRoot = this.#rootOf(wanted, "client", this.#wanted);
    const isSameRoot = oldRoot && newRoot && this.#keyOf(newRoot) === this.#keyOf(oldRoot);
    if (isSameRoot || (newRoot && this.#isRead(newRoot))) return { client: desired.client };
    // One that has expired, or whose CA has, is accepted by no etcd.
    if (!oldRoot && this.#isExpired(existing, all)) return { client: desired.client };
    const wait = newRoot ? "restart" : "client-certificate";
    return { client: before, wait: { for: wait, message: this.#describe(wait) } };
  }

  /** Returns the CAs that the importer still trusts though the desired bundle lacks them. */
  chooseKept(isClientDesired: boolean): { kept: X509Certificate[]; wait?: AuthorityWait } {
    const { now } = this.#request;
    const removed = this.#old.filter((one) => !includes(this.#wanted, one) && validity(one).until >= now);
    const ahead = removed.filter((one) => this.#isAhead(one));
    if (ahead.length === removed.length) return { kept: ahead };
    // The client waits for the same.
    if (!isClientDesired) return { kept: removed };
    const wait = this.#serverWait() ?? this.#desiredClientWait();
    return wait ? { kept: removed, wait } : { kept: ahead };
  }

  /** Returns the step that a write makes. */
  stepOf(kept: readonly X509Certificate[], client: Peer["client"]): OrderedPeer["step"] {
    const isAdded = this.#wanted.some((one) => !includes(this.#old, one));
    if (isAdded && this.#old.length > 0) return "trust";
    if (this.#old.some((one) => !includes(this.#wanted, one) && !includes(kept, one))) return "drop";
    return this.#changesRoot(client) ? "switch" : "none";
  }

  #changesRoot(client: Peer["client"]): boolean {
    const { own } = this.#request;
    const before = this.#existing.client;
    const certificates = [before === "importer" ? own.client : before, client === "importer" ? own.client : client];
    const all = [...this.#old, ...this.#wanted];
    const [one, other] = certificates.map(
      (certificate) => certificate && this.#rootOf(certificate.cert, "client", all),
    );
    return one !== undefined && other !== undefined && this.#keyOf(one) !== this.#keyOf(other);
  }

  /** Returns why etcd may present a certificate that the desired bundle does not verify; undefined if it cannot. */
  #serverWait(): AuthorityWait | undefined {
    const { serverCertificate, record, now } = this.#request;
    const isSigned = serverCertificate !== undefined && this.#rootOf(serverCertificate, "server", this.#wanted);
    if (!isSigned) return { for: "server-certificate", message: this.#describe("server-certificate") };
    const since = record?.server?.since;
    const until = since === undefined ? now : new Date(Date.parse(since) + PROPAGATION_MS);
    return until > now ? { for: "propagation", message: this.#describe("propagation"), until } : undefined;
  }

  /** Returns why etcd may accept the desired client certificate only by an old CA; undefined if a desired one has signed it. */
  #desiredClientWait(): AuthorityWait | undefined {
    const { client } = this.#request.desired;
    if (client === "importer" || this.#rootOf(client.cert, "client", this.#wanted)) return undefined;
    return { for: "client-certificate", message: this.#describe("client-certificate") };
  }

  /** Whether all etcds of the peer have read a CA of the desired bundle. */
  #isRead(authority: X509Certificate): boolean {
    const { record, etcdStarted } = this.#request;
    const known = record?.authorities.find(({ key }) => key === this.#keyOf(authority));
    if (known?.since === undefined) return record === undefined || known !== undefined;
    return etcdStarted !== undefined && etcdStarted.getTime() >= Date.parse(known.since);
  }

  /** Whether a CA was added to the config before the peer has it. */
  #isAhead(authority: X509Certificate): boolean {
    const { record } = this.#request;
    if (typeof this.#existing.ca !== "object") return false;
    if (record?.authorities.some(({ key }) => key === this.#keyOf(authority))) return false;
    return this.#wanted.every((one) => validity(one).from < validity(authority).from);
  }

  /** Returns the CA that has signed a certificate (PEM, followed by its chain), as Go verifies it; undefined if none has. */
  #rootOf(pem: string, purpose: Purpose, trusted: readonly X509Certificate[]): X509Certificate | undefined {
    const { now, cache } = this.#request;
    const chain = this.#read(pem);
    const [leaf] = chain;
    if (!leaf || validity(leaf).until < now) return undefined;
    const isAcceptable = (issuer: X509Certificate, isTrusted: boolean) =>
      issuerProblem(issuer, isTrusted, purpose, now) === undefined;
    return buildChain(chain, trusted, isAcceptable, cache)?.at(-1);
  }

  /** Whether a certificate without a valid chain has expired, or has a chain that was valid. */
  #isExpired(pem: string, trusted: readonly X509Certificate[]): boolean {
    const { now, cache } = this.#request;
    const chain = this.#read(pem);
    const [leaf] = chain;
    return !leaf || validity(leaf).until < now || buildChain(chain, trusted, () => true, cache) !== undefined;
  }

  #read(pem: string | undefined): readonly X509Certificate[] {
    const { cache } = this.#request;
    return pem === undefined ? [] : (tryReadPem(() => cache.parse(readCertificates, pem)) ?? []);
  }

  #keyOf(authority: X509Certificate): string {
    return this.#request.cache.parse(authorityKey, authority);
  }

  #describe(wait: AuthorityWait["for"]): string {
    const { desired, etcdStarted } = this.#request;
    const cluster = `cluster ${JSON.stringify(desired.name)}`;
    switch (wait) {
      case "restart":
        return etcdStarted
          ? `${cluster} has a new CA, but its etcd has not been restarted since: keeping the old client certificate`
          : `${cluster} has a new CA, and it is unknown whether its etcd has been restarted since: keeping the old client certificate`;
      case "client-certificate":
        return `the client certificate of ${cluster} is not signed by its CA: keeping the old certificate and CA`;
      case "server-certificate":
        return this.#request.serverCertificate === undefined
          ? `the server certificate of ${cluster} cannot be read: keeping its old CA`
          : `the server certificate of ${cluster} is not signed by its new CA: keeping the old one`;
      case "propagation":
        return `etcd of ${cluster} may present its old server certificate for some minutes: keeping its old CA`;
    }
  }
}

function includes(certificates: readonly X509Certificate[], one: X509Certificate): boolean {
  return certificates.some(({ fingerprint256 }) => fingerprint256 === one.fingerprint256);
}
