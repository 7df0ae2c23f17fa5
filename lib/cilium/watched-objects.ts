/** The objects of an installation on which its configs and those of its importers depend. Pure. */
import type { KubernetesObject } from "@kubernetes/client-node";
import { configMaps, daemonSets, deployments, nodes, type Resource, secrets, services } from "../kube/api.ts";
import { AGENTS_SECRET, APISERVER, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../peer/peer.ts";
import { findCertificateSources } from "./certificate-sources.ts";
import type { Installation } from "./installation.ts";
import { AGENTS, CILIUM_CONFIG, OLD_REMOTE_CERT, OPERATOR, REMOTE_CERT, SERVER_CERT } from "./object-names.ts";
import { COMMON_NAMES, type MountedFolder } from "./volumes.ts";

export interface WatchedObject {
  resource: Resource<KubernetesObject>;
  /** Undefined for all objects of a resource without a namespace. */
  name?: string;
  namespace?: string;
  /** `spec`: changes of the status do not matter; `any`: every change does. */
  part: "spec" | "any";
}

/**
 * Lists the objects to watch: everything that an extraction or an import of the cluster reads and that changes without a
 * restart of its workloads. Nodes are included only if the Service has node ports.
 */
export function watchedObjects(installation: Installation): WatchedObject[] {
  const { namespace, deployment, folders } = installation;
  const mounted = Object.values(folders).flatMap(mountedCertificates);
  const { server } = findCertificateSources(deployment, folders);
  const serverSecret = server?.kind === "Secret" ? server.object : SERVER_CERT;
  const named = (resource: Resource<KubernetesObject>, names: Iterable<string>, part: WatchedObject["part"]) =>
    [...new Set(names)].map((name): WatchedObject => ({ resource, namespace, name, part }));
  const namesOf = (kind: "Secret" | "ConfigMap") =>
    mounted.filter((one) => one.kind === kind).map(({ object }) => object);
  const hasRemote = installation.remoteCertificate !== undefined;
  return [
    ...named(configMaps, [CILIUM_CONFIG, USERS_CONFIG_MAP, ...namesOf("ConfigMap")], "any"),
    ...named(services, [APISERVER], "any"),
    ...named(deployments, [APISERVER, ...(installation.operator ? [OPERATOR] : [])], "spec"),
    ...named(daemonSets, [AGENTS], "spec"),
    ...named(
      secrets,
      [
        ...[AGENTS_SECRET, KVSTOREMESH_SECRET, REMOTE_CERT, serverSecret, ...namesOf("Secret")],
        ...(hasRemote ? [] : [OLD_REMOTE_CERT]),
      ],
      "any",
    ),
    ...(usesNodeAddresses(installation) ? [{ resource: nodes, part: "any" as const }] : []),
  ];
}

/** Whether peers reach the cluster by the addresses of its nodes. */
export function usesNodeAddresses(installation: Installation): boolean {
  return installation.facts.nodePort !== undefined && installation.service()?.spec?.type === "NodePort";
}

function mountedCertificates(folder: MountedFolder | undefined): { kind: "Secret" | "ConfigMap"; object: string }[] {
  const sources = Object.values(COMMON_NAMES).map((name) => folder?.files.get(name));
  return sources.flatMap((source) => (source && source.kind !== "external" ? [source] : []));
}
