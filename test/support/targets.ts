/** Targets and peers for tests of pure code, as the chart of each version configures them. */
import type { V1Secret } from "@kubernetes/client-node";
import type { PlanOptions } from "../../lib/import/plan/plan.ts";
import type { Target, Workload } from "../../lib/import/plan/target.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import {
  AGENTS_SECRET,
  type ClusterFacts,
  type KVSTOREMESH_SECRET,
  type Peer,
  versionAtLeast,
} from "../../lib/peer/peer.ts";
import { ParseCache } from "../../lib/util/parse-cache.ts";
import { caOf, clientOf } from "./material.ts";

export const VERSIONS = ["1.10", "1.11", "1.12", "1.13", "1.14", "1.15", "1.16", "1.17", "1.18", "1.19", "1.20"];

export const OPTIONS: PlanOptions = { tls: "auto", users: true, restarts: "deployments", now: new Date() };

/** Returns a target without peers and with its own CA, as the chart of a version configures it. */
export function targetOf(
  version: string,
  { kvstoreMesh = false, facts = {}, ...overrides }: Partial<Omit<Target, "facts">> & TargetOptions = {},
): Target {
  const atLeast = (minimum: string) => versionAtLeast(version, minimum) === true;
  const ca = caOf("own");
  const resolver: Workload = kvstoreMesh
    ? { kind: "Deployment", name: "clustermesh-apiserver", hostAliases: undefined, object: {} }
    : { kind: "DaemonSet", name: "cilium", hostAliases: undefined, object: {} };
  return {
    source: "own",
    namespace: "kube-system",
    facts: { name: "own", id: 1, maxConnectedClusters: 255, version: `${version}.3`, kvstoreMesh, ...facts },
    agentsSecret: undefined,
    kvstoremeshSecret: undefined,
    users: undefined,
    takesUsers: atLeast("1.14"),
    common: atLeast("1.14") ? { ca: ca.cert } : undefined,
    agentsCommon: atLeast("1.14") ? { ca: ca.cert } : undefined,
    localMounted: kvstoreMesh && atLeast("1.16"),
    clientCertificate: clientOf(ca).cert,
    resolvers: atLeast("1.20") ? [] : [resolver],
    aliases: [],
    cache: new ParseCache(),
    ...overrides,
  };
}

interface TargetOptions {
  kvstoreMesh?: boolean;
  /** Overrides of the default facts. */
  facts?: ClusterFacts;
}

/** Returns a peer with its own CA, as extract-secret writes it. */
export function peerOf(name: string, id = 2, overrides: Partial<Peer> = {}): SourcedPeer {
  const peer: Peer = {
    name,
    endpoints: [`https://${name}.mesh.cilium.io:32379`],
    hostAliases: [{ hostname: `${name}.mesh.cilium.io`, ips: [`10.0.${id >> 8}.${id & 255}`] }],
    ca: overrides.ca ?? { pem: caOf(name).cert },
    client: overrides.client ?? clientOf(caOf(name)),
    facts: { name, id, maxConnectedClusters: 255 },
    ...overrides,
  };
  return { peer, source: `${name}-secret.json` };
}

/** Returns a Secret with these files. */
export function secretOf(
  files: Readonly<Record<string, string | Buffer>>,
  annotations: Record<string, string> = {},
  name: typeof AGENTS_SECRET | typeof KVSTOREMESH_SECRET = AGENTS_SECRET,
): V1Secret {
  const data = Object.entries(files).map(([key, content]) => [key, Buffer.from(content as Buffer).toString("base64")]);
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace: "kube-system", resourceVersion: "7", annotations },
    data: Object.fromEntries(data),
  };
}

/** Returns the decoded files of a Secret. */
export function textsOf(secret: V1Secret | undefined): Record<string, string> {
  const entries = Object.entries(secret?.data ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
}

/** Returns an etcd config with files below the mount path. */
export function configText(
  endpoint: string,
  [ca, cert, key]: readonly [string | undefined, string, string],
  more = "",
): string {
  const path = (field: string, name: string | undefined) =>
    name === undefined ? "" : `${field}: /var/lib/cilium/clustermesh/${name}\n`;
  return `endpoints:\n- ${endpoint}\n${path("trusted-ca-file", ca)}${path("key-file", key)}${path("cert-file", cert)}${more}`;
}

export const COMMON = ["common-etcd-client-ca.crt", "common-etcd-client.crt", "common-etcd-client.key"] as const;
export const LOCAL = ["local-etcd-client-ca.crt", "local-etcd-client.crt", "local-etcd-client.key"] as const;
