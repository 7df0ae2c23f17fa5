/** Writes the plan of one target of `sync`. */
import { applyImport, TargetChanged, type TargetReport } from "../import/apply.ts";
import type { Change } from "../import/plan/change.ts";
import type { PreparedImport } from "../import/prepare.ts";
import { UserError } from "../util/errors.ts";

/** A target could not be written; the member was read. */
export class WriteFailure extends UserError {
  /** The cluster name. */
  readonly target: string;

  constructor(target: string, error: UserError) {
    super(error.message, error.exitCode, { cause: error });
    this.target = target;
  }

  /** Whether another client changed the target meanwhile, so that it has to be read again. */
  get isConflict(): boolean {
    return this.cause instanceof TargetChanged;
  }
}

/** What was written into a target. */
export interface WrittenPlan {
  report: TargetReport;
  /** The changes that were made, in order. */
  changes: Change[];
}

/**
 * Writes the plan of one target. If another client changed it meanwhile, the report is failed by TargetChanged: that client
 * may have written a peer that changed after it was read here.
 *
 * @param signal - stops before the next write.
 */
export async function writePlan(prepared: PreparedImport, signal: AbortSignal): Promise<WrittenPlan> {
  const changes: Change[] = [];
  for await (const event of applyImport(prepared, { signal, onConflict: "fail" })) {
    if (event.kind === "written") changes.push(event.change);
    else if (event.kind === "report") return { report: event.report, changes };
  }
  throw new Error("an import of one target ends with its report");
}
