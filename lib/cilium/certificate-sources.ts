/** The certificates of an installation: the objects and volumes that provide them, and their readable contents. */
import type { V1ConfigMap, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { configMaps, type KubernetesApi, secrets } from "../kube/api.ts";
import { type Attempt, attempt, isForbidden, unwrapUnlessForbidden } from "../kube/attempt.ts";
import type { ClusterFacts } from "../peer/peer.ts";
import type { RenewalMethod } from "../peer/renewal.ts";
import { isSignedBy } from "../x509/chain.ts";
import { covers } from "../x509/names.ts";
import { hasPem, PemError } from "../x509/pem.ts";
import { CA_CERT, OLD_REMOTE_CERT, REMOTE_CERT, SERVER_CERT } from "./object-names.ts";
import { detectRenewalMethod } from "./renewal-method.ts";
import { chartServerNames, readServerNames } from "./server-names.ts";
import {
  COMMON_NAMES,
  type ExternalSource,
  type FileSource,
  findFileSource,
  findMountedFile,
  type MountedFolder,
  type ObjectSource,
  podTemplateOf,
} from "./volumes.ts";

/** Cilium's clustermesh directory as mounted by agents, operator and the kvstoremesh container. */
export type MountedFolders = Record<"agents" | "operator" | "kvstoremesh", MountedFolder | undefined>;

/** The sources of the certificates that peers depend on. */
export interface CertificateSources {
  /** The directory of the workload that connects to the peers: kvstoremesh if it runs, else the agents. */
  reader: MountedFolder | undefined;
  /** The client certificate that the cluster presents to peers. */
  client: FileSource | undefined;
  /** The server certificate of the etcd container. */
  server: FileSource | undefined;
}

/**
 * Finds the sources of the certificates that peers depend on.
 *
 * The path of the server certificate is the `--cert-file` argument of the etcd container, by default that of the chart.
 */
export function findCertificateSources(deployment: V1Deployment, folders: MountedFolders): CertificateSources {
  const template = podTemplateOf(deployment);
  const containers = template.spec?.containers ?? [];
  const reader = containers.some(({ name }) => name === "kvstoremesh") ? folders.kvstoremesh : folders.agents;
  const etcd = containers.find(({ name }) => name === "etcd");
  const args = [...(etcd?.command ?? []), ...(etcd?.args ?? [])];
  const index = args.findIndex((arg) => /^--?cert-file(?:=|$)/.test(arg));
  const [, inline] = /=(.*)/s.exec(args[index] ?? "") ?? [];
  const path = (index < 0 ? undefined : (inline ?? args[index + 1])) ?? "/var/lib/etcd-secrets/tls.crt";
  return { reader, client: findFileSource(reader, COMMON_NAMES.cert), server: findMountedFile(template, "etcd", path) };
}

/**
 * Finds the external volume that provides the certificates: that of the client certificate, or, if the source of the
 * client certificate is unknown, that of the server certificate.
 *
 * @param hasSecret - whether a Secret contains the client certificate, or cannot be read and may contain it.
 * @returns undefined if the certificates are in Secrets.
 */
export function findExternalSource(
  { client, server }: CertificateSources,
  hasSecret: boolean,
): ExternalSource | undefined {
  if (client?.kind === "external") return client;
  return !hasSecret && server?.kind === "external" ? server : undefined;
}

/**
 * Reads the Secret with the client certificate that the cluster presents to peers: the Secret mounted by a workload, else
 * the chart's, else the one named by older installs through the CLI.
 *
 * @param chartSecret - the result of reading the chart's Secret.
 * @returns undefined as value if the workload that connects to peers mounts an external volume: a Secret is then unused.
 */
export async function readRemoteSecret(
  api: KubernetesApi,
  namespace: string,
  folders: MountedFolders,
  { client }: CertificateSources,
  chartSecret: Attempt<V1Secret | undefined>,
): Promise<Attempt<V1Secret | undefined>> {
  if (client?.kind === "external") return { value: undefined };
  const mounted = Object.values(folders).map((folder) => findObjectSource(folder, COMMON_NAMES.cert)?.object);
  const others = new Set(mounted.filter((name) => name !== undefined && name !== REMOTE_CERT) as string[]);
  const read = (name: string) => attempt(api.get(secrets, namespace, name));
  const results = await Promise.all([...others].map(read));
  const isMissing = "value" in chartSecret && chartSecret.value === undefined;
  results.push(isMissing ? await read(OLD_REMOTE_CERT) : chartSecret);
  const found = results.find((result) => "value" in result && result.value !== undefined);
  return found ?? results.find((result) => "error" in result) ?? chartSecret;
}

function findObjectSource(folder: MountedFolder | undefined, name: string): ObjectSource | undefined {
  const source = folder?.files.get(name);
  return source?.kind === "external" ? undefined : source;
}

/** Objects by kind and name; undefined for an object that does not exist or cannot be read (403). */
export type ObjectContents = Map<string, V1Secret | V1ConfigMap | undefined>;

const toObjectKey = ({ kind, object }: Pick<ObjectSource, "kind" | "object">) => `${kind}/${object}`;

/**
 * Reads the objects that provide the CA files of the directories, concurrently.
 *
 * @param remote - the result of reading the Secret with the client certificate.
 */
export async function readReferencedObjects(
  api: KubernetesApi,
  namespace: string,
  folders: MountedFolders,
  remote: Attempt<V1Secret | undefined>,
): Promise<ObjectContents> {
  const requests = new Map<string, Promise<Attempt<V1Secret | V1ConfigMap | undefined>>>([
    [toObjectKey({ kind: "Secret", object: REMOTE_CERT }), Promise.resolve(remote)],
  ]);
  for (const source of listCaSources(folders)) {
    if (requests.has(toObjectKey(source))) continue;
    const request: Promise<V1Secret | V1ConfigMap | undefined> =
      source.kind === "Secret"
        ? api.get(secrets, namespace, source.object)
        : api.get(configMaps, namespace, source.object);
    requests.set(toObjectKey(source), attempt(request));
  }
  const objects: ObjectContents = new Map();
  for (const [key, result] of requests) objects.set(key, unwrapUnlessForbidden(await result));
  return objects;
}

/** Lists the sources of the CA that workloads verify peers with, agents first. */
function listCaSources(folders: MountedFolders): ObjectSource[] {
  return [folders.agents, folders.kvstoremesh, folders.operator]
    .map((folder) => findObjectSource(folder, COMMON_NAMES.ca))
    .filter((source) => source !== undefined);
}

/** Finds the text of a file; undefined if its source is external or its object was not read. */
export function findContent(objects: ObjectContents, source: FileSource): string | undefined {
  if (source.kind === "external") return undefined;
  const object = objects.get(toObjectKey(source));
  return source.kind === "ConfigMap" ? object?.data?.[source.key] : decodeValue(object as V1Secret, source.key);
}

/** Decodes one key of a Secret; undefined if it is missing or empty. */
export function decodeValue(secret: V1Secret | undefined, key: string): string | undefined {
  const value = secret?.data?.[key];
  return value ? Buffer.from(value, "base64").toString() : undefined;
}

/** A certificate stored in a Secret, without its key. */
export interface StoredCertificate {
  pem: string;
  /** Undefined if the metadata of the Secret does not show it. */
  method: RenewalMethod | undefined;
  /** When the data of the Secret was last written; undefined if its managed fields do not show it. */
  written: Date | undefined;
}

/** Decodes the certificate stored under one key of a Secret; undefined if it is missing. */
export function decodeCertificate(secret: V1Secret | undefined, key: string): StoredCertificate | undefined {
  const pem = decodeValue(secret, key);
  if (pem === undefined) return undefined;
  return { pem, method: detectRenewalMethod(secret?.metadata), written: lastWriteOf(secret) };
}

function lastWriteOf(secret: V1Secret | undefined): Date | undefined {
  const times = (secret?.metadata?.managedFields ?? []).flatMap(({ time, fieldsV1 }) =>
    // A string at runtime: nothing converts it to the declared Date.
    time !== undefined && fieldsV1 !== undefined && "f:data" in fieldsV1 ? [Date.parse(String(time))] : [],
  );
  const last = Math.max(...times.filter((time) => !Number.isNaN(time)));
  return Number.isFinite(last) ? new Date(last) : undefined;
}

/**
 * Reads the server certificate from the Secret that the etcd container mounts.
 *
 * @param chartCertificate - the result of reading it from the chart's Secret.
 */
export async function readServerCertificate(
  api: KubernetesApi,
  namespace: string,
  { server }: CertificateSources,
  chartCertificate: Attempt<StoredCertificate | undefined>,
): Promise<Attempt<StoredCertificate | undefined>> {
  if (server?.kind === "external") return { value: undefined };
  if (server?.kind !== "Secret" || (server.object === SERVER_CERT && server.key === "tls.crt")) return chartCertificate;
  return attempt(api.get(secrets, namespace, server.object).then((secret) => decodeCertificate(secret, server.key)));
}

/**
 * Resolves the names covered by the server certificate: the given ones, else those of the certificate, else, if it is
 * missing or cannot be read, those of the chart.
 *
 * @param given - the names specified by the user; may be empty.
 * @returns the names; the certificate, if it is readable; and its volume, if it is external and the names are assumed.
 */
export function resolveServerNames(
  result: Attempt<StoredCertificate | undefined>,
  { server }: CertificateSources,
  facts: ClusterFacts,
  given: readonly string[],
): { stored?: StoredCertificate; names: string[]; unreadable?: ExternalSource; warnings: string[] } {
  const { object, key } = server?.kind === "Secret" ? server : { object: SERVER_CERT, key: "tls.crt" };
  const secret = `secret/${object}`;
  const stored = unwrapUnlessForbidden(result);
  let problem = isForbidden(result) ? `cannot read ${secret}: forbidden` : `${secret} not found`;
  if (stored !== undefined) {
    try {
      const names = readServerNames(stored.pem);
      const uncovered = given.filter((name) => !names.includes(name) && !covers(names, name));
      const warnings =
        uncovered.length > 0 ? [`the server certificate in ${secret} does not cover ${uncovered.join(", ")}`] : [];
      return { stored, names: given.length > 0 ? [...given] : names, warnings };
    } catch (error) {
      if (!(error instanceof PemError)) throw error;
      problem = `${key} of ${secret} ${error.message}`;
    }
  }
  if (given.length > 0) return { names: [...given], warnings: [] };
  const names = chartServerNames(facts);
  if (server?.kind === "external") return { names, unreadable: server, warnings: [] };
  return { names, warnings: [`${problem}; assuming the server names of the chart: ${names.join(", ")}`] };
}

/**
 * Finds the CA that peers verify the server with: the first candidate that signed the server certificate. Candidates are
 * the CA files mounted by the workloads, then `ca.crt` of the Secret with the client certificate, then the Secret of charts
 * up to 1.14. With external certificates, only the workload that connects to peers counts.
 *
 * @param server - the server certificate (PEM), if it could be read.
 * @param remote - the Secret with the client certificate.
 * @param readSecret - reads a further Secret by its name.
 * @returns PEM; if none signed the server certificate, the first candidate, or undefined for external certificates.
 */
export async function findServerCa(
  server: string | undefined,
  {
    folders,
    contentOf,
    external,
  }: {
    folders: MountedFolders;
    contentOf(source: FileSource): string | undefined;
    external: ExternalSource | undefined;
  },
  { reader }: CertificateSources,
  remote: V1Secret | undefined,
  readSecret: (name: string) => Promise<V1Secret | undefined>,
): Promise<string | undefined> {
  const sources = external ? [findObjectSource(reader, COMMON_NAMES.ca)] : listCaSources(folders);
  const candidates = [...sources.map((source) => source && contentOf(source)), decodeValue(remote, "ca.crt")].filter(
    (pem) => pem !== undefined && hasPem(pem),
  );
  const isIssuer = (pem: string | undefined) => pem !== undefined && (server === undefined || isSignedBy(server, pem));
  const issuer = candidates.find(isIssuer);
  if (issuer !== undefined || external) return issuer;
  const legacy = decodeValue(unwrapUnlessForbidden(await attempt(readSecret(CA_CERT))), "ca.crt");
  return isIssuer(legacy) ? legacy : (candidates[0] ?? legacy);
}
