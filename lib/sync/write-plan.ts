/** Writes the plan of one target of `sync`. */
import { applyImport, type TargetReport } from "../import/apply.ts";
import type { Change } from "../import/plan/change.ts";
import type { PreparedImport } from "../import/prepare.ts";

/** What was written into a target. */
export interface WrittenPlan {
  report: TargetReport;
  /** The changes that were made, in order. */
  changes: Change[];
}

/**
 * Writes the plan of one target.
 *
 * @param signal - stops before the next write.
 */
export async function writePlan(prepared: PreparedImport, signal: AbortSignal): Promise<WrittenPlan> {
  const changes: Change[] = [];
  for await (const event of applyImport(prepared, { signal })) {
    if (event.kind === "written") changes.push(event.change);
    else if (event.kind === "report") return { report: event.report, changes };
  }
  throw new Error("an import of one target ends with its report");
}
