/** Renders changed objects as a unified diff without secrets, or as YAML documents. Pure. */
import { createHash, createPublicKey } from "node:crypto";
import type { V1ConfigMap, V1DaemonSet, V1Deployment, V1Secret } from "@kubernetes/client-node";
import { createTwoFilesPatch } from "diff";
import { stringify } from "yaml";
import type { Preview } from "../import/preview.ts";
import { CONTEXT } from "../peer/annotations.ts";
import { isEtcdConfig } from "../peer/etcd-config.ts";
import { redactKeys } from "../peer/findings.ts";
import { decodeFiles } from "../peer/secret.ts";
import { describe } from "./objects.ts";
import { escapeControlChars, escapeLine, type Style } from "./style.ts";

/**
 * Renders the differences in the format of `diff -u`: configs verbatim, certificates and keys by kind and fingerprint.
 * The fingerprint of a key is that of its public key; other values that may contain a key are shown as their length.
 *
 * @param context - the context of the objects' cluster.
 * @returns no lines if nothing differs.
 */
export function showDiff(previews: readonly Preview[], context: string, style: Style): string[] {
  return previews.flatMap(({ kind, name, before, after }) => {
    const old = before === undefined ? "" : legible(kind, before);
    const now = legible(kind, after);
    if (old === now) return [];
    const path = `${escapeLine(context)}/${after.metadata?.namespace}/${kind}/${name}`;
    const patch = createTwoFilesPatch(`live/${path}`, `planned/${path}`, old, now);
    // The first line is a separator that the library adds.
    return patch
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => coloured(escapeControlChars(line), style));
  });
}

function coloured(line: string, style: Style): string {
  if (/^(?:---|\+\+\+) /.test(line)) return style.bold(line);
  if (line.startsWith("-")) return style.red(line);
  return line.startsWith("+") ? style.green(line) : line;
}

/** Returns the fields of an object that an import can change, as text. */
function legible(kind: Preview["kind"], object: Preview["after"]): string {
  const { labels, annotations, ownerReferences } = object.metadata ?? {};
  const metadata = {
    ...(annotations && Object.keys(annotations).length > 0 && { annotations: texts(annotations) }),
    ...(labels && { labels: texts(labels) }),
    ...(ownerReferences && { ownerReferences }),
  };
  const shown = { ...(Object.keys(metadata).length > 0 && { metadata }), ...content(kind, object) };
  return stringify(shown, (_, value: unknown) => (typeof value === "string" ? redactKeys(value) : value), {
    lineWidth: 0,
  });
}

function content(kind: Preview["kind"], object: Preview["after"]): object {
  switch (kind) {
    case "Secret":
      return { data: describedFiles(object as V1Secret) };
    case "ConfigMap":
      return { data: texts((object as V1ConfigMap).data ?? {}) };
    default: {
      const { hostAliases = [] } = (object as V1Deployment | V1DaemonSet).spec?.template.spec ?? {};
      return { spec: { template: { spec: { hostAliases } } } };
    }
  }
}

function describedFiles(secret: V1Secret): Record<string, string> {
  const { files } = decodeFiles(secret, { source: "" });
  const described = [...files].map(([key, bytes]): [string, string] => {
    const text = bytes.toString();
    return [key, isEtcdConfig(text) ? text : `${describe(text)}, SHA-256 ${fingerprint(bytes)}`];
  });
  return texts(Object.fromEntries(described));
}

function texts(fields: Readonly<Record<string, string>>): Record<string, string> {
  const sorted = Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([name, value]) => [redactKeys(name), safe(value)]));
}

/** Returns a text unchanged if it cannot contain a key, else its length. */
function safe(text: string): string {
  // "-----BEGIN" in base64, at each of the three possible offsets.
  return /PRIVATE KEY-----|LS0tLS1CRUdJ|0tLS0tQkVHSU|tLS0tLUJFR0lO/.test(text) ? `${text.length} characters` : text;
}

/** The first half of a SHA-256: of a private key's public half, else of the bytes. */
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

/** Metadata fields set by the API server. Applied objects with these fields conflict, or refer to another object. */
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

/** Annotations that controllers set on workloads. */
const CONTROLLER_ANNOTATIONS = ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];

/**
 * Returns each object as a document for Git and `kubectl apply`, with its context in an annotation and without the
 * fields set by the API server and controllers. The documents contain the data of the Secrets, private keys included.
 */
export function showDocuments(previews: readonly Preview[], context: string, format: "json" | "yaml"): string {
  return previews
    .map(({ kind, after }) => {
      const apiVersion = kind === "Secret" || kind === "ConfigMap" ? "v1" : "apps/v1";
      const { status: _, ...desired } = after as typeof after & { status?: unknown };
      const annotations = { ...without(after.metadata?.annotations ?? {}, CONTROLLER_ANNOTATIONS), [CONTEXT]: context };
      const metadata = { ...without(after.metadata ?? {}, SERVER_FIELDS), annotations };
      const object = { ...desired, apiVersion, kind, metadata };
      return format === "json"
        ? `${JSON.stringify(object, null, 2)}\n`
        : `---\n${stringify(object, { lineWidth: 0, version: "1.1" })}`;
    })
    .join("");
}

function without<T extends object>(fields: T, names: readonly string[]): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name))) as Partial<T>;
}

/** Whether the printed form of an object contains a private key. */
export function holdsPrivateKey({ kind, after }: Preview): boolean {
  if (kind !== "Secret") return false;
  const { files } = decodeFiles(after as V1Secret, { source: "" });
  return [...files.values()].some((content) => content.includes("PRIVATE KEY-----"));
}
