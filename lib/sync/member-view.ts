/** What `sync` keeps of a member between two tasks: small, without its Secrets. Pure. */
import type { V1Pod } from "@kubernetes/client-node";
import type { Installation } from "../cilium/installation.ts";
import type { Member } from "../mesh/member.ts";
import { describeCertificates } from "../mesh/own-certificates.ts";
import type { Peer } from "../peer/peer.ts";
import { UserError } from "../util/errors.ts";
import { findEtcdStart } from "./etcd-start.ts";
import type { SyncedCertificate } from "./snapshot.ts";

/** Larger ids are invalid, and not recorded. */
const MAX_RECORDED_ID = 2 ** 31;

/** A member as the others need to know it. */
export interface MemberView {
  /** Its name in the list of members. */
  entry: string;
  /** When its reading began, by the monotonic clock in milliseconds. */
  readAt: number;
  /** The uid of its ConfigMap `cilium-config`. */
  uid: string | undefined;
  cluster: string | undefined;
  id: number | undefined;
  /** Cilium's version; undefined if it is unknown. */
  version: string | undefined;
  /** Its current extraction; undefined if it cannot be extracted. */
  peer: Peer | undefined;
  /** Why it cannot be extracted. */
  peerError: UserError | undefined;
  /** The node addresses at which it can be reached now; undefined if peers do not reach it by addresses of nodes. */
  serving: string[] | undefined;
  /** The server certificate (PEM), if it can be read. */
  serverCertificate: string | undefined;
  /** Its CA bundle (PEM); undefined if it cannot be read. */
  ca: string | undefined;
  /** When the Secret of the server certificate, which has etcd's CA file, was last written. */
  serverSecretWritten: Date | undefined;
  /** {@link findEtcdStart} */
  etcdStarted: Date | undefined;
  certificates: SyncedCertificate[];
}

/** An extraction that succeeded or failed, and the addresses of all nodes that answer. */
export interface MemberExtraction {
  peer: Peer | undefined;
  error: UserError | undefined;
  serving: string[] | undefined;
}

/** Reduces a reading of a member to its view. */
export function toMemberView(
  entry: string,
  member: Member,
  { peer, error, serving }: MemberExtraction,
  { now, readAt }: { now: Date; readAt: number },
): MemberView {
  const { installation, target } = member;
  const { name: cluster, id, version } = target.facts;
  // A server may violate the schema, and an id may be any number.
  const uid: unknown = installation.uid;
  return {
    ...{ entry, readAt, uid: typeof uid === "string" ? uid : undefined, cluster, peer, peerError: error },
    id: id !== undefined && id <= MAX_RECORDED_ID ? id : undefined,
    ...{ version, serving },
    serverCertificate: installation.serverCertificate?.pem,
    ca: installation.ca,
    serverSecretWritten: installation.serverCertificate?.written,
    etcdStarted: findEtcdStart(podsOf(installation)),
    certificates: describeCertificates(member, { now }).map(({ use, subject, expiresAt }) => ({
      ...{ cluster: cluster ?? entry, use, subject, expires: new Date(expiresAt) },
    })),
  };
}

/** Whether a changed view can change what the importers of the member have to be given. */
export function concernsImporters(before: MemberView | undefined, after: MemberView): boolean {
  const relevant = ({ certificates: _, peerError: _error, readAt: _time, version: _version, ...view }: MemberView) =>
    JSON.stringify(view);
  return before === undefined || relevant(before) !== relevant(after);
}

/** Without the permission to list pods, it is unknown when they started. */
function podsOf(installation: Installation): V1Pod[] {
  try {
    return installation.pods();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return [];
  }
}
