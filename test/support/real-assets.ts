/** Finds the programs and charts that `make assets` builds. */
import { assetNames, findAsset } from "../servers/assets.mjs";

/** The minor versions of Cilium with a chart among the assets. */
export const CHART_VERSIONS = ["1.14", "1.15", "1.16", "1.17", "1.18", "1.19", "1.20"] as const;

/** Paths of the programs and the charts. */
export interface Assets {
  etcd: string;
  etcdctl: string;
  kubeApiserver: string;
  /** By minor version of Cilium. */
  clustermeshApiserver: { "1.20": string; "1.19": string };
  helm: string;
  kustomize: string;
  promtool: string;
  /** Folders of Cilium's charts, by minor version. */
  charts: Record<(typeof CHART_VERSIONS)[number], string>;
}

/** Versions with a clustermesh-apiserver. */
export type CiliumVersion = keyof Assets["clustermeshApiserver"];

/** Versions with a chart. */
export type ChartVersion = keyof Assets["charts"];

/**
 * Looks for the assets in KUBEBUILDER_ASSETS and then in the cache; undefined if one is missing.
 *
 * @throws Error if one is missing and REQUIRE_REAL_SERVERS=1 is set
 */
export function findAssets(): Assets | undefined {
  const paths = new Map(assetNames.map((name) => [name, findAsset(name)]));
  const missing = assetNames.filter((name) => !paths.get(name));
  if (missing.length > 0) {
    if (process.env.REQUIRE_REAL_SERVERS === "1")
      throw new Error(`missing assets: ${missing.join(", ")}; run make assets`);
    return undefined;
  }
  const path = (name: string) => paths.get(name) as string;
  return {
    etcd: path("etcd"),
    etcdctl: path("etcdctl"),
    kubeApiserver: path("kube-apiserver"),
    clustermeshApiserver: { "1.20": path("clustermesh-apiserver-1.20"), "1.19": path("clustermesh-apiserver-1.19") },
    helm: path("helm"),
    kustomize: path("kustomize"),
    promtool: path("promtool"),
    charts: Object.fromEntries(
      CHART_VERSIONS.map((version) => [version, path(`cilium-chart-${version}`)]),
    ) as Assets["charts"],
  };
}

/** Returns the option `skip` of a test: false if the assets exist, else the reason. */
export function withoutRealServers(): string | false {
  return findAssets() ? false : "real servers not found; build them with make assets";
}

/** @throws Error if an asset is missing */
export function realAssets(): Assets {
  const assets = findAssets();
  if (!assets) throw new Error("real servers not found; build them with make assets");
  return assets;
}
