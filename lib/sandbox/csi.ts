/** Certificates that CSI volumes bring: what people add to the chart's workloads where no Secret holds them. */
import type { Values } from "./description.ts";

type Fields = Record<string, unknown>;

/** The cluster's own files in Cilium's folder, by what they are called before `-etcd-client`. */
type OwnFiles = "common" | "local";

/** What the agents have there; `local` for their own cluster's copy. */
export function agentFiles(v: Values): OwnFiles[] {
  return v.since("1.16") && v.kvstoremesh ? ["common", "local"] : ["common"];
}

/** `extraVolumes`: a volume for each certificate. */
export function csiVolumes(v: Values, files: readonly OwnFiles[]): Fields[] {
  const { csiDriver: driver } = v;
  if (driver === undefined) return [];
  const names = { common: v.authMode === "cluster" ? `remote-${v.name}` : "remote", local: `local-${v.name}` };
  return files.map((file) => ({ name: `${file}-etcd-client`, ...csiVolume(driver, names[file]) }));
}

/** A volume with one certificate, its key and the CA. */
export function csiVolume(driver: string, commonName: string): Fields {
  const volumeAttributes = { [`${driver}/issuer-name`]: "mesh", [`${driver}/common-name`]: commonName };
  return { csi: { driver, readOnly: true, volumeAttributes } };
}

/** `extraVolumeMounts`: their files over Cilium's folder, with the CA where no bundle brings it. */
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
