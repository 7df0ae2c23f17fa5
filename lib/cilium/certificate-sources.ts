/** The certificates of an installation: where its workloads take them from, and what of them can be read. */
import type { V1ConfigMap, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { configMaps, type KubernetesApi, secrets } from "../kube/api.ts";
import { type Attempt, attempt, isForbidden, unwrapUnlessForbidden } from "../kube/attempt.ts";
import type { ClusterFacts } from "../peer/peer.ts";
import type { RenewalMethod } from "../peer/renewal.ts";
import { isSignedBy } from "../x509/chain.ts";
import { covers } from "../x509/names.ts";
import { hasPem, PemError } from "../x509/pem.ts";
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

export const REMOTE_CERT = "clustermesh-apiserver-remote-cert";
export const SERVER_CERT = "clustermesh-apiserver-server-cert";
/** Charts up to 1.14 keep the CA there, with its private key: it is read only where nothing else has the CA. */
const CA_CERT = "clustermesh-apiserver-ca-cert";

/** Cilium's folder as agents, operator and the kvstoremesh container have it. */
export type MountedFolders = Record<"agents" | "operator" | "kvstoremesh", MountedFolder | undefined>;

/** Where the workloads take the certificates from that others have to do with. */
export interface CertificateSources {
  /** The folder of the workload that reaches the peers: kvstoremesh where it runs, else the agents. */
  reader: MountedFolder | undefined;
  /** The client certificate that the cluster shows to others. */
  client: FileSource | undefined;
  /** The server certificate of its etcd. */
  server: FileSource | undefined;
}

export function findCertificateSources(deployment: V1Deployment, folders: MountedFolders): CertificateSources {
  const template = podTemplateOf(deployment);
  const containers = template.spec?.containers ?? [];
  const reader = containers.some(({ name }) => name === "kvstoremesh") ? folders.kvstoremesh : folders.agents;
  const etcd = containers.find(({ name }) => name === "etcd");
  const words = [...(etcd?.command ?? []), ...(etcd?.args ?? [])];
  const at = words.findIndex((word) => /^--?cert-file(?:=|$)/.test(word));
  const [, joined] = /=(.*)/s.exec(words[at] ?? "") ?? [];
  const path = (at < 0 ? undefined : (joined ?? words[at + 1])) ?? "/var/lib/etcd-secrets/tls.crt";
  return { reader, client: findFileSource(reader, COMMON_NAMES.cert), server: findMountedFile(template, "etcd", path) };
}

/**
 * The volume that brings the certificates, where they are in no Secret: the one for the client certificate, or, where
 * nothing tells of that one, the server's.
 *
 * @param hasSecret whether a Secret has the client certificate, or may have it and may not be read.
 */
export function findExternalSource(
  { client, server }: CertificateSources,
  hasSecret: boolean,
): ExternalSource | undefined {
  if (client?.kind === "external") return client;
  return !hasSecret && server?.kind === "external" ? server : undefined;
}

/**
 * The Secret with the certificate that the cluster shows to others: the one that a workload's volume names, or the
 * usual one, or, where there is neither, the one of older installs. None where the volume of the workload that shows it
 * takes it from elsewhere: what a Secret holds then is out of use.
 */
export async function readRemoteSecret(
  api: KubernetesApi,
  namespace: string,
  folders: MountedFolders,
  { client }: CertificateSources,
  usual: Attempt<V1Secret | undefined>,
): Promise<Attempt<V1Secret | undefined>> {
  if (client?.kind === "external") return { value: undefined };
  const mounted = Object.values(folders).map((folder) => findObjectSource(folder, COMMON_NAMES.cert)?.object);
  const others = new Set(mounted.filter((name) => name !== undefined && name !== REMOTE_CERT) as string[]);
  const read = (name: string) => attempt(api.get(secrets, namespace, name));
  const found = await Promise.all([...others].map(read));
  if (isAbsent(usual)) found.push(await read(`${REMOTE_CERT}s`));
  else found.push(usual);
  return found.find((result) => !isAbsent(result) && "value" in result) ?? found.find(isError) ?? usual;
}

const isError = (result: Attempt<unknown>) => "error" in result;
const isAbsent = (result: Attempt<unknown>) => "value" in result && result.value === undefined;

function findObjectSource(folder: MountedFolder | undefined, name: string): ObjectSource | undefined {
  const source = folder?.files.get(name);
  return source?.kind === "external" ? undefined : source;
}

/** Objects that files come from, as they were read; undefined where one is not there or may not be read. */
export type ObjectContents = Map<string, V1Secret | V1ConfigMap | undefined>;

const toObjectKey = ({ kind, object }: Pick<ObjectSource, "kind" | "object">) => `${kind}/${object}`;

/** The objects that the folders take their CA files from; those that were not asked for yet, in a second round. */
export async function readReferencedObjects(
  api: KubernetesApi,
  namespace: string,
  folders: MountedFolders,
  remote: Attempt<V1Secret | undefined>,
): Promise<ObjectContents> {
  const objects = new Map<string, Promise<Attempt<V1Secret | V1ConfigMap | undefined>>>([
    [toObjectKey({ kind: "Secret", object: REMOTE_CERT }), Promise.resolve(remote)],
  ]);
  for (const source of listCaSources(folders)) {
    if (objects.has(toObjectKey(source))) continue;
    const read: Promise<V1Secret | V1ConfigMap | undefined> =
      source.kind === "Secret"
        ? api.get(secrets, namespace, source.object)
        : api.get(configMaps, namespace, source.object);
    objects.set(toObjectKey(source), attempt(read));
  }
  const all: ObjectContents = new Map();
  for (const [key, result] of objects) all.set(key, unwrapUnlessForbidden(await result));
  return all;
}

/** Where workloads take the CA from by which they verify others: agents first. */
function listCaSources(folders: MountedFolders): ObjectSource[] {
  return [folders.agents, folders.kvstoremesh, folders.operator]
    .map((folder) => findObjectSource(folder, COMMON_NAMES.ca))
    .filter((source) => source !== undefined);
}

/** The text of a file whose object was read; undefined where it was not, or is external. */
export function findContent(objects: ObjectContents, source: FileSource): string | undefined {
  if (source.kind === "external") return undefined;
  const object = objects.get(toObjectKey(source));
  return source.kind === "ConfigMap" ? object?.data?.[source.key] : decodeValue(object as V1Secret, source.key);
}

export function decodeValue(secret: V1Secret | undefined, key: string): string | undefined {
  const value = secret?.data?.[key];
  return value ? Buffer.from(value, "base64").toString() : undefined;
}

/** A certificate as its Secret has it, without its key. */
export interface StoredCertificate {
  pem: string;
  /** What renews it, if the Secret tells. */
  method: RenewalMethod | undefined;
}

/** The certificate in a Secret; undefined if there is none. */
export function decodeCertificate(secret: V1Secret | undefined, key: string): StoredCertificate | undefined {
  const pem = decodeValue(secret, key);
  return pem === undefined ? undefined : { pem, method: detectRenewalMethod(secret?.metadata) };
}

/**
 * The server certificate from where the etcd container takes it.
 *
 * @param usual that of the chart's Secret, as it was asked for already.
 */
export async function readServerCertificate(
  api: KubernetesApi,
  namespace: string,
  { server }: CertificateSources,
  usual: Attempt<StoredCertificate | undefined>,
): Promise<Attempt<StoredCertificate | undefined>> {
  if (server?.kind === "external") return { value: undefined };
  if (server?.kind !== "Secret" || (server.object === SERVER_CERT && server.key === "tls.crt")) return usual;
  return attempt(api.get(secrets, namespace, server.object).then((secret) => decodeCertificate(secret, server.key)));
}

/**
 * The names that the server certificate covers: those that the user says, or the certificate, or, where it is not there
 * or may not be read, those of the chart.
 *
 * @param given what the user says; empty for nothing.
 * @returns the certificate too, where it can be read; and the volume that hides it, where the chart's names are
 *   taken for that reason.
 */
export function resolveServerNames(
  result: Attempt<StoredCertificate | undefined>,
  { server }: CertificateSources,
  facts: ClusterFacts,
  given: readonly string[],
): { held?: StoredCertificate; names: string[]; hiddenBy?: ExternalSource; warnings: string[] } {
  const { object, key } = server?.kind === "Secret" ? server : { object: SERVER_CERT, key: "tls.crt" };
  const secret = `Secret ${object}`;
  const held = unwrapUnlessForbidden(result);
  let problem: string | undefined;
  if (held !== undefined) {
    try {
      const names = readServerNames(held.pem);
      const others = given.filter((name) => !names.includes(name) && !covers(names, name));
      const warnings =
        others.length > 0 ? [`the server certificate in ${secret} does not cover ${others.join(", ")}`] : [];
      return { held, names: given.length > 0 ? [...given] : names, warnings };
    } catch (error) {
      if (!(error instanceof PemError)) throw error;
      problem = `${key} of ${secret} ${error.message}`;
    }
  }
  if (given.length > 0) return { names: [...given], warnings: [] };
  const names = chartServerNames(facts);
  if (server?.kind === "external") return { names, hiddenBy: server, warnings: [] };
  problem ??= `${secret} ${isForbidden(result) ? "may not be read" : "is not there"}`;
  const assumed = `${problem}, so the names that the chart gives the server certificate are taken: ${names.join(", ")}`;
  return { names, warnings: [assumed] };
}

/**
 * The CA by which others verify the server: where the workloads' volumes take it from, else the remote certificate's
 * `ca.crt`, else the Secret of charts up to 1.14; of these the first that did sign the server certificate. Where the
 * certificates come from elsewhere, only the volume of the workload that reaches peers counts.
 *
 * @param server the server certificate (PEM), if it could be read.
 * @param remote the Secret with the client certificate.
 * @param older reads the Secret of charts up to 1.14.
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
  older: (name: string) => Promise<V1Secret | undefined>,
): Promise<string | undefined> {
  const sources = external ? [findObjectSource(reader, COMMON_NAMES.ca)] : listCaSources(folders);
  const candidates = [...sources.map((source) => source && contentOf(source)), decodeValue(remote, "ca.crt")].filter(
    (pem) => pem !== undefined && hasPem(pem),
  );
  const good = server === undefined ? candidates[0] : candidates.find((pem) => isSignedBy(server, pem as string));
  if (good !== undefined || external) return good;
  const last = decodeValue(unwrapUnlessForbidden(await attempt(older(CA_CERT))), "ca.crt");
  return last !== undefined && (server === undefined || isSignedBy(server, last)) ? last : (candidates[0] ?? last);
}
