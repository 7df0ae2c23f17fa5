/** The flags of `render`, and the target by them. */
import { readText } from "../../lib/import/peer-files.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import { type ExistingObjects, NOTHING, selectExisting } from "../../lib/manifests/existing-objects.ts";
import { namespaceOf, parseTargetFile, targetFromFile } from "../../lib/manifests/file-target.ts";
import { parseObjects } from "../../lib/peer/documents.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import type { Call } from "../../lib/peer/foreign/foreign.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../../lib/peer/peer.ts";
import { escapeLine } from "../../lib/render/style.ts";
import { EXIT, UsageError, UserError } from "../../lib/util/errors.ts";
import type { ParseCache } from "../../lib/util/parse-cache.ts";
import { shellQuote } from "../../lib/util/shell.ts";
import { Contexts } from "./clusters.ts";
import type { Arguments } from "./option.ts";
import { clusterOptions, detailsOption, filenameOption, flag, inGroup } from "./options.ts";
import { warn } from "./terminal.ts";
import { writingOptions } from "./writing.ts";

export const renderOptions = {
  ...inGroup("Input", {
    filename: filenameOption,
    existing: flag.file("file with the existing objects of the target, as kubectl prints them"),
  }),
  ...inGroup("Target", {
    target: flag.file("file of extract-secret that describes the target, which is then not contacted"),
    context: flag.context("context of the target, which is read and not changed"),
    whole: flag.boolean("render whole objects as if none existed; applied, they may replace existing ones"),
    tls: writingOptions.tls,
    users: writingOptions.users,
  }),
  ...inGroup("Output", {
    output: flag.string("manifests with patches of workloads, a kustomization, or values of Cilium's chart", {
      alias: "o",
      choices: ["manifests", "kustomize", "helm-values"],
      default: "manifests",
    }),
    "output-dir": flag.file("write files to this directory, not to stdout; required for kustomize"),
    "include-private-keys": flag.boolean("allow private keys in the output; encrypt it before you commit it"),
    details: detailsOption,
  }),
  ...clusterOptions,
};

export type RenderArguments = Arguments<typeof renderOptions>;

/**
 * Validates combinations of flags.
 *
 * @throws UserError (exit code 2) for an invalid combination.
 */
export function validateRenderFlags(args: RenderArguments, paths: readonly string[]): void {
  if (args.target === undefined && args.context === undefined)
    throw new UsageError("--target or --context is required");
  if (paths.length === 0) throw new UsageError("at least one FILE is required (- for stdin)");
  if (args.output === "kustomize" && args["output-dir"] === undefined) {
    throw new UserError("--output=kustomize requires --output-dir", EXIT.refused);
  }
}

/** The target, undefined if there are errors among the findings. */
export interface RenderInput {
  target: Target | undefined;
  findings: Finding[];
}

/**
 * Reads the target from its file or from its cluster.
 *
 * @throws UserError if a file or the cluster cannot be read, or the existing objects are unknown (exit code 2).
 */
export async function readRenderTarget(args: RenderArguments, call: Call, cache: ParseCache): Promise<RenderInput> {
  const { target: path, namespace: given } = args;
  if (path === undefined) return readLiveTarget(args, cache);
  const { file, findings } = parseTargetFile(stripByteOrderMark(await readText(path)), path, { call, cache });
  if (!file) return { target: undefined, findings };
  const namespace = namespaceOf(file, given);
  const existing = await readExisting(args, namespace, findings);
  const read = targetFromFile(file, { namespace: given, existing, cache });
  return { target: read.target, findings: [...findings, ...read.findings] };
}

async function readLiveTarget(args: RenderArguments, cache: ParseCache): Promise<RenderInput> {
  using contexts = await Contexts.load(args);
  const [cluster] = await contexts.select(args.context === undefined ? [] : [args.context]);
  if (!cluster) throw new UserError("no context", EXIT.refused);
  const { target, warnings } = await readTarget(cluster.api, cluster.source, { namespace: args.namespace, cache });
  for (const line of warnings) warn(`${cluster.source}: ${line}`);
  return { target, findings: [] };
}

/** Reads the existing objects; their findings are added to `findings`. */
async function readExisting(
  { existing: path, whole }: RenderArguments,
  namespace: string,
  findings: Finding[],
): Promise<ExistingObjects> {
  if (path === undefined && !whole)
    throw unknownExistingError("the existing objects of the target are unknown", namespace);
  if (path === undefined) return NOTHING;
  const text = stripByteOrderMark(await readText(path));
  const parsed = text.trim() === "" ? { objects: [], findings: [] } : parseObjects(text, path, { path });
  const { existing, findings: invalid } = selectExisting(parsed.objects, namespace, path);
  findings.push(...parsed.findings, ...invalid);
  const { agentsSecret, kvstoremeshSecret, users, workloads } = existing;
  const isEmpty = !agentsSecret && !kvstoremeshSecret && !users && workloads.length === 0;
  if (isEmpty && findings.length === 0) {
    throw unknownExistingError(
      `${escapeLine(path)} contains no object of the target in namespace ${namespace}`,
      namespace,
    );
  }
  return existing;
}

function unknownExistingError(problem: string, namespace: string): UserError {
  const objects = `secret/${AGENTS_SECRET} secret/${KVSTOREMESH_SECRET} configmap/${USERS_CONFIG_MAP}`;
  return new UserError(
    `${problem}\n` +
      `  print them, and pass the file with --existing: kubectl get ${objects} daemonset/cilium deployment/clustermesh-apiserver deployment/cilium-operator ` +
      `--namespace ${shellQuote(namespace)} --ignore-not-found --output yaml\n` +
      "  if none exist, or the rendered objects may replace them, pass --whole",
    EXIT.refused,
  );
}

function stripByteOrderMark(text: string): string {
  return text.replace(/^\uFEFF/, "");
}
