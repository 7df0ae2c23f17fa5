/** Prints the state of a mesh. */
import type { MeshStatus } from "../../lib/mesh/status.ts";
import { findingsOf, reportOf } from "../../lib/mesh/status-report.ts";
import { showMermaid, showStatus } from "../../lib/render/status.ts";
import { escapeLine, styleFor } from "../../lib/render/style.ts";
import { printDocument } from "./report.ts";
import { writeLines, writeStdout } from "./streams.ts";
import { log, style } from "./terminal.ts";

/** Prints a state to stdout, in the format of `--output`. */
export function printStatus(
  status: MeshStatus,
  { output, details }: { output?: string | undefined; details: boolean },
): void {
  if (output === "json" || output === "yaml") {
    printDocument(reportOf(status), output);
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
