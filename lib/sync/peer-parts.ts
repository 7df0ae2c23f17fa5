/** What differs between the config of a peer and the one that it is to have. Pure. */
import type { Peer } from "../peer/peer.ts";

/** A peer as it is configured, and as it is to be. */
export interface PeerVersions {
  before: Peer;
  after: Peer;
}

/** A part of a peer's config that an event names. */
export type PeerPart = "addresses" | "CA" | "certificate";

const FIELDS: { readonly [Part in PeerPart]: readonly (keyof Peer)[] } = {
  addresses: ["endpoints", "hostAliases"],
  CA: ["ca"],
  certificate: ["client"],
};

/** Returns the parts in which two versions of a peer differ. */
export function differingParts({ before, after }: PeerVersions): PeerPart[] {
  const textOf = (peer: Peer, part: PeerPart) => JSON.stringify(FIELDS[part].map((field) => peer[field]));
  return (Object.keys(FIELDS) as PeerPart[]).filter((part) => textOf(before, part) !== textOf(after, part));
}
