/** `clustermesh-secrets render`: renders what an import would write as files for Git. */
import { readPeers } from "../lib/import/peer-files.ts";
import type { TlsMode } from "../lib/import/plan/tls.ts";
import { explainPrivateKeys } from "../lib/manifests/private-keys.ts";
import { type Form, renderTarget } from "../lib/manifests/render.ts";
import { hasTrait } from "../lib/peer/finding-codes.ts";
import { type Finding, hasErrors } from "../lib/peer/findings.ts";
import { showFindings, showRenderRefusal } from "../lib/render/findings.ts";
import { enumerate } from "../lib/util/enumerate.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";
import { ParseCache } from "../lib/util/parse-cache.ts";
import { describeCall } from "./cli/call.ts";
import { type RenderArguments, readRenderTarget, renderOptions, validateRenderFlags } from "./cli/render-input.ts";
import { assertKeysAllowed, writeRendered } from "./cli/render-output.ts";
import { toProgram } from "./cli/run.ts";
import { writeStdout } from "./cli/streams.ts";
import { log, note, style } from "./cli/terminal.ts";

export const renderCommand = toProgram({
  usage: "$0 (--target FILE | --context CONTEXT) FILE... [flags]",
  description:
    "Renders what an import would write, as files for Git. With --target, contacts no cluster: the file that extract-secret " +
    "wrote of the target describes it, and --existing its objects; of the connection flags, only --namespace is used. The " +
    "same input gives the same bytes. Private keys are refused unless --include-private-keys is passed; with one CA for all " +
    "clusters there are usually none.",
  positionals: "FILE",
  examples: [
    ["$0 --target cluster1-secret.json --whole *-secret.json", "Print the objects of a cluster without peers"],
    ["$0 --target cluster1-secret.json --existing objects.yaml cluster2-secret.json", "Add a peer to existing objects"],
    ["$0 --context cluster1 -o kustomize --output-dir mesh/cluster1 *-secret.json", "Write a kustomization"],
    ["$0 --target cluster1-secret.json --whole -o helm-values *-secret.json", "Print values of Cilium's chart"],
  ],
  options: renderOptions,
  exclusive: [
    ["target", "context"],
    ["existing", "context"],
    ["existing", "whole"],
  ],
  exitCodes: {
    0: "rendered",
    1: "failed: cluster unreachable, permission denied, Cilium not found, or a file cannot be written",
    2: "nothing rendered: invalid arguments or files, errors found, or private keys not allowed",
    3: "rendered, but some peers cannot connect",
  },
  run: runRender,
});

async function runRender(args: RenderArguments, program: string): Promise<number> {
  const paths = [...args.files, ...args.filename];
  validateRenderFlags(args, paths);
  const call = describeCall(program, renderOptions, args);
  const cache = new ParseCache();
  const [input, files] = await Promise.all([readRenderTarget(args, program, cache), readPeers(paths, { call, cache })]);
  const found = [...files.findings, ...input.findings];
  if (!input.target || hasErrors(found)) return refuse(found, args);
  const rendering = renderTarget(input.target, files.peers, {
    form: args.output === "name" ? "manifests" : (args.output as Form),
    whole: args.whole,
    mayLackObjects: args.existing !== undefined,
    tls: args.tls as TlsMode,
    users: args.users,
    now: new Date(),
  });
  const findings = [...found, ...rendering.findings];
  if (hasErrors(findings)) return refuse(findings, args);
  const { name = "" } = input.target.facts;
  if (rendering.files.length === 0) {
    throw new UserError(`nothing to render: no file contains a peer of ${name}`, EXIT.refused);
  }
  const isNames = args.output === "name";
  const output = { directory: args["output-dir"], includePrivateKeys: args["include-private-keys"] };
  const { target } = input;
  if (!isNames)
    assertKeysAllowed(rendering.files, output, () => explainPrivateKeys(target, files.peers, args.tls as TlsMode));
  showFindings(findings, style, args.details).forEach(log);
  if (rendering.plan.skippedSelf) note(`skipped ${name}: same cluster as the target`);
  if (isNames) {
    const { showNames } = await import("../lib/render/preview.ts");
    writeStdout(showNames(rendering.files.flatMap(({ object }) => object ?? [])));
  } else {
    const patches = rendering.files.flatMap(({ path, object }) => (isWorkload(object?.kind) ? [path] : []));
    if (patches.length > 0) note(`apply host aliases to the workloads before the Secrets: ${enumerate(patches)}`);
    await writeRendered(rendering.files, output);
  }
  return findings.some((one) => hasTrait(one, "unconnected")) ? EXIT.findings : EXIT.done;
}

function isWorkload(kind: string | undefined): boolean {
  return kind === "Deployment" || kind === "DaemonSet";
}

function refuse(findings: readonly Finding[], { details }: RenderArguments): number {
  showFindings(findings, style, details).forEach(log);
  log(showRenderRefusal(findings, style, details));
  return EXIT.refused;
}
