/** The workloads that read the peers' configs, and the cluster's own TLS files as they mount them. */
import type { V1DaemonSet, V1Deployment } from "@kubernetes/client-node";
import { AGENTS_SECRET } from "../peer/peer.ts";
import type { Installation } from "./installation.ts";
import { COMMON_NAMES, type ExternalSource, findFileSource, type MountedFolder } from "./volumes.ts";

/** The cluster's own `common-etcd-client*` files, as a workload mounts them. */
export interface CommonFiles {
  /** The CA (PEM), if it is readable. */
  ca?: string | undefined;
  /** The volume with the certificate if it is not a Secret: subject and issuer of the certificate are unknown. */
  external?: ExternalSource | undefined;
  /** Whether that volume lists its files; otherwise it is unknown whether it contains the certificate. */
  listed?: boolean;
}

/** Returns the directory of the workload that connects to the peers: kvstoremesh if it runs, else the agents. */
export function readerFolder({ facts, folders }: Installation): MountedFolder | undefined {
  return facts.kvstoreMesh ? folders.kvstoremesh : folders.agents;
}

/**
 * Finds the `common-etcd-client*` files in a directory. Their Secret is optional, so a mount does not imply that it exists.
 *
 * @returns undefined if they are not mounted, or do not exist.
 */
export function findCommonFiles(
  folder: MountedFolder | undefined,
  { contentOf, remoteCertificate, remoteCertificateError }: Installation,
): CommonFiles | undefined {
  const [cert, key, ca] = [COMMON_NAMES.cert, COMMON_NAMES.key, COMMON_NAMES.ca].map((name) =>
    findFileSource(folder, name),
  );
  if (cert?.kind === "external") {
    if (!key || !ca) return undefined;
    return { ca: contentOf(ca), external: cert, listed: folder?.files.has(COMMON_NAMES.cert) === true };
  }
  if (!cert || !(remoteCertificate ?? remoteCertificateError)) return undefined;
  return { ca: ca && contentOf(ca) };
}

/** Whether a directory of the agents has the `local-etcd-client*` files, with which they read their own cluster's etcd. */
export function mountsLocalFiles(folder: MountedFolder | undefined): boolean {
  return findFileSource(folder, "local-etcd-client.crt") !== undefined;
}

/** Returns the workloads that read the peers' configs, Deployments first: their restart needs no confirmation. */
export function findConfigReaders({
  facts,
  folders,
  deployment,
  operator,
  agents,
}: Installation): { kind: "Deployment" | "DaemonSet"; object: V1Deployment | V1DaemonSet }[] {
  if (facts.kvstoreMesh) return [{ kind: "Deployment", object: deployment }];
  const readsPeers = operator && folders.operator?.secrets.has(AGENTS_SECRET);
  return [
    ...(readsPeers ? [{ kind: "Deployment" as const, object: operator }] : []),
    ...(agents ? [{ kind: "DaemonSet" as const, object: agents }] : []),
  ];
}
