/** Wall times of processes. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const REPORT_MEMORY = fileURLToPath(new URL("../support/report-memory.cjs", import.meta.url));

export interface Subject {
  what: string;
  command: string[];
  env: NodeJS.ProcessEnv;
  /** Runs before each measurement. */
  before?: () => Promise<void>;
}

export interface Summary {
  median: number;
  min: number;
  max: number;
}

/**
 * Runs a command and returns its wall time in milliseconds.
 *
 * @throws Error if it exits with another code than 0 or 3
 */
export function measure({ command: [program = "", ...args], env }: Pick<Subject, "command" | "env">): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(program, args, { stdio: "ignore", env });
    child.on("error", reject);
    child.on("exit", (code) =>
      // 3: done, with findings: the clusters consist of objects alone.
      code === 0 || code === 3
        ? resolve(performance.now() - started)
        : reject(new Error(`${program} ${args.slice(0, 3).join(" ")}: exit ${code}`)),
    );
  });
}

/** Measures the wall time in milliseconds and the peak memory in MiB of a Node program. `file`: path of a temporary file. */
export async function measureMemory(subject: Subject, file: string): Promise<{ took: number; peak: number }> {
  const env = { ...subject.env, NODE_OPTIONS: `--require ${REPORT_MEMORY}`, USAGE: file };
  const took = await measure({ ...subject, env });
  return { took, peak: Number(readFileSync(file, "utf8")) / 1024 };
}

/** Measures all subjects in turn, for a number of rounds after one warm-up round. Returns the times by subject. */
export async function measureInterleaved(subjects: readonly Subject[], rounds: number): Promise<Map<string, number[]>> {
  const times = new Map<string, number[]>(subjects.map(({ what }) => [what, []]));
  for (let round = -1; round < rounds; round++) {
    for (const subject of subjects) {
      await subject.before?.();
      const taken = await measure(subject);
      if (round >= 0) times.get(subject.what)?.push(taken);
    }
  }
  return times;
}

export function summarize(times: readonly number[]): Summary {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (i: number) => sorted[i] ?? 0;
  return { median: at(sorted.length >> 1), min: at(0), max: at(sorted.length - 1) };
}

/**
 * Returns the median and the quartiles of our time divided by theirs, round by round: load of the machine affects both.
 */
export function ratio(
  ours: readonly number[],
  theirs: readonly number[],
): { median: number; lower: number; upper: number } {
  const ratios = ours.map((time, i) => time / (theirs[i] ?? 1)).sort((a, b) => a - b);
  const at = (share: number) => Number((ratios[Math.floor((ratios.length - 1) * share)] ?? 0).toFixed(2));
  return { median: at(0.5), lower: at(0.25), upper: at(0.75) };
}
