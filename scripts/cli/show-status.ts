/** Prints the state of a mesh. */
import type { MeshStatus } from "../../lib/mesh/status.ts";
import { findingsOf, reportOf } from "../../lib/mesh/status-report.ts";
import { hasErrors } from "../../lib/peer/findings.ts";
import { showMermaid, showStatus, showVerdict } from "../../lib/render/status.ts";
import { escapeLine, styleFor } from "../../lib/render/style.ts";
import { splitCommands } from "./find-commands.ts";
import { type OutputArguments, printDocument, printOutput } from "./report.ts";
import { completeRemedy, writeLines, writeStdout } from "./streams.ts";
import { log, style } from "./terminal.ts";

/** The outputs that `--output-file` is for. */
export const FILE_OUTPUTS = ["html", "prometheus"];

/**
 * Prints a state to stdout or a file, in the format of `--output`. With a file, the verdict about an unhealthy mesh is logged,
 * so that the mail of a cron job names it.
 *
 * @throws UserError (exit code 1) if it cannot be written.
 */
export async function printStatus(status: MeshStatus, args: OutputArguments & { details: boolean }): Promise<void> {
  const { output, details } = args;
  if (args["output-file"] !== undefined && hasErrors(findingsOf(status))) log(showVerdict(status, style));
  if (output === "json" || output === "yaml") {
    printDocument(reportOf(status), output);
  } else if (output === "prometheus") {
    // prom-client is loaded only here.
    const { renderStatusMetrics } = await import("../../lib/render/metrics.ts");
    await printOutput(await renderStatusMetrics(reportOf(status)), args);
  } else if (output === "html") {
    const { buildStatusPage } = await import("./status-page.ts");
    const splitRemedy = (line: string) => splitCommands(completeRemedy(line));
    await printOutput(buildStatusPage(status, { splitRemedy, details }), args);
  } else if (output === "mermaid") writeStdout(showMermaid(status));
  else {
    const lines = showStatus(status, styleFor(process.stdout, process.env), { wide: output === "wide", details });
    writeLines(lines);
  }
}

/** Returns a function that logs the first error of an unhealthy mesh, unless it was logged last. */
export function createWaitingLog(): (status: MeshStatus) => void {
  let last = "";
  return (status) => {
    const [first, ...others] = findingsOf(status).filter(({ severity }) => severity === "error");
    const more = others.length > 0 ? `, and ${others.length} more` : "";
    const line = first ? `waiting: ${first.source}: ${first.message}${more}` : "waiting for warnings to clear";
    if (line !== last) log(style.dim(escapeLine(line)));
    last = line;
  };
}
