/** CPU time and memory of a running process, from /proc (Linux only). */
import { readFileSync } from "node:fs";

/** Ticks of /proc per second; the same on all platforms of Linux. */
const TICKS = 100;

export interface Usage {
  /** Seconds of all threads, in user and kernel mode. */
  cpu: number;
  /** Resident memory in MiB, now and at its peak. */
  rss: number;
  peak: number;
}

/** @throws Error if there is no such process */
export function readUsage(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name of the command, in parentheses, may have spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const mib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) / 1024;
  return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS, rss: mib("VmRSS"), peak: mib("VmHWM") };
}
