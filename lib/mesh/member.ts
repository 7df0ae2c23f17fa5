/** The clusters of a mesh: each read once, as what others extract and as what is imported into. */
import { type Installation, readInstallation } from "../cilium/installation.ts";
import { EXTRACT_DEFAULTS, peerOf } from "../extract/extract.ts";
import type { ImportOptions, TargetSource } from "../import/import.ts";
import type { Change } from "../import/plan/change.ts";
import { existingPeer, isNodeLocalPeer, readExistingConfig } from "../import/plan/existing.ts";
import type { Plan } from "../import/plan/plan.ts";
import type { Target } from "../import/plan/target.ts";
import { targetOf } from "../import/read-target.ts";
import { configMaps, daemonSets, deployments, type KubernetesApi, type Subject, secrets } from "../kube/api.ts";
import { endpointHostnames } from "../peer/etcd-config.ts";
import { type Finding, finding } from "../peer/findings.ts";
import {
  AGENTS_SECRET,
  type ClientCertificate,
  KVSTOREMESH_SECRET,
  type Peer,
  type SourcedPeer,
  versionAtLeast,
} from "../peer/peer.ts";
import { limitConcurrency } from "../util/concurrency.ts";
import { dedupe } from "../util/dedupe.ts";
import { UserError } from "../util/errors.ts";

export interface Member {
  /** Its context. */
  source: string;
  installation: Installation;
  target: Target;
}

/** A member, and what others would extract from it now. */
export interface ExtractedMember extends Member {
  /** Undefined where it cannot be extracted. */
  peer: Peer | undefined;
}

/**
 * Reads a cluster once, as a target and, if wanted, as what others extract.
 *
 * @throws UserError, ApiError and ConnectionError as {@link readInstallation}.
 */
export async function readMember(
  api: KubernetesApi,
  source: string,
  options: { namespace?: string | undefined; forExtract: boolean; forImport?: boolean; warn(line: string): void },
): Promise<Member> {
  const installation = await readInstallation(api, { ...options, secrets: [AGENTS_SECRET, KVSTOREMESH_SECRET] });
  return { source, installation, target: targetOf(installation, source) };
}

/** What an importer comes with where a peer's config names the cluster's own files. */
export function ownOf({ installation, target }: Member): {
  ca?: string | undefined;
  client?: ClientCertificate | undefined;
} {
  return { ca: target.common?.ca, client: installation.remoteCertificate };
}

/**
 * The peers that a cluster is configured for, with the host aliases that its Cilium would use: before 1.20 those of the
 * workloads.
 *
 * @returns besides, the names of the peers that only a node can reach, which are not among the others, and a finding for
 *   each that cannot be made out.
 */
export function peersOf(
  { target }: Pick<Member, "target">,
  standing = readExistingConfig(target, []),
): { peers: SourcedPeer[]; nodeLocal: string[]; findings: Finding[] } {
  const nodeLocal = [...standing.names].filter((name) => isNodeLocalPeer(standing, name)).sort();
  const peers: SourcedPeer[] = [];
  const findings: Finding[] = [];
  for (const name of [...standing.names].filter((one) => !nodeLocal.includes(one)).sort()) {
    const one = existingPeer(target, standing, name);
    if ("peer" in one) peers.push({ ...one, peer: asResolved(one.peer, target) });
    else findings.push(one);
  }
  return { peers, nodeLocal, findings };
}

/** A peer as its importer's Cilium resolves its names. */
function asResolved(peer: Peer, { facts, aliases }: Target): Peer {
  const own = versionAtLeast(facts.version, "1.20") === false ? [] : peer.hostAliases;
  const known = new Set(own.map(({ hostname }) => hostname));
  const wanted = endpointHostnames(peer.endpoints).filter((name) => !known.has(name));
  return { ...peer, hostAliases: [...own, ...aliases.filter(({ hostname }) => wanted.includes(hostname))] };
}

/** How many clusters are read at a time. */
const PARALLEL = 16;

/** A cluster that is to be written, with its connection. */
export interface OpenMember extends ExtractedMember {
  api: KubernetesApi;
}

