/** A target from the file that `extract-secret` wrote of its cluster, without access to the cluster. Pure. */
import type { CommonFiles } from "../cilium/config-readers.ts";
import { DEFAULT_NAMESPACE } from "../cilium/locate.ts";
import { AGENTS } from "../cilium/object-names.ts";
import { describeObject } from "../import/plan/change.ts";
import { collectAliases } from "../import/plan/host-aliases.ts";
import type { Target, Workload } from "../import/plan/target.ts";
import { parseSecrets } from "../peer/documents.ts";
import { type Finding, finding, hasErrors } from "../peer/findings.ts";
import type { Call } from "../peer/foreign/foreign.ts";
import { APISERVER, type Peer, versionAtLeast } from "../peer/peer.ts";
import { readPeerFile } from "../peer/secret.ts";
import {
  type CommonCa,
  type FilesOrigin,
  readTargetFacts,
  type TargetFacts,
  type WorkloadName,
} from "../peer/target-facts.ts";
import type { ParseCache } from "../util/parse-cache.ts";
import { shellQuotePath } from "../util/shell.ts";
import type { ExistingObjects } from "./existing-objects.ts";

/** The file of a target. */
export interface TargetFile {
  /** The name of the file in findings. */
  source: string;
  /** The path of the file; undefined for standard input. */
  path?: string | undefined;
  peer: Peer;
  targetFacts: TargetFacts;
}

/**
 * Parses the file of a target: one Secret of `extract-secret`, with or without a key.
 *
 * @param source - the name of the file in findings.
 * @param options - the path of the file, and the call that reads the target from stdin, for remedies.
 * @returns undefined as file if there are errors.
 */
export function parseTargetFile(
  text: string,
  source: string,
  { path, call, cache }: { path?: string | undefined; call: Call; cache: ParseCache },
): { file: TargetFile | undefined; findings: Finding[] } {
  const { secrets, findings } = parseSecrets(text, source, { ...(path !== undefined && { path }), call });
  const read = secrets.map((secret) => ({ secret, ...readPeerFile(secret, source, cache) }));
  findings.push(...read.flatMap((one) => one.findings));
  const found = read.flatMap(({ secret, peers }) =>
    peers.filter(({ facts, name }) => facts.name === name).map((peer) => ({ secret, peer })),
  );
  const [only, ...others] = found;
  if (others.length > 0) {
    const problem = `contains ${found.length} clusters, but only one can be the target`;
    findings.push(finding("unreadable", { source }, { problem }));
  } else if (!only && !hasErrors(findings)) {
    const command = extractCommand(path, { keyless: false });
    findings.push(finding("target-unknown", { source }, { fact: "the annotations of extract-secret", command }));
  }
  if (!only || hasErrors(findings)) return { file: undefined, findings };
  const targetFacts = readTargetFacts(only.secret.metadata?.annotations ?? {});
  return { file: { source, path, peer: only.peer, targetFacts }, findings };
}

/** Returns the command that extracts a file again; the context is a placeholder, since it may have any name. */
function extractCommand(path: string | undefined, { keyless }: { keyless: boolean }): string {
  const file = path === undefined ? "FILE" : shellQuotePath(path);
  return `extract-secret --context CONTEXT${keyless ? " --keyless" : ""} --output-file ${file}`;
}

export interface FileTargetOptions {
  /** Overrides the namespace in the file. */
  namespace?: string | undefined;
  existing: ExistingObjects;
  cache: ParseCache;
}

/** Returns the namespace of a target: that in its file, else the usual one of Cilium. */
export function namespaceOf({ peer }: Pick<TargetFile, "peer">, given?: string): string {
  return given ?? peer.facts.namespace ?? DEFAULT_NAMESPACE;
}

/**
 * Builds a target from its file. Facts that the files of earlier versions lack are assumed as in Cilium's chart of its
 * version, with a finding for each. KVStoreMesh and the CA are not assumed: their absence is an error, with the command that
 * extracts the file again.
 *
 * @returns undefined as target if there are errors.
 */
export function targetFromFile(
  file: TargetFile,
  options: FileTargetOptions,
): { target: Target | undefined; findings: Finding[] } {
  const { peer } = file;
  const { facts } = peer;
  const { existing, cache } = options;
  const reader = new FactReader(file);
  const namespace = namespaceOf(file, options.namespace);
  if (options.namespace === undefined && facts.namespace === undefined) {
    reader.assume("the namespace of Cilium", DEFAULT_NAMESPACE, { ofChart: false });
  }
  if (facts.kvstoreMesh === undefined) reader.refuse("whether KVStoreMesh runs");
  const common = readCommonFiles(file, reader);
  const resolvers = readResolvers(file, existing, reader);
  const target: Target = {
    source: peer.name,
    namespace,
    facts: { ...facts, namespace },
    agentsSecret: existing.agentsSecret,
    kvstoremeshSecret: existing.kvstoremeshSecret,
    users: existing.users,
    takesUsers: readTakesUsers(file, reader),
    common,
    ...readAgentFiles(file, common, reader),
    clientCertificate: readClientCertificate(file, reader),
    resolvers,
    aliases: collectAliases(existing.workloads.map(({ hostAliases }) => hostAliases)),
    cache,
  };
  return { target: hasErrors(reader.findings) ? undefined : target, findings: reader.findings };
}

/** Collects the findings about facts that a file lacks. */
class FactReader {
  readonly findings: Finding[] = [];
  readonly #source: string;
  readonly #version: string | undefined;
  readonly #command: string;

