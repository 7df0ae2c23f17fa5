/** The manifests of deploy/jobs. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { V1PodSpec } from "@kubernetes/client-node";
import { parse, parseAllDocuments } from "yaml";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";

export const JOBS_FOLDER = fileURLToPath(new URL("../../deploy/jobs", import.meta.url));

/** The permissions of each job: its file, and the arguments of `rbac` that print it. */
export const PRINTED_MANIFESTS: Readonly<Record<string, string[]>> = {
  "extract-rbac.yaml": [
    ...["--for", "extract", "--keyless", "--no-optional", "--service-account", "clustermesh-extract"],
    ...["--namespace", "kube-system"],
  ],
  "status-rbac.yaml": ["--for", "status", "--service-account", "clustermesh-status", "--namespace", "kube-system"],
};

/** Reads the objects of all files that the kustomization lists, in its order. */
export function readJobManifests(): KubernetesObject[] {
  const read = (file: string) => readFileSync(join(JOBS_FOLDER, file), "utf8");
  const { resources } = parse(read("kustomization.yaml")) as { resources: string[] };
  return resources.flatMap((file) => parseAllDocuments(read(file)).map((document) => document.toJS()));
}

/** Returns the pod of a Job, a CronJob or a Deployment; undefined for other objects. */
export function podOf({ spec }: KubernetesObject): V1PodSpec | undefined {
  return (spec?.jobTemplate?.spec ?? spec)?.template?.spec;
}
