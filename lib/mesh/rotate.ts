/** Bringing a cluster's new certificates to those that are connected with it. */
import { describeExternal } from "../cilium/volumes.ts";
import { importPeers } from "../import/import.ts";
import { existingPeer, isImportedNodeLocal, isNodeLocalPeer, readExistingConfig } from "../import/plan/existing.ts";
import type { Target } from "../import/plan/target.ts";
import { type Finding, finding } from "../peer/findings.ts";
import type { Peer } from "../peer/peer.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { haveCertificateInCommon, signedBy } from "../x509/chain.ts";
import { normalizeCa, PemError } from "../x509/pem.ts";
import type { MeshResult } from "./connect.ts";
import type { MemberSource } from "./member.ts";
import {
  asTarget,
  forbidden,
  type OpenMember,
  ownOf,
  peersOf,
  type ReadOptions,
  readMembers,
  type WriteOptions,
} from "./member.ts";
import { checkExtracted } from "./own-certificates.ts";
import { assertKnownPeers } from "./peer-names.ts";

export interface RotateOptions {
  read: Omit<ReadOptions, "forExtract">;
  write: WriteOptions;
  skipUnreachable: boolean;
  /** A CA (PEM) to trust besides the ones that are trusted already; the peers are otherwise left as they stand. */
  trust?: string | undefined;
  /** With `trust`: names of clusters that exist, whether they are peers or not: what the kubeconfig calls them. */
  existing?: Iterable<string>;
  /** Told what happens to each pair, before the question. */
  tell(line: string): void;
}

/**
 * Gives the importers of a cluster its certificates as they are now. With `trust` they get a further CA to trust and
 * nothing else: that comes before its CA changes, and needs no access to it.
 *
 * @param source the cluster whose certificates changed; with `trust`, its name alone is used.
 * @throws UserError (exit code 2) where the CA cannot be read, and with `trust` for a name that no importer knows.
 */
export async function rotate(
  name: string,
  source: MemberSource | undefined,
  importers: readonly MemberSource[],
  options: RotateOptions,
): Promise<MeshResult> {
  const { trust } = options;
  const changed =
    trust === undefined && source
      ? await readMembers([source], { ...options.read, forExtract: true })
      : { members: [], unread: [] };
  const { members, unread } = await readMembers(importers, { ...options.read, forExtract: false });
  try {
    if (changed.unread.length > 0) return { refused: changed.unread };
    const [rotated] = changed.members;
    const cluster = rotated?.target.facts.name ?? name;
    if (trust !== undefined && unread.length === 0) assertKnownPeers([cluster], members, [...(options.existing ?? [])]);
    const configured = members.filter((member) => standingOf(member, cluster) !== undefined);
    for (const member of members.filter((one) => isKept(one, cluster))) {
      options.tell(`${member.source}: skipped ${cluster}: only reachable from a node`);
    }
    const left = trust === undefined ? [] : configured.flatMap((member) => untrustedFindings(member, cluster));
    const concerned = configured.filter(({ source }) => !left.some((one) => one.source === source));
    if (rotated?.peer)
      for (const member of concerned) options.tell(`${member.source}: ${rotationImpact(member, rotated, cluster)}`);
    const fresh = rotated?.peer;
    const now = options.write.plan.now;
    const findings = [...(options.skipUnreachable ? [] : unread), ...(rotated ? checkExtracted(rotated, now) : [])];
    const peers = fresh ? [{ peer: fresh, source: rotated.source }] : [];
    const result = await importPeers(concerned.map(asTarget), async () => ({ peers, findings }), {
      ...options.write,
      forbidden,
      ...(trust !== undefined && {
        peersFor: (target: Target) => {
          const peer = standing(target, cluster);
          const before = peer && trustedCa(peer, target.common?.ca);
          if (!peer || before === undefined) return [];
          return [{ peer: { ...peer, ca: { pem: withCa(before, trust) } }, source: target.source }];
        },
      }),
    });
    return "refused" in result ? result : { ...result, left: [...unread, ...left] };
  } finally {
    for (const { api } of [...members, ...changed.members]) api.close();
  }
}

function standingOf({ target }: OpenMember, cluster: string): Peer | undefined {
  return standing(target, cluster);
}

function standing(target: Target, cluster: string): Peer | undefined {
  const existing = readExistingConfig(target, []);
  if (!isImportedNodeLocal(existing, cluster)) {
    return peersOf({ target }, existing).peers.find(({ peer }) => peer.name === cluster)?.peer;
  }
  const one = existingPeer(target, existing, cluster);
  return "peer" in one ? one.peer : undefined;
}

/** Whether somebody else configured the cluster as a peer that only a node can reach: an import would leave it as it is. */
function isKept({ target }: OpenMember, cluster: string): boolean {
  const existing = readExistingConfig(target, []);
  return isNodeLocalPeer(existing, cluster) && !isImportedNodeLocal(existing, cluster);
}

/** The CA (PEM) that a peer is verified by; undefined where it cannot be told. */
function trustedCa({ ca }: Peer, own: string | undefined): string | undefined {
  return typeof ca === "object" ? ca.pem : ca === "importer" ? own : undefined;
}

/** A CA, and a new one. */
function withCa(before: string, trust: string): string {
  try {
    return normalizeCa(`${before}\n${trust}`);
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    throw new UserError(`the CA to trust ${error.message}`, EXIT.refused);
  }
}

/** A finding about an importer that would no longer trust what it trusts now, if a new CA were written for it. */
function untrustedFindings({ source, target }: OpenMember, cluster: string): Finding[] {
  const before = standing(target, cluster);
  if (!before || trustedCa(before, target.common?.ca) !== undefined) return [];
  const { external } = target.common ?? {};
  const [where, remedy] =
    before.ca === "system"
      ? ["the system's roots", "add the new CA to the images of its pods"]
      : external
        ? [describeExternal(external), "add the new CA to what fills that volume"]
        : ["an object that cannot be read", "add the new CA there"];
  const message = `the CA that ${cluster} is verified by comes from ${where}, so the new one was not added`;
  return [finding("common-unverified", { source, key: cluster }, message, remedy)];
}

/** How an importer gets over the change: of both sides, each has to take what the other shows, before and after. */
function rotationImpact(importer: OpenMember, rotated: OpenMember, cluster: string): string {
  const before = standing(importer.target, cluster);
  if (!before || !rotated.peer) return "is not configured for it";
  const own = ownOf(importer);
  const client = before.client === "importer" ? own.client?.cert : before.client.cert;
  const trusted = trustedCa(before, own.ca);
  const now = typeof rotated.peer.ca === "object" ? rotated.peer.ca.pem : rotated.peer.facts.ca;
  const server = rotated.installation.ca;
  // Undefined where one of the two cannot be read.
  const accepted = client === undefined || now === undefined ? undefined : signedBy(client, now);
  const trusts = trusted === undefined || server === undefined ? undefined : haveCertificateInCommon(trusted, server);
  if (accepted && trusts) return `stays connected with ${cluster}: it reconnects at most once`;
  if (accepted !== false && trusts !== false) {
    const hidden = client === undefined || trusted === undefined ? importer : rotated;
    const { external } = hidden.installation;
    const where = external ? `come from ${describeExternal(external)}` : "cannot be read";
    return `cannot tell whether it stays connected with ${cluster}: certificates of ${hidden.source} ${where}`;
  }
  const why =
    trusts === false
      ? `it does not trust ${cluster}'s new CA yet`
      : `${cluster}'s CA did not sign the certificate that it comes with`;
  return `is cut off from ${cluster} (${why}) until this is written and kubelet has brought it into the pods, a minute or two`;
}
