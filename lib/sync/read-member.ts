/** Reads one member, as a target and as a peer of the others. */
import { usesNodeAddresses } from "../cilium/watched-objects.ts";
import { findServingAddresses } from "../extract/endpoint.ts";
import { buildPeer, EXTRACT_DEFAULTS } from "../extract/extract.ts";
import type { KubernetesApi } from "../kube/api.ts";
import { type Member, readMember } from "../mesh/member.ts";
import { UserError } from "../util/errors.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { type MemberExtraction, type MemberView, toMemberView } from "./member-view.ts";

export interface ReadMemberOptions {
  namespace?: string | undefined;
  /** Maximum number of node addresses of a cluster that its importers get. */
  addresses: number;
  /** Resolves a host name to its addresses. */
  resolve(name: string): Promise<string[]>;
  cache: ParseCache;
  now: Date;
}

/**
 * Reads a member with everything that an extraction and an import need. If it cannot be extracted, as without an address of
 * its load balancer, it is still a target.
 *
 * @throws UserError if it cannot be read.
 */
export async function readForSync(
  api: KubernetesApi,
  entry: string,
  options: ReadMemberOptions,
): Promise<{ member: Member; view: MemberView }> {
  const { namespace, cache, now } = options;
  const readAt = performance.now();
  const member = await readMember({ api, source: entry }, { namespace, cache, forExtract: true, forImport: true });
  return { member, view: toMemberView(entry, member, await extractMember(member, options), { now, readAt }) };
}

async function extractMember(
  { installation }: Member,
  { addresses, resolve }: ReadMemberOptions,
): Promise<MemberExtraction> {
  try {
    const { peer } = await buildPeer(installation, { ...EXTRACT_DEFAULTS, addresses, resolve });
    const serving = usesNodeAddresses(installation) ? findServingAddresses(installation) : undefined;
    return { peer, error: undefined, serving };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { peer: undefined, error, serving: undefined };
  }
}
