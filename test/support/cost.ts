/** What work costs, for tests that what is absurdly large does not take time by its square. */

/** Parsed as the measure: a million numbers. */
const MEASURE = `[${"1,".repeat(1_000_000)}1]`;

/**
 * The CPU time that work takes, as a multiple of what it takes to parse a million numbers as JSON, measured right before
 * it three times, of which the longest counts: so neither a slow machine nor a busy one makes a test fail.
 */
export function relativeCost(work: () => void): number {
  const measure = measureCost();
  return cpuTime(work) / measure;
}

/** The CPU time of that measure, in microseconds, to compare what a program took with. */
export function measureCost(): number {
  return Math.max(...Array.from({ length: 3 }, () => cpuTime(() => JSON.parse(MEASURE))));
}

/** In microseconds, of this process. */
function cpuTime(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return Math.max(1, user + system);
}
