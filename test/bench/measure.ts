/** Whole processes, timed. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const REPORT_MEMORY = fileURLToPath(new URL("../support/report-memory.cjs", import.meta.url));

export interface Subject {
  what: string;
  command: string[];
  env: NodeJS.ProcessEnv;
  /** Done before each run, and not measured. */
  before?: () => Promise<void>;
}

export interface Summary {
  median: number;
  min: number;
  max: number;
}

/** Runs a command to its end, and gives the milliseconds. Throws where it fails. */
export function measure({ command: [program = "", ...args], env }: Pick<Subject, "command" | "env">): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(program, args, { stdio: "ignore", env });
    child.on("error", reject);
    child.on("exit", (code) =>
      // 3: written or looked at, and clusters are made of objects alone here.
      code === 0 || code === 3
        ? resolve(performance.now() - started)
        : reject(new Error(`${program} ${args.slice(0, 3).join(" ")}: exit ${code}`)),
    );
  });
}

/** As `measure`, for a program of Node's, with the most memory that it had, in MiB. `file`: a path to write it to. */
export async function measureMemory(subject: Subject, file: string): Promise<{ took: number; peak: number }> {
  const env = { ...subject.env, NODE_OPTIONS: `--require ${REPORT_MEMORY}`, USAGE: file };
  const took = await measure({ ...subject, env });
  return { took, peak: Number(readFileSync(file, "utf8")) / 1024 };
}

/** Runs each in turn, again and again, after one round that does not count. Gives the times of each. */
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
 * Ours over theirs, round by round: what slows the whole machine down for a while slows both.
 *
 * @returns the median of the rounds, and their quartiles.
 */
export function ratio(
  ours: readonly number[],
  theirs: readonly number[],
): { median: number; lower: number; upper: number } {
  const ratios = ours.map((time, i) => time / (theirs[i] ?? 1)).sort((a, b) => a - b);
  const at = (share: number) => Number((ratios[Math.floor((ratios.length - 1) * share)] ?? 0).toFixed(2));
  return { median: at(0.5), lower: at(0.25), upper: at(0.75) };
}
