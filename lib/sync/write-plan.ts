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

/** A version of an object that this process has written, whose content it knows. */
export interface WrittenVersion {
  kind: "Secret" | "ConfigMap";
  name: string;
  resourceVersion: string;
}

/** What was written into a target. */
export interface WrittenPlan {
  report: TargetReport;
  /** The changes that were made, in order. */
  changes: Change[];
  /** The versions of the Secrets and ConfigMaps that were written. Workloads are read again. */
  versions: WrittenVersion[];
}

/**
 * Writes the plan of one target. If another client changed it meanwhile, the report is failed by TargetChanged: that client
 * may have written a peer that changed after it was read here.
 *
 * @param signal - stops before the next write.
 */
export async function writePlan(prepared: PreparedImport, signal: AbortSignal): Promise<WrittenPlan> {
  const changes: Change[] = [];
  const versions: WrittenVersion[] = [];
  for await (const event of applyImport(prepared, { signal, onConflict: "fail" })) {
    if (event.kind === "report") return { report: event.report, changes, versions };
    if (event.kind === "change") continue;
    changes.push(event.change);
    const { kind, name, verb } = event.change;
    if (event.resourceVersion === undefined || verb === "json-patch") continue;
    versions.push({ kind, name, resourceVersion: event.resourceVersion });
  }
  throw new Error("an import of one target ends with its report");
}
