/** CSI volumes with certificates, added to the chart's workloads in place of Secrets. */
import type { Values } from "./description.ts";

type Fields = Record<string, unknown>;

/** The cluster's own certificates in Cilium's folder, by the prefix of their file names before `-etcd-client`. */
type OwnFiles = "common" | "local";

/** Returns the certificates of the agents; `local` is for KVStoreMesh's cache. */
export function agentFiles(v: Values): OwnFiles[] {
  return v.since("1.16") && v.kvstoremesh ? ["common", "local"] : ["common"];
}

/** Returns the chart's `extraVolumes`: one for each certificate. */
export function csiVolumes(v: Values, files: readonly OwnFiles[]): Fields[] {
  const { csiDriver: driver } = v;
  if (driver === undefined) return [];
  const names = { common: v.authMode === "cluster" ? `remote-${v.name}` : "remote", local: `local-${v.name}` };
  return files.map((file) => ({ name: `${file}-etcd-client`, ...csiVolume(driver, names[file]) }));
}

/** Returns a volume with a certificate, its key and the CA. */
export function csiVolume(driver: string, commonName: string): Fields {
  const volumeAttributes = { [`${driver}/issuer-name`]: "mesh", [`${driver}/common-name`]: commonName };
  return { csi: { driver, readOnly: true, volumeAttributes } };
}

/** Returns the chart's `extraVolumeMounts` in Cilium's folder; the CA is mounted unless there is a bundle. */
export function csiMounts(v: Values, files: readonly OwnFiles[], bundle: Values["caBundle"]): Fields[] {
  if (v.csiDriver === undefined) return [];
  const parts = { "tls.crt": ".crt", "tls.key": ".key", ...(bundle ? {} : { "ca.crt": "-ca.crt" }) };
  return files.flatMap((file) =>
    Object.entries(parts).map(([subPath, suffix]) => ({
      name: `${file}-etcd-client`,
      mountPath: `/var/lib/cilium/clustermesh/${file}-etcd-client${suffix}`,
      subPath,
      readOnly: true,
    })),
  );
}
