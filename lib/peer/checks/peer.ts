/** What is wrong with a peer by itself. Pure: the clock is an argument. */

import type { Finding } from "../findings.ts";
import type { SourcedPeer } from "../peer.ts";
import { checkEndpoints } from "./endpoint.ts";
import { checkIdentity } from "./identity.ts";
import { checkTls } from "./tls.ts";
import type { ExpiryOptions } from "./validity.ts";

/**
 * What is wrong with a peer by itself: its name, endpoints, aliases and certificates.
 *
 * @param now the time to judge certificates by.
 */
export function checkPeer({ peer, source }: SourcedPeer, now: Date, options: ExpiryOptions = {}): Finding[] {
  const place = { source, key: peer.name };
  return [...checkIdentity(peer, place), ...checkEndpoints(peer, place), ...checkTls(peer, place, now, options)];
}
