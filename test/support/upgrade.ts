/** The state of a cluster after an upgrade of Cilium. */
import assert from "node:assert/strict";
import { readPeers } from "../../lib/import/peer-files.ts";
import type { Member } from "./mesh.ts";

const PATH = "/api/v1/namespaces/kube-system/secrets";
const MOUNT = "/var/lib/cilium/clustermesh/";

/**
 * Puts a target into the state after an upgrade from 1.15: peers are configured for the agents, with host aliases in the
 * DaemonSet, and not for kvstoremesh.
 *
 * @param files extracted files with certificates; the target's own file is skipped
 * @param others further `data` of the Secret `cilium-clustermesh`
 * @returns the addresses by hostname in the DaemonSet's host aliases
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
    assert.ok(typeof ca === "object" && typeof client === "object", `${name} has certificates`);
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
