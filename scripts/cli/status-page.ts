/** `status -o html`. The build makes a separate file of this module, which is loaded only for this output. */
import type { MeshStatus } from "../../lib/mesh/status.ts";
import { renderStatusPage, type StatusPageOptions } from "../../lib/render/html.ts";

/** Set by the build. */
declare const __PAGE_ASSETS__: StatusPageOptions["assets"];

/** Renders the state of a mesh as a page with the CSS and the script of the build. */
export function buildStatusPage(status: MeshStatus, options: Omit<StatusPageOptions, "assets">): string {
  return renderStatusPage(status, { ...options, assets: __PAGE_ASSETS__ });
}