export interface ReadOptions {
  namespace?: string | undefined;
  /** How many addresses of a cluster its importers get at the most. */
  addresses?: number;
  /** Read what others need of it too. */
  forExtract: boolean;
  resolve(name: string): Promise<string[]>;
  warn(line: string): void;
}

/** What an import is told by these commands' callers. */
export type WriteOptions = Omit<ImportOptions, "peersFor" | "forbidden">;

/**
 * Reads clusters at the same time. Their connections stay open, for whoever closes them. A cluster that two contexts
 * lead to is taken once.
 *
 * @returns besides, a finding for each that cannot be read, or that others cannot reach, and of each context that is left
 *   out the one that stays for its cluster.
 */
export async function readMembers(
  sources: readonly MemberSource[],
  options: ReadOptions,
): Promise<{ members: OpenMember[]; unread: Finding[]; same: Map<string, string> }> {
  const { members, unread } = await readEach(sources, options);
  const same = new Map<string, string>();
  const once = dedupe(
    members,
    ({ target }) => target.identity,
    (stays, { source, api }) => {
      options.warn(`${source}: reaches the same cluster as ${stays.source}, which is taken once`);
      same.set(source, stays.source);
      api.close();
    },
  );
  return { members: once, unread, same };
}

/** As {@link readMembers}, with a member for each context. */
export async function readEach(
  sources: readonly MemberSource[],
  options: ReadOptions,
): Promise<{ members: OpenMember[]; unread: Finding[] }> {
  const enter = limitConcurrency(PARALLEL);
  const unread: Finding[] = [];
  const read = await Promise.all(
    sources.map(({ source, open }) =>
      enter(async (): Promise<OpenMember[]> => {
        const warn = (line: string) => options.warn(`${source}: ${line}`);
        let api: KubernetesApi | undefined;
        try {
          api = open();
          const member = await readMember(api, source, { ...options, forImport: true, warn });
          const { addresses = EXTRACT_DEFAULTS.addresses, resolve } = options;
          const peer = options.forExtract
            ? await peerOf(member.installation, { ...EXTRACT_DEFAULTS, addresses, resolve, warn })
            : undefined;
          return [{ ...member, peer, api }];
        } catch (error) {
          api?.close();
          if (!(error instanceof UserError)) throw error;
          unread.push(finding("cluster-unreadable", { source }, error.inOneLine));
          return [];
        }
      }),
    ),
  );
  return { members: read.flat(), unread };
}

/** A member as the target of an import: it is read and connected already. */
export function asTarget({ source, api, target }: OpenMember): TargetSource {
  return { source, open: () => api, read: async () => target };
}

/** What the user may not do of a plan, as the cluster's own RBAC says. */
export async function forbidden(api: KubernetesApi, target: Target, { changes }: Plan): Promise<Finding[]> {
  const subjects = new Map(changes.map((change) => [JSON.stringify([change.verb, change.kind, change.name]), change]));
  const missing = await Promise.all(
    [...subjects.values()].map(async (change) => {
      const subject = subjectOf(change, target.namespace);
      const check = await api.missingRight(subject);
      if (check === undefined) return [];
      const message = `not allowed to ${subject.verb} ${change.kind} ${change.name} in namespace ${target.namespace}`;
      return [finding("not-allowed", { source: target.source }, message, `check with: ${check}`)];
    }),
  );
  return missing.flat();
}

function subjectOf({ verb, kind, name }: Change, namespace: string): Subject {
  const resource = { Secret: secrets, ConfigMap: configMaps, Deployment: deployments, DaemonSet: daemonSets }[kind];
  return { verb: verb === "create" ? "create" : "patch", resource, namespace, name };
}

/** A cluster to look at. */
export interface MemberSource {
  /** Its context. */
  source: string;
  /** What else the kubeconfig calls it: other contexts for the same server, and their entries of clusters. */
  names?: readonly string[];
  /** Starts to connect; throws a UserError where its context leads nowhere. */
  open(): KubernetesApi;
}
