/** Reads one member, as a target and as a peer of the others. */
import { usesNodeAddresses } from "../cilium/watched-objects.ts";
import { buildPeer, EXTRACT_DEFAULTS } from "../extract/extract.ts";
import type { KubernetesApi } from "../kube/api.ts";
import { type Member, readMember } from "../mesh/member.ts";
import { UserError } from "../util/errors.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { type MemberExtraction, type MemberView, toMemberView } from "./member-view.ts";

/** More than the nodes of the largest cluster. */
const ALL_ADDRESSES = 20_000;

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
  const extract = (most: number) => buildPeer(installation, { ...EXTRACT_DEFAULTS, addresses: most, resolve });
  try {
    const { peer } = await extract(addresses);
    const all = usesNodeAddresses(installation) ? (await extract(ALL_ADDRESSES)).peer : peer;
    return { peer, error: undefined, serving: addressesOf(all) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { peer: undefined, error, serving: undefined };
  }
}

function addressesOf({ endpoints, hostAliases }: { endpoints: string[]; hostAliases: { ips: string[] }[] }): string[] {
  const ips = hostAliases.flatMap((alias) => alias.ips);
  // A single address that the certificate covers is part of the URL.
  return ips.length > 0 ? ips : endpoints.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ""));
}
