/** What is wrong with a peer by itself. Pure: the clock is an argument. */
import type { Finding } from "../findings.ts";
import type { Peer, SourcedPeer } from "../peer.ts";
import { checkEndpoints } from "./endpoint.ts";
import { checkIdentity } from "./identity.ts";
import { checkTls } from "./tls.ts";
import type { ExpiryOptions } from "./validity.ts";

/**
 * What is wrong with a peer by itself: its name, endpoints, aliases and certificates.
 *
 * @param now the time to judge certificates by.
 */
export function checkPeer(
  { peer, source, remedyFor }: SourcedPeer,
  now: Date,
  options: Pick<ExpiryOptions, "expiresWithin"> = {},
): Finding[] {
  const place = { source, key: peer.name };
  const expiry = { remedyFor, ...options };
  return [...checkIdentity(peer, place), ...checkEndpoints(peer, place), ...checkTls(peer, place, now, expiry)];
}

/** Checks peers by themselves, each once, however many targets it is planned for. */
export class PeerChecker {
  readonly #now: Date;
  readonly #known = new WeakMap<Peer, Finding[]>();

  /** @param now the time to judge certificates by. */
  constructor(now: Date) {
    this.#now = now;
  }

  /** As {@link checkPeer}. */
  check(sourced: SourcedPeer): Finding[] {
    const known = this.#known.get(sourced.peer) ?? checkPeer(sourced, this.#now);
    this.#known.set(sourced.peer, known);
    return known;
  }
}
