/** Runs the built programs on a pseudo-terminal. */
import { spawn, spawnSync } from "node:child_process";
import { node, programPath, type RunOptions } from "./programs.ts";

export interface TerminalOptions extends Omit<RunOptions, "stdin"> {
  /** Input, in order: each text is typed once its pattern has appeared. */
  answers?: readonly (readonly [appears: RegExp, typed: string])[];
  /** Width of the terminal. Default: 120. */
  columns?: number;
  /** A bash command line in which `"$@"` is the program. Default: the program alone. */
  line?: string;
}

export interface TerminalResult {
  code: number | null;
  /** Everything on the screen, echoed input included, with line feeds as line ends. */
  output: string;
}

/** Control keys. */
export const KEYS = { enter: "\r", ctrlC: "\x03", ctrlD: "\x04", ctrlZ: "\x1a" } as const;

/** Maximum run time of a program, in milliseconds. */
const TIMEOUT = 30_000;

/** Returns the option `skip` of a test: false if pseudo-terminals are available, else the reason. */
export function withoutTerminals(): string | false {
  const { stdout } = spawnSync("script", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const works = () => spawnSync("script", ["-qefc", "true", "/dev/null"], { stdio: "ignore" }).status === 0;
  return stdout?.includes("util-linux") && works()
    ? false
    : "pseudo-terminals not available: script of util-linux not found or not working";
}

/**
 * Runs a built program on a pseudo-terminal until it exits.
 *
 * @throws Error with the output on timeout, or if an awaited pattern did not appear
 */
export function runOnTerminal(
  program: string,
  args: readonly string[],
  options: TerminalOptions = {},
): Promise<TerminalResult> {
  const { kubeconfig = "/nonexistent", env = {}, cwd, answers = [], columns = 120, line = '"$@"' } = options;
  const words = ["bash", "-c", line, "bash", node, programPath(program), ...args];
  const command = `stty rows 40 cols ${columns} && exec ${words.map(quote).join(" ")}`;
  return new Promise((resolve, reject) => {
    const child = spawn("script", ["-qefc", command, "/dev/null"], {
      cwd,
      env: {
        PATH: process.env.PATH,
        HOME: "/nonexistent",
        SHELL: "/bin/sh",
        TERM: "xterm",
        KUBECONFIG: kubeconfig,
        ...env,
      },
      stdio: ["pipe", "pipe", "inherit"],
    });
    let output = "";
    let next = 0;
    let from = 0;
    let timedOut = false;
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
      for (const [appears, typed] of answers.slice(next)) {
        const found = appears.exec(output.slice(from));
        if (!found) return;
        from += found.index + found[0].length;
        next++;
        child.stdin.write(typed);
      }
    });
    // The program may exit before it reads the input.
    child.stdin.on("error", () => {});
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill();
    }, TIMEOUT);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      output = output.replaceAll(/\r+\n/g, "\n");
      const missing = answers[next]?.[0];
      const problem = timedOut ? `timed out after ${TIMEOUT / 1000}s` : missing && `${missing} did not appear`;
      if (problem) reject(new Error(`${problem}; output:\n${output}`));
      else resolve({ code, output });
    });
  });
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
