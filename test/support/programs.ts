/** The built programs, run as a person runs them. */
import { spawn } from "node:child_process";
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

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));

/** The Node to run them by; `TEST_NODE` names another than ours. */
export const node = process.env.TEST_NODE ?? process.execPath;

export function programPath(program: string): string {
  return `${dist}${program}.js`;
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
