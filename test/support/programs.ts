/** Runs the built programs as child processes. */
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

/** Path of the Node that runs the programs: `TEST_NODE`, or the current one. */
export const node = process.env.TEST_NODE ?? process.execPath;

export function programPath(program: string): string {
  return `${dist}${program}.js`;
}

/**
 * Runs a target of the Makefile without rebuilding the programs.
 *
 * @param variables environment variables, which make imports
 */
export function runMake(goal: string, variables: Record<string, string>, kubeconfig: string): Promise<ProgramResult> {
  // Set by the make that runs the tests.
  const { MAKELEVEL: _, MAKEFLAGS: __, MFLAGS: ___, ...own } = process.env;
  const env = { ...own, ...variables, PATH: `${join(node, "..")}:${process.env.PATH}`, KUBECONFIG: kubeconfig };
  return waitForExit(spawn("make", ["-o", "build", goal], { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] }));
}

/** Runs a built program until it exits. */
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

/** Waits until a process exits and returns its output. */
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
