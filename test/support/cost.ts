/** CPU cost relative to a reference, for tests that detect quadratic run time. */

/** The reference: parsing a million numbers as JSON. */
const REFERENCE = `[${"1,".repeat(1_000_000)}1]`;

/**
 * Returns the CPU time of some work as a multiple of the reference. The reference is measured right before, as the maximum
 * of three runs, so that the result depends neither on the speed of the machine nor on its load.
 */
export function relativeCost(work: () => void): number {
  const measure = measureCost();
  return cpuTime(work) / measure;
}

/** Returns the CPU time of the reference, in microseconds. */
export function measureCost(): number {
  return Math.max(...Array.from({ length: 3 }, () => cpuTime(() => JSON.parse(REFERENCE))));
}

/** Returns the CPU time of this process, in microseconds. */
function cpuTime(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return Math.max(1, user + system);
}
