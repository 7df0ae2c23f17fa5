/** The steps of the demo. */
import { fileURLToPath } from "node:url";
import { $ } from "zx/core";
import { configMaps, secrets } from "../lib/kube/api.ts";
import { openCluster } from "../lib/kube/open.ts";
import { FIELD_MANAGER } from "../lib/peer/annotations.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../lib/peer/peer.ts";
import { showSecret, showUsers } from "../lib/render/objects.ts";
import { styleFor } from "../lib/render/style.ts";
import { EXIT, UserError } from "../lib/util/errors.ts";

const NAMESPACE = "kube-system";
const style = styleFor(process.stdout, process.env);

/** Prints lines to stdout. */
export function print(...lines: string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Prints the title of a step between empty lines. */
export function printStep(title: string): void {
  print("", style.bold(`── ${title} ──`), "");
}

/**
 * Runs a built program and prints the command line and its output.
 *
 * @throws UserError (exit code 1) if the exit code is not one of `codes`.
 */
export async function runProgram(
  program: string,
  args: string[],
  kubeconfig: string,
  codes: number[] = [EXIT.done],
): Promise<void> {
  print(style.green(`$ ${[program, ...args].join(" ")}`));
  const path = fileURLToPath(new URL(`./${program}.js`, import.meta.url));
  const output = await $({
    env: { ...process.env, KUBECONFIG: kubeconfig },
    nothrow: true,
    quiet: true,
  })`${process.execPath} ${path} ${args}`;
  process.stdout.write(output.stdout + output.stderr);
  if (!codes.includes(output.exitCode ?? EXIT.failed)) {
    throw new UserError(`${program} exited with code ${output.exitCode}`, EXIT.failed);
  }
  print("");
}

/** Prints the Secrets and the ConfigMap that Cilium reads in a cluster. */
export async function printObjects(context: string, kubeconfig: string): Promise<void> {
  const { api } = await openCluster({ clientName: FIELD_MANAGER, kubeconfig, context });
  try {
    for (const name of [KVSTOREMESH_SECRET, AGENTS_SECRET]) {
      const secret = await api.get(secrets, NAMESPACE, name);
      if (secret) print(...showSecret(secret, style));
    }
    const users = await api.get(configMaps, NAMESPACE, USERS_CONFIG_MAP);
    if (users) print(...showUsers(users, style));
    print("");
  } finally {
    api.close();
  }
}
