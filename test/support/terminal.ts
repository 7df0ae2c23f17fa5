/** The built programs on a terminal: what a person who sits at one sees, and types. */
import { spawn, spawnSync } from "node:child_process";
import { node, programPath, type RunOptions } from "./programs.ts";

export interface TerminalOptions extends Omit<RunOptions, "stdin"> {
  /** What is typed, each as soon as what comes before it has appeared; they are waited for in this order. */
  answers?: readonly (readonly [appears: RegExp, typed: string])[];
  /** How wide the window is. Default: 120. */
  columns?: number;
  /** A line of bash, in which `"$@"` is the program. Default: that alone. */
  line?: string;
}

export interface TerminalResult {
  code: number | null;
  /** All that appeared, the echo of what was typed included, in lines that end as elsewhere. */
  output: string;
}

/** Keys that are no letters. */
export const KEYS = { enter: "\r", ctrlC: "\x03", ctrlD: "\x04", ctrlZ: "\x1a" } as const;

/** How many milliseconds a program may take, what is typed included. */
const TIMEOUT = 30_000;

/** For the option `skip` of a test: false where there are terminals to be had, else the line that says why not. */
export function withoutTerminals(): string | false {
  const { stdout } = spawnSync("script", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const works = () => spawnSync("script", ["-qefc", "true", "/dev/null"], { stdio: "ignore" }).status === 0;
  return stdout?.includes("util-linux") && works() ? false : "not run: util-linux's script makes no terminal here";
}

/**
 * Runs a built program on a terminal of its own, and waits for its end.
 *
 * @throws Error with what appeared, where it does not end or what is waited for does not appear.
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
    let late = false;
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
    // It may be gone before it reads what is typed.
    child.stdin.on("error", () => {});
    const timer = setTimeout(() => {
      late = true;
      child.kill();
    }, TIMEOUT);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      output = output.replaceAll(/\r+\n/g, "\n");
      const missing = answers[next]?.[0];
      const wrong = late ? "it did not end" : missing && `${missing} did not appear`;
      if (wrong) reject(new Error(`${wrong}; what did:\n${output}`));
      else resolve({ code, output });
    });
  });
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
