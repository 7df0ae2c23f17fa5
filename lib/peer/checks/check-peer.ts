/** What is wrong with a peer by itself. Pure: the clock is an argument. */
import type { ParseCache } from "../../util/parse-cache.ts";
import type { Finding } from "../findings.ts";
import type { Peer, SourcedPeer } from "../peer.ts";
import { checkEndpoints } from "./endpoint.ts";
import { checkIdentity } from "./identity.ts";
import { checkTls } from "./tls.ts";
import type { ExpiryOptions } from "./validity.ts";

/**
 * What is wrong with a peer by itself: its name, endpoints, aliases and certificates.
 *
 * @param now - the time to judge certificates by.
 */
export function checkPeer(
  { peer, source, remedyFor }: SourcedPeer,
  now: Date,
  options: Pick<ExpiryOptions, "expiresWithin" | "cache"> = {},
): Finding[] {
  const place = { source, key: peer.name };
  const expiry = { remedyFor, ...options };
  return [...checkIdentity(peer, place), ...checkEndpoints(peer, place), ...checkTls(peer, place, now, expiry)];
}

/** Checks peers by themselves, each once, however many targets it is planned for. */
export class PeerChecker {
  readonly #now: Date;
  readonly #known = new WeakMap<Peer, Finding[]>();

  /** @param now - the time to judge certificates by. */
  constructor(now: Date) {
    this.#now = now;
  }

  /**
   * As {@link checkPeer}.
   *
   * @param cache - holds what was parsed already.
   */
  check(sourced: SourcedPeer, cache: ParseCache): Finding[] {
    const known = this.#known.get(sourced.peer) ?? checkPeer(sourced, this.#now, { cache });
    this.#known.set(sourced.peer, known);
    return known;
  }
}
