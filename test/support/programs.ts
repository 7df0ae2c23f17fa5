/** The built programs, run as a person runs them. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface ProgramResult {
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
export function runMake(goal: string, variables: Record<string, string>, kubeconfig: string): Promise<ProgramResult> {
  // What the make that runs the tests passes on to one beneath it.
  const { MAKELEVEL: _, MAKEFLAGS: __, MFLAGS: ___, ...own } = process.env;
  const env = { ...own, ...variables, PATH: `${join(node, "..")}:${process.env.PATH}`, KUBECONFIG: kubeconfig };
  return waitForExit(spawn("make", ["-o", "build", goal], { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] }));
}

/** Runs a built program and waits for its end. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<ProgramResult> {
  const { kubeconfig = "/nonexistent", env = {}, stdin, cwd } = options;
  const child = spawn(node, [programPath(program), ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: "/nonexistent", KUBECONFIG: kubeconfig, ...env },
    stdio: [stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
  });
  child.stdin?.end(stdin);
  return waitForExit(child);
}

/** What a process printed, and its exit code, when it has ended. */
function waitForExit(child: ChildProcess): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
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
  });
}
