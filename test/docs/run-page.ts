/** Runs the commands of a page in a separate folder, through the built programs. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, programPath } from "../support/programs.ts";
import { KEYS, runOnTerminal } from "../support/terminal.ts";
import { normalize, type RunValues } from "./normalize.ts";
import type { Block, DocumentedCommand, Instruction } from "./page.ts";
import { EVENTS, SCENARIOS } from "./scenarios.ts";

const PROGRAMS = { "kubectl-clustermesh_secrets": "clustermesh-secrets" };

/** The shell of a page. */
export class PageRun {
  readonly #values: RunValues;
  readonly #env: NodeJS.ProcessEnv;
  readonly #background: ChildProcess[] = [];
  #sandbox: Sandbox | undefined;
  #exitCode = 0;

  private constructor(folder: string) {
    const bin = join(folder, "..", "bin");
    mkdirSync(folder);
    mkdirSync(bin);
    for (const name of ["extract-secret", "import-secrets", "clustermesh-secrets", ...Object.keys(PROGRAMS)]) {
      const path = programPath(PROGRAMS[name as keyof typeof PROGRAMS] ?? name);
      writeFileSync(join(bin, name), `#!/bin/sh\nexec "${node}" "${path}" "$@"\n`, { mode: 0o755 });
    }
    this.#values = { now: Date.now(), folder, servers: [], fingerprints: [] };
    this.#env = { PATH: `${bin}:${dirname(node)}:${process.env.PATH}`, HOME: folder, KUBECONFIG: "/nonexistent" };
  }

  static async start(): Promise<PageRun> {
    return new PageRun(join(await mkdtemp(join(tmpdir(), "docs-")), "mesh"));
  }

  /**
   * Follows an instruction of the page.
   *
   * @throws Error if its scenario, event or command is unknown or fails
   */
  async instruct({ kind, name, commands }: Instruction): Promise<void> {
    if (kind === "sandbox") {
      const clusters = await named(SCENARIOS, name)();
      this.#sandbox = await startSandbox({ clusters });
      this.#values.servers = this.#sandbox.clusters.map(({ api }) => api.url);
      this.#env.KUBECONFIG = this.#sandbox.kubeconfig;
    }
    if (kind === "event") {
      if (!this.#sandbox) throw new Error("an event needs a sandbox");
      named(EVENTS, name)(this.#sandbox, this.#values.folder);
    }
    for (const command of commands) {
      const output = await this.#shell(command);
      if (this.#exitCode !== 0) throw new Error(`${command}\nexit code ${this.#exitCode}\n${output}`);
    }
  }

  /**
   * Runs the commands of a block.
   *
   * @returns them with the output that they have now.
   * @throws Error if a command ends with another exit code than 0 and `echo $?` does not follow
   */
  async run({ commands, background, answer }: Block): Promise<DocumentedCommand[]> {
    const done: DocumentedCommand[] = [];
    for (const [i, { text }] of commands.entries()) {
      const raw = background
        ? await this.#start(text)
        : answer === undefined
          ? await this.#shell(text)
          : await this.#onTerminal(text, answer);
      if (this.#exitCode !== 0 && commands[i + 1]?.text !== "echo $?") {
        throw new Error(`$ ${text}\nends with exit code ${this.#exitCode}, which the page does not state\n${raw}`);
      }
      done.push({
        text,
        output: normalize(raw, this.#values)
          .replace(/[ \t]+$/gm, "")
          .replace(/\n+$/, ""),
      });
    }
    return done;
  }

  async stop(): Promise<void> {
    for (const child of this.#background) {
      if (child.exitCode !== null) continue;
      child.kill("SIGTERM");
      await once(child, "close");
    }
    await this.#sandbox?.stop();
    await rm(dirname(this.#values.folder), { recursive: true, force: true });
  }

  /** Runs a command to its end, with its standard error in its output. The exit code of the one before is `$?`. */
  async #shell(command: string): Promise<string> {
    const child = this.#spawn(`(exit ${this.#exitCode})\n${command}`);
    let output = "";
    child.stdout?.setEncoding("utf8").on("data", (chunk) => {
      output += chunk;
    });
    const [code] = await once(child, "close");
    this.#exitCode = command === "echo $?" ? 0 : code;
    return output;
  }

  /** Runs a command on a terminal as wide as a page, and answers its prompt. */
  async #onTerminal(command: string, answer: string): Promise<string> {
    const { KUBECONFIG: kubeconfig = "", ...env } = this.#env;
    const { output } = await runOnTerminal("clustermesh-secrets", [], {
      ...{ line: command, cwd: this.#values.folder, kubeconfig, columns: 100 },
      env: { ...env, NO_COLOR: "1" },
      answers: [[/\[y\/N\] /, `${answer}${KEYS.enter}`]],
    });
    return output;
  }

  /** Starts a sandbox that runs until the page ends, and sets the KUBECONFIG that it prints. */
  async #start(command: string): Promise<string> {
    const child = this.#spawn(`exec ${command}`);
    this.#background.push(child);
    let output = "";
    for await (const chunk of child.stdout?.setEncoding("utf8").iterator({ destroyOnReturn: false }) ?? []) {
      output += chunk;
      if (output.split("\n").length > 3) break;
    }
    this.#env.KUBECONFIG = /^export KUBECONFIG=(.*)$/m.exec(output)?.[1];
    return output;
  }

  #spawn(script: string): ChildProcess {
    return spawn("bash", ["-c", `exec 2>&1\n${script}`], {
      cwd: this.#values.folder,
      env: this.#env,
      stdio: ["ignore", "pipe", "inherit"],
    });
  }
}

function named<T>(all: Readonly<Record<string, T>>, name: string): T {
  const one = all[name];
  if (one === undefined) throw new Error(`unknown name: ${name}; known: ${Object.keys(all).join(", ")}`);
  return one;
}
