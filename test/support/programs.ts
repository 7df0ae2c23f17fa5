/** The built programs, run as a person runs them. */
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  kubeconfig?: string;
  env?: NodeJS.ProcessEnv;
  stdin?: string;
  cwd?: string;
}

const root = fileURLToPath(new URL("../../", import.meta.url));
const dist = join(root, "dist/");

/** The Node to run them by; `TEST_NODE` names another than ours. */
export const node = process.env.TEST_NODE ?? process.execPath;

export function programPath(program: string): string {
  return `${dist}${program}.js`;
}

/**
 * Makes a goal of the Makefile with the programs as they are built.
 *
 * @param variables of the environment, which make takes as they are.
 */
export function runMake(goal: string, variables: Record<string, string>, kubeconfig: string): Promise<Ended> {
  const env = {
    ...process.env,
    ...variables,
    PATH: `${join(node, "..")}:${process.env.PATH}`,
    KUBECONFIG: kubeconfig,
  };
  return new Promise((resolve) => {
    execFile("make", ["-o", "build", goal], { cwd: root, env }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

/** Runs a built program and waits for its end. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const { kubeconfig = "/nonexistent", env = {}, stdin, cwd } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(node, [programPath(program), ...args], {
      cwd,
      env: { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: kubeconfig, ...env },
      stdio: [stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin?.end(stdin);
  });
}