  constructor({ source, path, peer }: TargetFile) {
    this.#source = source;
    this.#version = peer.facts.version;
    this.#command = extractCommand(path, { keyless: peer.client === "importer" });
  }

  /** Reports a fact that is assumed; with `ofChart`, by the chart of the target's version. */
  assume(fact: string, assumption: string, { ofChart = true } = {}): void {
    if (ofChart && this.#version === undefined) {
      this.refuse(fact);
      return;
    }
    const values = { fact, assumption, version: ofChart ? this.#version : undefined, command: this.#command };
    this.findings.push(finding("assumed", { source: this.#source }, values));
  }

  /** Reports a fact that is not assumed. */
  refuse(fact: string): void {
    this.findings.push(finding("target-unknown", { source: this.#source }, { fact, command: this.#command }));
  }
}

/** Charts mount the users ConfigMap since 1.14, unless authMode is legacy, the default up to 1.18. */
function readTakesUsers({ peer, targetFacts }: TargetFile, reader: FactReader): boolean {
  if (targetFacts.mountsUsers !== undefined) return targetFacts.mountsUsers;
  const { authMode, version } = peer.facts;
  const isLegacy = authMode === undefined ? versionAtLeast(version, "1.19") !== true : authMode === "legacy";
  const mounts = !isLegacy && versionAtLeast(version, "1.14") === true;
  reader.assume(
    `whether deployment/${APISERVER} mounts the users ConfigMap`,
    mounts ? "that it does" : "that it does not",
  );
  return mounts;
}

/** The operator reads peers too if an option of the chart is set, which files of earlier versions do not show. */
function readResolvers(
  { peer: { facts }, targetFacts: { configReaders } }: TargetFile,
  { workloads }: ExistingObjects,
  reader: FactReader,
): Workload[] {
  const resolvesInConfig = versionAtLeast(facts.version, "1.20") === true;
  const assumed: WorkloadName = facts.kvstoreMesh
    ? { kind: "Deployment", name: APISERVER }
    : { kind: "DaemonSet", name: AGENTS };
  if (configReaders === undefined && !resolvesInConfig) {
    reader.assume("which workloads connect to peers", describeObject(assumed.kind, assumed.name));
  }
  return (configReaders ?? [assumed]).map(({ kind, name }) => {
    const existing = workloads.find((one) => one.kind === kind && one.name === name);
    return { kind, name, hostAliases: existing?.hostAliases, object: existing?.object ?? {} };
  });
}

/** Charts mount the common files since 1.14, usually with the CA that signs the server certificate. */
function readCommonFiles({ peer, targetFacts }: TargetFile, reader: FactReader): CommonFiles | undefined {
  const { commonFiles, commonCa } = targetFacts;
  if (commonFiles !== undefined) return toCommonFiles(commonFiles, commonCa, peer);
  const isMounted = versionAtLeast(peer.facts.version, "1.14") === true;
  if (isMounted && caInFile(peer) === undefined) {
    reader.refuse("the CA of the cluster");
    return undefined;
  }
  reader.assume(
    "the origin of common-etcd-client*",
    isMounted ? "a Secret with the CA in the file" : "that they are not mounted",
  );
  return isMounted ? { ca: caInFile(peer) } : undefined;
}

/**
 * With KVStoreMesh, agents usually mount the same common files as the Deployment, and `local-etcd-client*` since 1.16.
 * Without KVStoreMesh, the common files are those of the agents, and they need no others.
 */
function readAgentFiles(
  { peer, targetFacts }: TargetFile,
  common: CommonFiles | undefined,
  reader: FactReader,
): Pick<Target, "agentsCommon" | "localMounted"> {
  const { agentsCommonFiles = "unknown", agentsCommonCa, mountsLocalFiles } = targetFacts;
  const { kvstoreMesh, version } = peer.facts;
  if (kvstoreMesh && mountsLocalFiles === undefined) {
    reader.assume(
      `which files daemonset/${AGENTS} mounts`,
      `those of deployment/${APISERVER}, and local-etcd-client* since 1.16`,
    );
  }
  return {
    agentsCommon: agentsCommonFiles === "unknown" ? common : toCommonFiles(agentsCommonFiles, agentsCommonCa, peer),
    localMounted: mountsLocalFiles ?? versionAtLeast(version, "1.16") === true,
  };
}

function toCommonFiles(origin: FilesOrigin, ca: CommonCa = "unknown", peer: Peer): CommonFiles | undefined {
  if (origin === "none" || origin === "unknown") return undefined;
  const pem = ca === "file" ? caInFile(peer) : ca === "unknown" ? undefined : ca.pem;
  if (origin === "secret") return { ca: pem };
  const { name: volume, type, listed } = origin;
  return { ca: pem, external: { kind: "external", volume, type }, listed };
}

function caInFile({ ca, facts }: Peer): string | undefined {
  return typeof ca === "object" ? ca.pem : facts.ca;
}

/** A file without it is keyless: extracted by an earlier version, or of a cluster whose certificate is in a volume. */
function readClientCertificate({ peer, targetFacts }: TargetFile, reader: FactReader): string | undefined {
  const found = targetFacts.clientCertificate ?? (typeof peer.client === "object" ? peer.client.cert : undefined);
  if (found === undefined && targetFacts.commonFiles === undefined) {
    reader.assume("the client certificate of the cluster", "that peers accept it if their file has no key", {
      ofChart: false,
    });
  }
  return found;
}
