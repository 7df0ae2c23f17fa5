/** The flags of `render`, and the target by them. */
import { readText, sourceName } from "../../lib/import/peer-files.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import {
  type ExistingObjects,
  NOTHING,
  printExistingCommand,
  selectExisting,
} from "../../lib/manifests/existing-objects.ts";
import { checkExistingOrigin } from "../../lib/manifests/existing-origin.ts";
import { namespaceOf, parseTargetFile, targetFromFile } from "../../lib/manifests/file-target.ts";
import { parseObjects } from "../../lib/peer/documents.ts";
import type { Finding } from "../../lib/peer/findings.ts";
import { escapeLine } from "../../lib/render/style.ts";
import { EXIT, UsageError, UserError } from "../../lib/util/errors.ts";
import type { ParseCache } from "../../lib/util/parse-cache.ts";
import { describeCall } from "./call.ts";
import { Contexts } from "./clusters.ts";
import type { Arguments } from "./option.ts";
import { clusterOptions, detailsOption, filenameOption, flag, inGroup } from "./options.ts";
import { warn } from "./terminal.ts";
import { writingOptions } from "./writing.ts";

export const renderOptions = {
  ...inGroup("Input", {
    filename: filenameOption,
    existing: flag.file("file with the existing objects of the target, as kubectl prints them, or - for stdin"),
  }),
  ...inGroup("Target", {
    target: flag.file("file of extract-secret that describes the target, which is then not contacted, or - for stdin"),
    context: flag.context("context of the target, which is read and not changed"),
    whole: flag.boolean("render whole objects as if none existed; applied, they may replace existing ones"),
    tls: writingOptions.tls,
    users: writingOptions.users,
  }),
  ...inGroup("Output", {
    output: flag.string(
      "manifests with patches of workloads, a kustomization, values of Cilium's chart, or only the names of the objects",
      {
        alias: "o",
        choices: ["manifests", "kustomize", "helm-values", "name"],
        default: "manifests",
      },
    ),
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
  const readers = [args.target, args.existing, ...new Set(paths)].filter((path) => path === "-");
  if (readers.length > 1) throw new UsageError("only one of --target, --existing and FILE can be - (stdin)");
  if (args.output === "kustomize" && args["output-dir"] === undefined) {
    throw new UserError("--output=kustomize requires --output-dir", EXIT.refused);
  }
  if (args.output === "name" && args["output-dir"] !== undefined) {
    throw new UserError("--output=name and --output-dir are mutually exclusive", EXIT.refused);
  }
  if (args.output === "helm-values" && !args.users) {
    throw new UserError(
      "--no-users and --output=helm-values are mutually exclusive: the chart grants users",
      EXIT.refused,
    );
  }
}

/** The target, undefined if there are errors among the findings. */
export interface RenderInput {
  target: Target | undefined;
  findings: Finding[];
}

/**
 * Reads the target from its file or from its cluster, by the flags that {@link validateRenderFlags} accepted.
 *
 * @param program - the name of the command, for remedies that repeat the call.
 * @throws UserError if a file or the cluster cannot be read, or the existing objects are unknown (exit code 2).
 */
export async function readRenderTarget(
  args: RenderArguments,
  program: string,
  cache: ParseCache,
): Promise<RenderInput> {
  const { target, namespace: given } = args;
  if (target === undefined) return readLiveTarget(args, cache);
  const { text, source, path } = await readInput(target);
  const call = describeCall(program, renderOptions, args, "target");
  const { file, findings } = parseTargetFile(text, source, { path, call, cache });
  if (!file) return { target: undefined, findings };
  const existing = await readExisting(args, namespaceOf(file, given), program);
  const read = targetFromFile(file, { namespace: given, existing: existing.objects, cache });
  const mismatch = read.target && args.existing !== undefined ? checkExistingOrigin(read.target, existing.source) : [];
  return { target: read.target, findings: [...findings, ...existing.findings, ...read.findings, ...mismatch] };
}

async function readLiveTarget(args: RenderArguments, cache: ParseCache): Promise<RenderInput> {
  using contexts = await Contexts.load(args);
  const { api, name } = await contexts.open(args.context);
  const { target, warnings } = await readTarget(api, name, { namespace: args.namespace, cache });
  for (const line of warnings) warn(`${name}: ${line}`);
  return { target, findings: [] };
}

/** Reads a file, or standard input for `-`. */
async function readInput(path: string): Promise<{ text: string; source: string; path: string | undefined }> {
  const text = await readText(path, process.stdin);
  return { text, source: sourceName(path), path: path === "-" ? undefined : path };
}

/** The existing objects, and findings about their file. */
interface ExistingInput {
  objects: ExistingObjects;
  findings: Finding[];
  /** The name of the file in findings. */
  source: string;
}

async function readExisting(args: RenderArguments, namespace: string, program: string): Promise<ExistingInput> {
  const { existing: given, whole } = args;
  if (given === undefined) {
    if (!whole) throw unknownExistingError("the existing objects of the target are unknown", namespace);
    return { objects: NOTHING, findings: [], source: "" };
  }
  const { text, source, path } = await readInput(given);
  const origin = { call: describeCall(program, renderOptions, args, "existing"), ...(path !== undefined && { path }) };
  const parsed = text.trim() === "" ? { objects: [], findings: [] } : parseObjects(text, source, origin);
  const { existing, findings: invalid } = selectExisting(parsed.objects, namespace, source, origin);
  const findings = [...parsed.findings, ...invalid];
  const { agentsSecret, kvstoremeshSecret, users, workloads } = existing;
  const isEmpty = !agentsSecret && !kvstoremeshSecret && !users && workloads.length === 0;
  if (isEmpty && findings.length === 0) {
    throw unknownExistingError(
      `${escapeLine(source)} contains no object of the target in namespace ${namespace}`,
      namespace,
    );
  }
  return { objects: existing, findings, source };
}

function unknownExistingError(problem: string, namespace: string): UserError {
  return new UserError(
    `${problem}\n` +
      `  print them, and pass the file with --existing: ${printExistingCommand(namespace)}\n` +
      "  if none exist, or the rendered objects may replace them, pass --whole",
    EXIT.refused,
  );
}
