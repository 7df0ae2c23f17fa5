/** The state of a mesh as one HTML page without external resources. Pure. */
import { createHash } from "node:crypto";
import type { MeshStatus } from "../mesh/status.ts";
import { findingsOf } from "../mesh/status-report.ts";
import { hasErrors } from "../peer/findings.ts";
import { judgeHealth } from "./cluster-rows.ts";
import { countGroups, type FindingGroup, groupFindings } from "./finding-groups.ts";
import { toPageData } from "./html-data.ts";
import { clusterTable, type FindingList, givenEndpointsNote, listFindings } from "./html-sections.ts";
import { Markup, markup, toJsonMarkup } from "./markup.ts";
import { explainMarks, idsInPairs, listPeers, MARKS, stateLookups } from "./mesh-matrix.ts";
import type { RemedyLine } from "./page/page-data.ts";
import { count } from "./style.ts";

export interface StatusPageOptions {
  /** The CSS and the script of the page. They must not contain `</`. */
  assets: { style: string; script: string };
  /** Splits a line of a remedy into prose and commands, which get the flags of the running command. */
  splitRemedy(line: string): RemedyLine;
  /** Lists every finding separately. */
  details?: boolean;
}

/**
 * Renders the state of a mesh: a matrix, which the script draws from data in JSON, findings, and a table of clusters. The
 * page depends on nothing but the arguments. Its Content-Security-Policy allows only its own style and script, by their
 * hashes, and no request.
 */
export function renderStatusPage(
  status: MeshStatus,
  { assets, splitRemedy, details = false }: StatusPageOptions,
): string {
  const groups = groupFindings(findingsOf(status), details);
  const sorted = [...groups.filter(isError), ...groups.filter((group) => !isError(group))];
  const { size, verdict, health } = judgeHealth(status, groups);
  const list = listFindings(sorted, splitRemedy);
  const data = toPageData(status, { groups: sorted, listed: list.items.length, splitRemedy });
  const page = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policyFor(assets)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Cluster Mesh: ${size}, ${verdict}</title>
<style>${new Markup(assets.style)}</style>
</head>
<body>
<header>
<h1>Cluster Mesh</h1>
<p class="summary"><strong>${size}</strong>, <span class="health ${health}"><span aria-hidden="true">${MARKS[health]}</span> ${verdict}</span></p>
</header>
<main>
${filterForm(data.codes)}
${matrixSection(status)}
${findingsSection(list, sorted)}
<section aria-labelledby="clusters-title">
<h2 id="clusters-title">Clusters</h2>
<div class="scroll" id="clusters">${clusterTable(status, groups)}</div>
</section>
</main>
<script type="application/json" id="data">${toJsonMarkup(data)}</script>
<script>${new Markup(assets.script)}</script>
</body>
</html>
`;
  return page.text;
}

const isError = ({ findings }: FindingGroup) => hasErrors(findings);

/** Returns a policy that allows the assets by their hashes, and nothing else. */
function policyFor({ style, script }: StatusPageOptions["assets"]): string {
  const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return [
    "default-src 'none'",
    `style-src ${hashOf(style)}`,
    `script-src ${hashOf(script)}`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ");
}

/** The filters, which the script shows. */
function filterForm(codes: readonly string[]): Markup {
  const options = [...codes].sort().map((code) => markup`<option>${code}</option>`);
  return markup`<form id="filters" class="filters" role="search" aria-label="Filters" hidden>
<label>Cluster <input id="filter-name" type="search" autocomplete="off" spellcheck="false" placeholder="part of a name"></label>
<label>as <select id="filter-role"><option value="importer">importer (row)</option><option value="peer">peer (column)</option><option value="either">importer or peer</option><option value="both">importer and peer</option></select></label>
<label>Finding <select id="filter-code"><option value="">any</option>${options}</select></label>
<label class="check"><input id="filter-problems" type="checkbox"> only problems</label>
<button type="reset">Reset</button>
<output id="filter-result" aria-live="polite"></output>
</form>`;
}

/** The matrix, which the script draws, with the details of a cell. Empty for a single cluster. */
function matrixSection(status: MeshStatus): Markup {
  const peers = listPeers(status, idsInPairs(status));
  if (peers.length === 0) return new Markup("");
  return markup`<section aria-labelledby="matrix-title">
<h2 id="matrix-title">Connections</h2>
<p class="note" id="legend">Connections from rows (importers) to columns (peers): ${explainMarks(peers, stateLookups(status))}</p>
${givenEndpointsNote(status)}
<noscript><p class="note">The matrix requires JavaScript. The findings and the table of clusters below do not.</p></noscript>
<div class="matrix" id="matrix" hidden>
<div class="scroll" id="matrix-scroll"></div>
<aside id="details" aria-label="Selected connection or cluster" aria-live="polite">
<p class="note">Point at a cell or a name to show its findings. Click it, or press Enter, to keep them. Arrow keys move in the matrix.</p>
</aside>
</div>
</section>`;
}

function findingsSection({ items, more }: FindingList, groups: readonly FindingGroup[]): Markup {
  const { error: errors, warning: warnings } = countGroups(groups);
  const total = groups.length === 0 ? "none" : `${count(errors, "error")}, ${count(warnings, "warning")}`;
  const others =
    more > 0
      ? markup`<p class="note">${count(more, "more finding")} are not listed; <code>clustermesh-secrets status -o json</code> prints all.</p>`
      : "";
  return markup`<section aria-labelledby="findings-title">
<h2 id="findings-title">Findings <span class="note">(${total})</span></h2>
<ol class="findings" id="findings">
${items}</ol>
${others}
</section>`;
}
