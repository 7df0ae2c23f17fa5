/** Runs the built programs as child processes. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
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

/** A pasted command: where it runs, and scripts of further programs by their names. */
export interface PasteOptions {
  /** An existing folder: the working directory, in which a folder for the programs is made. */
  folder: string;
  kubeconfig: string;
  tools?: Record<string, string>;
}

/** Runs a command that was printed as a shell does, with the built programs in PATH. */
export function pasteCommand(
  command: string,
  { folder, kubeconfig, tools = {} }: PasteOptions,
): Promise<ProgramResult> {
  const bin = mkdtempSync(join(folder, "bin-"));
  const programs = ["import-secrets", "extract-secret", "clustermesh-secrets"].map((name) => [
    name,
    `exec '${node}' '${programPath(name)}' "$@"`,
  ]);
  for (const [name = "", script] of [...programs, ...Object.entries(tools)]) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const env = { PATH: `${bin}:${process.env.PATH}`, HOME: "/nonexistent", KUBECONFIG: kubeconfig };
  return waitForExit(spawn("sh", ["-c", command], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] }));
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
