/** The manifests of deploy/sync. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments, stringify } from "yaml";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { podOf } from "./job-manifests.ts";
import { realAssets } from "./real-assets.ts";
import { run } from "./real-process.ts";

export const SYNC_FOLDER = fileURLToPath(new URL("../../deploy/sync", import.meta.url));

/** The components that a kustomization can add. */
export const SYNC_COMPONENTS = ["networkpolicy", "poddisruptionbudget", "servicemonitor"] as const;

/** The permissions: each file, and the arguments of `rbac` that print it. */
export const PRINTED_SYNC_MANIFESTS: Readonly<Record<string, string[]>> = {
  "rbac.yaml": [
    ...["--for", "sync", "--clusters-from", "secrets", "--state-namespace", "clustermesh-secrets"],
    ...["--service-account", "clustermesh-sync"],
  ],
  "member/rbac.yaml": ["--for", "sync", "--namespace", "kube-system", "--service-account", "clustermesh-sync-member"],
};

/** Parses all documents of a YAML text. */
export function parseManifests(text: string): KubernetesObject[] {
  return parseAllDocuments(text).flatMap((document) => document.toJS() ?? []);
}

/** Returns the flags of Node in the pods of the Deployment. */
export function readSyncNodeOptions(): string {
  const [deployment] = parseManifests(readFileSync(join(SYNC_FOLDER, "deployment.yaml"), "utf8"));
  const [container] = (deployment && podOf(deployment)?.containers) ?? [];
  return container?.env?.find(({ name }) => name === "NODE_OPTIONS")?.value ?? "";
}

/**
 * Builds a kustomization of a folder of deploy/sync, as a user writes it.
 *
 * @param folder - an existing folder, in which the kustomization is written.
 * @param fields - its fields besides `resources`, and names of components.
 */
export async function buildSyncOverlay(
  folder: string,
  resource: string,
  { components = [], ...fields }: { components?: readonly string[]; [field: string]: unknown } = {},
): Promise<KubernetesObject[]> {
  const root = join(folder, `overlay-${resource || "base"}`);
  mkdirSync(root, { recursive: true });
  const kustomization = {
    ...fields,
    resources: [relative(root, join(SYNC_FOLDER, resource))],
    components: components.map((name) => relative(root, join(SYNC_FOLDER, "components", name))),
  };
  writeFileSync(join(root, "kustomization.yaml"), stringify(kustomization));
  const { code, stdout, stderr } = await run(realAssets().kustomize, ["build", root], { folder });
  if (code !== 0) throw new Error(`kustomize build ${root}: ${stderr}`);
  return parseManifests(stdout);
}
