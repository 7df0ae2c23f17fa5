/** Pages as `status -o html` prints them. */
import { buildPageAssets } from "../../build/page-assets.mjs";
import type { MeshStatus } from "../../lib/mesh/status.ts";
import { renderStatusPage } from "../../lib/render/html.ts";
import type { PageData } from "../../lib/render/page/page-data.ts";
import { splitCommands } from "../../scripts/cli/find-commands.ts";

const assets = await buildPageAssets();

/** Renders the page of a state. */
export function pageOf(status: MeshStatus, details = false): string {
  return renderStatusPage(status, { assets, splitRemedy: splitCommands, details });
}

/** Reads the data in a page. */
export function dataOf(page: string): PageData {
  const [, json = ""] = /<script type="application\/json" id="data">([^<]*)<\/script>/.exec(page) ?? [];
  return JSON.parse(json);
}
