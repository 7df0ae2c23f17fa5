/** Why rendered output contains private keys. Pure. */
import type { Target } from "../import/plan/target.ts";
import { findOwnCertificateObstacle, type TlsMode } from "../import/plan/tls.ts";
import type { Finding } from "../peer/findings.ts";
import type { SourcedPeer } from "../peer/peer.ts";

/**
 * `mode`: the mode requires the keys of these peers, which accept the target's own certificate; `obstacle`: this peer does not;
 * `existing`: the keys are not those of the files, but in existing objects.
 */
export type KeyCause =
  | { case: "mode"; peers: string[] }
  | { case: "obstacle"; peer: string; obstacle: Finding }
  | { case: "existing" };

/**
 * Explains the private keys in the output for a target.
 *
 * @param peers - the peers as read from their files.
 * @param mode - the mode in which they were rendered.
 */
export function explainPrivateKeys(target: Target, peers: readonly SourcedPeer[], mode: TlsMode): KeyCause[] {
  const withKeys =
    mode === "common" ? [] : peers.filter(({ peer }) => peer.client !== "importer" && peer.name !== target.facts.name);
  const found = withKeys.map((one) => ({
    peer: one.peer.name,
    obstacle: findOwnCertificateObstacle(one, target),
  }));
  const accepting = found.filter(({ obstacle }) => obstacle === undefined).map(({ peer }) => peer);
  const causes: KeyCause[] = [
    ...(mode === "peer" && accepting.length > 0 ? [{ case: "mode" as const, peers: accepting }] : []),
    ...found.flatMap(({ peer, obstacle }) => (obstacle ? [{ case: "obstacle" as const, peer, obstacle }] : [])),
  ];
  return causes.length > 0 ? causes : [{ case: "existing" }];
}
