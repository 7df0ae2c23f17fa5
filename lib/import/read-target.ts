/** Reads the targets of an import. */
import type { V1DaemonSet, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { findCommonFiles, findConfigReaders, mountsLocalFiles, readerFolder } from "../cilium/config-readers.ts";
import { type Installation, readInstallation } from "../cilium/installation.ts";
import { type ReadFailure, readClusters } from "../cilium/read-clusters.ts";
import { configMaps, daemonSets, deployments, type KubernetesApi, type Resource, secrets } from "../kube/api.ts";
import type { Cluster } from "../kube/cluster.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { collectAliases } from "./plan/host-aliases.ts";
import type { Target, Workload } from "./plan/target.ts";

/** The targets of an import, with failures and warnings from reading them. */
export interface ReadTargets {
  targets: { api: KubernetesApi; target: Target }[];
  failed: ReadFailure[];
  /** A finding for each context whose cluster was read through another context. */
  findings: Finding[];
  /** Assumptions about a target, one line each. */
  warnings: string[];
}

/** Options of {@link readTarget}. */
export interface ReadTargetOptions {
  /** Cilium's namespace; detected if undefined. */
  namespace?: string | undefined;
  /** Parsed values, shared with other targets and files. */
  cache?: ParseCache;
}

/** Reads clusters as the targets of an import. A failure affects only its own cluster. */
export async function readTargets(
  clusters: readonly Cluster[],
  { namespace, cache = new ParseCache() }: ReadTargetOptions,
): Promise<ReadTargets> {
  const { read, failed, repeated } = await readClusters(
    clusters,
    async ({ source, api }) => ({ source, api, ...(await readTarget(api, source, { namespace, cache })) }),
    ({ target }) => target.identity,
  );
  return {
    targets: read.map(({ api, target }) => ({ api, target })),
    failed,
    findings: [...repeated].map(([source, other]) => finding("same-cluster", { source }, { other })),
    warnings: read.flatMap(({ source, warnings }) => warnings.map((line) => `${source}: ${line}`)),
  };
}

/**
 * Reads a cluster as the target of an import.
 *
 * @param source - the context of the cluster.
 * @throws UserError, ApiError and ConnectionError as {@link readInstallation}.
 */
export async function readTarget(
  api: KubernetesApi,
  source: string,
  { namespace, cache }: ReadTargetOptions = {},
): Promise<{ target: Target; warnings: string[] }> {
  const installation = await readInstallation(api, {
    namespace,
    forExtract: false,
    secrets: [AGENTS_SECRET, KVSTOREMESH_SECRET],
  });
  return { target: targetOf(installation, source, cache), warnings: installation.warnings };
}

/** Builds a target from an installation, which must include both config Secrets. */
export function targetOf(installation: Installation, source: string, cache = new ParseCache()): Target {
  const { namespace, facts, folders, users, takesUsers, remoteCertificate, deployment, agents, operator } =
    installation;
  return {
    source,
    namespace,
    identity: installation.identity,
    facts,
    agentsSecret: internValues(installation.secrets.get(AGENTS_SECRET), cache),
    kvstoremeshSecret: internValues(installation.secrets.get(KVSTOREMESH_SECRET), cache),
    users,
    takesUsers,
    common: findCommonFiles(readerFolder(installation), installation),
    agentsCommon: findCommonFiles(folders.agents, installation),
    localMounted: mountsLocalFiles(folders.agents),
    clientCertificate: remoteCertificate?.cert,
    resolvers: findConfigReaders(installation).map(({ kind, object }) => toWorkload(kind, object)),
    aliases: collectAliases([deployment, agents, operator].map((workload) => workload && hostAliasesOf(workload))),
    cache,
  };
}

/** Interns the values of a Secret: targets with the same peers share equal strings, which saves memory. */
function internValues(secret: V1Secret | undefined, cache: ParseCache): V1Secret | undefined {
  const data = secret?.data ?? {};
  for (const [key, value] of Object.entries(data)) if (typeof value === "string") data[key] = cache.intern(value);
  return secret;
}

/** Rereads the objects that an import writes; facts about the installation are kept. */
export async function rereadTarget(api: KubernetesApi, target: Target): Promise<Target> {
  const { namespace, cache } = target;
  const [agentsSecret, kvstoremeshSecret, users, ...resolvers] = await Promise.all([
    api.get(secrets, namespace, AGENTS_SECRET),
    api.get(secrets, namespace, KVSTOREMESH_SECRET),
    target.takesUsers ? api.get(configMaps, namespace, USERS_CONFIG_MAP) : undefined,
    ...target.resolvers.map(async ({ kind, name, object }) => {
      const resource: Resource<V1Deployment | V1DaemonSet> = kind === "Deployment" ? deployments : daemonSets;
      return toWorkload(kind, (await api.get(resource, namespace, name)) ?? object);
    }),
  ]);
  return {
    ...target,
    agentsSecret: internValues(agentsSecret, cache),
    kvstoremeshSecret: internValues(kvstoremeshSecret, cache),
    users,
    resolvers,
  };
}

function toWorkload(kind: Workload["kind"], object: V1Deployment | V1DaemonSet): Workload {
  return { kind, name: object.metadata?.name ?? "", hostAliases: hostAliasesOf(object), object };
}

function hostAliasesOf({ spec }: V1Deployment | V1DaemonSet) {
  return spec?.template.spec?.hostAliases;
}
