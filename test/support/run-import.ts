/** Runs imports as the commands do, without prompts. */
import { type ApplyOptions, applyImport, type ImportEvent, type TargetReport } from "../../lib/import/apply.ts";
import {
  hasChanges,
  type ImportOptions,
  type ImportTarget,
  type PreparedImport,
  prepareImport,
} from "../../lib/import/prepare.ts";
import type { MeshChange } from "../../lib/mesh/member.ts";
import { type Finding, hasErrors } from "../../lib/peer/findings.ts";
import { OPTIONS } from "./targets.ts";

export interface ImportRunOptions extends Partial<ImportOptions>, ApplyOptions {
  /** Called if there are changes: returns the import to apply, or undefined to decline. Default: all changes. */
  confirm?: (prepared: PreparedImport) => PreparedImport | undefined | Promise<PreparedImport | undefined>;
}

export interface ImportResult {
  prepared: PreparedImport;
  /** In the order of the targets; undefined if the import was refused or declined. */
  reports: TargetReport[] | undefined;
  /** Errors that prevented the import. */
  refused: Finding[];
  changes: string[];
}

/** Prepares, confirms and applies an import. */
export async function runImport(
  targets: readonly ImportTarget[],
  options: ImportRunOptions = {},
): Promise<ImportResult> {
  const { confirm = (one) => one } = options;
  const prepared = await prepareImport(targets, { plan: OPTIONS, resolve: async () => [], ...options });
  const errorsOf = ({ findings }: PreparedImport) => findings.filter(({ severity }) => severity === "error");
  if (hasErrors(prepared.findings)) return { prepared, reports: undefined, refused: errorsOf(prepared), changes: [] };
  const confirmed = hasChanges(prepared) ? await confirm(prepared) : prepared;
  const refused = confirmed ? errorsOf(confirmed) : [];
  if (!confirmed || refused.length > 0) return { prepared, reports: undefined, refused, changes: [] };
  const events: ImportEvent[] = [];
  for await (const event of applyImport(confirmed, options)) events.push(event);
  const reports = events.flatMap((event) => (event.kind === "report" ? [event.report] : []));
  const order = confirmed.targets.map(({ source }) => source);
  return {
    prepared,
    reports: reports.sort((a, b) => order.indexOf(a.source) - order.indexOf(b.source)),
    refused: [],
    changes: events.flatMap((event) =>
      event.kind === "change" ? [`${event.change.verb} ${event.change.kind} ${event.change.name}`] : [],
    ),
  };
}

/** Applies a change of the mesh. */
export function runChange(
  { targets, peers, findings }: MeshChange,
  options: ImportRunOptions = {},
): Promise<ImportResult> {
  return runImport(targets, { peers, findings, checkPermissions: true, ...options });
}
