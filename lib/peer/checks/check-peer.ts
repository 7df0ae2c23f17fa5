/** Checks of a peer by itself. Pure: the time is an argument. */
import type { ParseCache } from "../../util/parse-cache.ts";
import type { Finding } from "../findings.ts";
import type { Peer, SourcedPeer } from "../peer.ts";
import { checkEndpoints } from "./endpoint.ts";
import { checkIdentity } from "./identity.ts";
import { checkTls } from "./tls.ts";
import type { ExpiryOptions } from "./validity.ts";

/**
 * Checks the name, endpoints, host aliases and certificates of a peer.
 *
 * @param now - the time at which certificates must be valid.
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

/** Checks each peer only once, although it is planned for many targets. */
export class PeerChecker {
  readonly #findings = new WeakMap<Peer, Finding[]>();

  /**
   * Returns the findings of {@link checkPeer} at the first check of a peer.
   *
   * @param cache - certificates and keys that were parsed earlier.
   * @param now - the time at which certificates must be valid.
   */
  check(sourced: SourcedPeer, cache: ParseCache, now: Date): Finding[] {
    const findings = this.#findings.get(sourced.peer) ?? checkPeer(sourced, now, { cache });
    this.#findings.set(sourced.peer, findings);
    return findings;
  }
}
