/**
 * The tests of code that needs no server of its own, many in one process: each process takes half a second to start, and
 * what tests make once, as certificates, is made once for all of them. A file of them runs by itself as well.
 */
import { suites } from "./suites.mjs";

/** Runs the tests of these folders. */
export async function runUnits(folders: readonly string[]): Promise<void> {
  const { units } = suites();
  for (const path of units.filter((one) => folders.some((folder) => one.startsWith(`test/${folder}/`)))) {
    await import(`../../${path}`);
  }
}
