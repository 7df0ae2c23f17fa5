/** What `make assets` built: programs, and the folders of Cilium's charts. */
import { assetNames, findAsset } from "../servers/assets.mjs";

/** Paths of the programs and the charts. */
export interface Assets {
  etcd: string;
  etcdctl: string;
  kubeApiserver: string;
  /** Cilium's own, by minor version. */
  clustermeshApiserver: { "1.20": string; "1.19": string };
  helm: string;
  /** Folders of Cilium's charts, by minor version. */
  charts: { "1.20": string; "1.18": string; "1.14": string };
}

/** Versions of Cilium that are there to judge. */
export type CiliumVersion = keyof Assets["clustermeshApiserver"];

/** Versions of Cilium whose charts are there. */
export type ChartVersion = keyof Assets["charts"];

/**
 * Looks for the real servers, in KUBEBUILDER_ASSETS and then in the cache; undefined where one is missing.
 *
 * @throws where one is missing and REQUIRE_REAL_SERVERS=1 is set
 */
export function findAssets(): Assets | undefined {
  const paths = new Map(assetNames.map((name) => [name, findAsset(name)]));
  const missing = assetNames.filter((name) => !paths.get(name));
  if (missing.length > 0) {
    if (process.env.REQUIRE_REAL_SERVERS === "1") throw new Error(`${missing.join(", ")} missing: run \`make assets\``);
    return undefined;
  }
  const path = (name: string) => paths.get(name) as string;
  return {
    etcd: path("etcd"),
    etcdctl: path("etcdctl"),
    kubeApiserver: path("kube-apiserver"),
    clustermeshApiserver: { "1.20": path("clustermesh-apiserver-1.20"), "1.19": path("clustermesh-apiserver-1.19") },
    helm: path("helm"),
    charts: { "1.20": path("cilium-chart-1.20"), "1.18": path("cilium-chart-1.18"), "1.14": path("cilium-chart-1.14") },
  };
}

/** For the option `skip` of a test: false where the real servers are there, else the line that says why not. */
export function withoutRealServers(): string | false {
  return findAssets() ? false : "not run: no real servers here, `make assets` builds them";
}

/** The real servers, for a test that isn't skipped. Throws where there are none. */
export function realAssets(): Assets {
  const assets = findAssets();
  if (!assets) throw new Error("no real servers here: run `make assets`");
  return assets;
}
