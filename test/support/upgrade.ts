/** What an upgrade of Cilium leaves behind in a cluster. */
import assert from "node:assert/strict";
import { readPeers } from "../../lib/import/peer-files.ts";
import type { Member } from "./mesh.ts";

const PATH = "/api/v1/namespaces/kube-system/secrets";
const MOUNT = "/var/lib/cilium/clustermesh/";

/**
 * Leaves a target as an upgrade from 1.15 leaves it: the chart's entries for the agents, whose names the DaemonSet resolves,
 * and none for kvstoremesh.
 *
 * @param files what was extracted from the clusters, with their own certificates; the target's own file is skipped.
 * @param others what else Secret `cilium-clustermesh` holds (its `data`).
 * @returns what the DaemonSet resolves.
 */
export async function simulateUpgrade(
  { api, name: own }: Member,
  files: readonly string[],
  others: Readonly<Record<string, string>> = {},
): Promise<Record<string, string[]>> {
  const { peers } = await readPeers(files);
  const data: Record<string, string> = { ...others };
  const hosts: Record<string, string[]> = {};
  for (const { peer } of peers.filter(({ peer }) => peer.name !== own)) {
    const { name, endpoints, hostAliases, ca, client } = peer;
    assert.ok(typeof ca === "object" && typeof client === "object", `${name} comes with its own certificates`);
    const stem = `${name}.etcd-client`;
    const texts = {
      [name]: `endpoints:\n- ${endpoints[0]}\ntrusted-ca-file: '${MOUNT}${stem}-ca.crt'\nkey-file: '${MOUNT}${stem}.key'\ncert-file: '${MOUNT}${stem}.crt'\n`,
      [`${stem}-ca.crt`]: ca.pem,
      [`${stem}.crt`]: client.cert,
      [`${stem}.key`]: client.key,
    };
    for (const [key, text] of Object.entries(texts)) data[key] = Buffer.from(text).toString("base64");
    for (const { hostname, ips } of hostAliases) hosts[hostname] = ips;
  }
  const metadata = { name: "cilium-clustermesh", namespace: "kube-system" };
  await api.ask("POST", PATH, { apiVersion: "v1", kind: "Secret", metadata, type: "Opaque", data });
  const hostAliases = Object.entries(hosts).flatMap(([name, ips]) => ips.map((ip) => ({ ip, hostnames: [name] })));
  const patch = { spec: { template: { spec: { hostAliases } } } };
  await api.ask("PATCH", "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium", patch);
  return hosts;
}
