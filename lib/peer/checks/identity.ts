/** Checks of the name and id of a peer. Pure. */
import { isSameEndpoint } from "../etcd-config.ts";
import { type Finding, finding, type Place } from "../findings.ts";
import { isClusterName, type Peer } from "../peer.ts";

/** Checks the name and id of a peer. */
export function checkIdentity({ name, facts }: Peer, place: Place): Finding[] {
  const findings: Finding[] = [];
  if (!isClusterName(name)) findings.push(finding("name-invalid", place, { name }));
  const { id, maxConnectedClusters: maximum = 511 } = facts;
  if (id !== undefined && (id < 1 || id > maximum)) findings.push(finding("id-invalid", place, { id, maximum }));
  return findings;
}

/** Whether two peers are equal. Of their facts, only id and maximum are compared, if both peers have them. */
export function isSamePeer(a: Peer, b: Peer): boolean {
  const toComparable = ({ name, ca, client }: Peer) => JSON.stringify([name, ca, client]);
  const { id = b.facts.id, maxConnectedClusters: maximum = b.facts.maxConnectedClusters } = a.facts;
  return (
    toComparable(a) === toComparable(b) &&
    isSameEndpoint(a, b) &&
    id === (b.facts.id ?? id) &&
    maximum === (b.facts.maxConnectedClusters ?? maximum)
  );
}
