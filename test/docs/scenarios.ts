/** The embedded clusters that pages start with, and what happens to them while a page is run. */
import { defaultClusters, type Sandbox, type SandboxCluster, servingClusters } from "../../lib/sandbox/sandbox.ts";

/** Named in `<!-- docs: sandbox NAME -->`. */
export const SCENARIOS: Readonly<Record<string, () => SandboxCluster[] | Promise<SandboxCluster[]>>> = {
  /** Cilium 1.14 without KVStoreMesh, 1.18 and 1.20 with it; no etcd listens. */
  three: () => defaultClusters("ec"),
  /** The same with etcds that listen on loopback addresses. */
  "three-serving": () => servingClusters({ key: "ec" }),
};

/** Named in `<!-- docs: event NAME -->`. */
export const EVENTS: Readonly<Record<string, (sandbox: Sandbox) => void>> = {};
