/** Planned objects as a unified diff without private keys, and as YAML or JSON documents. Pure. */
import { createHash, createPublicKey } from "node:crypto";
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { createTwoFilesPatch } from "diff";
import { stringify } from "yaml";
import type { Preview } from "../import/preview.ts";
import { containsPrivateKey } from "../manifests/manifest.ts";
import { CONTEXT_ANNOTATION } from "../peer/annotations.ts";
import { isEtcdConfig } from "../peer/etcd-config.ts";
import { redactKeys } from "../peer/findings.ts";
import { decodeFiles } from "../peer/secret.ts";
import { formatYaml } from "../util/yaml.ts";
import { mayContainPrivateKey } from "../x509/pem.ts";
import { describeFile } from "./objects.ts";
import { escapeControlChars, escapeLine, type Style } from "./style.ts";

/** An object whose description differs between the cluster and a plan. */
export interface Difference {
  kind: Preview["kind"];
  namespace: string;
  name: string;
  /** The descriptions as YAML; that of an object to create is empty before. */
  live: string;
  planned: string;
}

/**
 * Describes the objects that differ. Configs are printed in full, certificates and keys as a description with a fingerprint
 * (of the public half, for a private key). Other text that may contain a private key is replaced by its length.
 */
export function findDifferences(previews: readonly Preview[]): Difference[] {
  return previews.flatMap(({ kind, name, before, after }) => {
    const live = before === undefined ? "" : toText(kind, before);
    const planned = toText(kind, after);
    return live === planned ? [] : [{ kind, namespace: after.metadata?.namespace ?? "", name, live, planned }];
  });
}

/**
 * Compares live and planned objects in the format of `diff -u`.
 *
 * @param context - context of the objects, for the file names of the diff.
 * @returns lines of the diff; empty if nothing differs.
 */
export function showDiff(differences: readonly Difference[], context: string, style: Style): string[] {
  return differences.flatMap(({ kind, namespace, name, live, planned }) => {
    const path = escapeLine(`${context}/${namespace}/${kind}/${name}`);
    const patch = createTwoFilesPatch(`live/${path}`, `planned/${path}`, live, planned);
    // createTwoFilesPatch begins with a separator line.
    return patch
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => paintLine(escapeControlChars(line), style));
  });
}

function paintLine(line: string, style: Style): string {
  if (/^(?:---|\+\+\+) /.test(line)) return style.bold(line);
  if (line.startsWith("-")) return style.red(line);
  return line.startsWith("+") ? style.green(line) : line;
}

/** Prints the part of an object that an import may change. */
function toText(kind: Preview["kind"], object: Preview["after"]): string {
  const { labels, annotations, ownerReferences } = object.metadata ?? {};
  const metadata = {
    ...(annotations && Object.keys(annotations).length > 0 && { annotations: redactFields(annotations) }),
    ...(labels && { labels: redactFields(labels) }),
    ...(ownerReferences && { ownerReferences }),
  };
  const shown = { ...(Object.keys(metadata).length > 0 && { metadata }), ...contentOf(kind, object) };
  return stringify(shown, (_, value: unknown) => (typeof value === "string" ? redactKeys(value) : value), {
    lineWidth: 0,
  });
}

function contentOf(kind: Preview["kind"], object: Preview["after"]): object {
  switch (kind) {
    case "Secret":
      return { data: describeFiles(object as V1Secret) };
    case "ConfigMap":
      return { data: redactFields((object as V1ConfigMap).data ?? {}) };
    default: {
      const { hostAliases = [] } = (object as V1Deployment | V1DaemonSet).spec?.template.spec ?? {};
      return { spec: { template: { spec: { hostAliases } } } };
    }
  }
}

function describeFiles(secret: V1Secret): Record<string, string> {
  const { files } = decodeFiles(secret, { source: "" });
  const described = [...files].map(([key, bytes]): [string, string] => {
    const text = bytes.toString();
    return [key, isEtcdConfig(text) ? text : `${describeFile(text)}, SHA-256 ${fingerprint(bytes)}`];
  });
  return redactFields(Object.fromEntries(described));
}

/** Sorts fields by name, and redacts private keys in names and values. */
function redactFields(fields: Readonly<Record<string, string>>): Record<string, string> {
  const sorted = Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([name, value]) => [redactKeys(name), redactValue(value)]));
}

/** Replaces a text that may contain a private key by its length. */
function redactValue(text: string): string {
  return mayContainPrivateKey(text) ? `${text.length} characters` : text;
}

/** Returns the first 128 bits of a SHA-256, in hexadecimal: of a private key's public half, else of the bytes. */
function fingerprint(content: Buffer): string {
  return createHash("sha256").update(publicHalf(content)).digest("hex").slice(0, 32);
}

function publicHalf(content: Buffer): Buffer {
  if (!content.includes("PRIVATE KEY-----")) return content;
  try {
    return createPublicKey(content).export({ type: "spki", format: "der" });
  } catch {
    return Buffer.from("unreadable");
  }
}

/** Metadata set by the API server. Applied, it would cause a conflict or refer to another object. */
const SERVER_FIELDS = [
  "uid",
  "resourceVersion",
  "creationTimestamp",
  "generation",
  "managedFields",
  "selfLink",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
] as const;

/** Annotations set by workload controllers. */
const CONTROLLER_ANNOTATIONS = ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];

/**
 * Prints planned objects as documents for Git and `kubectl apply`, each with its context in an annotation, and without the
 * fields set by the API server and controllers. Secrets are printed in full, with their private keys.
 */
export function showDocuments(previews: readonly Preview[], context: string, format: "json" | "yaml"): string {
  return previews
    .map(({ kind, after }) => {
      const apiVersion = kind === "Secret" || kind === "ConfigMap" ? "v1" : "apps/v1";
      const { status: _, ...desired } = after as typeof after & { status?: unknown };
      const annotations = {
        ...omit(after.metadata?.annotations ?? {}, CONTROLLER_ANNOTATIONS),
        [CONTEXT_ANNOTATION]: context,
      };
      const metadata = { ...omit(after.metadata ?? {}, SERVER_FIELDS), annotations };
      const object = { ...desired, apiVersion, kind, metadata };
      return format === "json" ? `${JSON.stringify(object, null, 2)}\n` : `---\n${formatYaml(object)}`;
    })
    .join("");
}

function omit<T extends object>(fields: T, names: readonly string[]): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name))) as Partial<T>;
}

/** Prints the names of objects as kubectl does: `secret/cilium-clustermesh`, `daemonset.apps/cilium`. */
export function showNames(objects: readonly Pick<Preview, "kind" | "name">[]): string {
  return objects
    .map(
      ({ kind, name }) => `${kind.toLowerCase()}${kind === "Secret" || kind === "ConfigMap" ? "" : ".apps"}/${name}\n`,
    )
    .join("");
}

/** Whether an object may contain a private key after the changes, in its annotations too. */
export function hasPrivateKey({ after }: Preview): boolean {
  return containsPrivateKey(after);
}
