/** Renders the reference pages from the tables that the programs use. */

import type { CodeDefinition } from "../../lib/peer/codes/code.ts";
import { definitionOf, FINDING_CODES, type FindingCode } from "../../lib/peer/finding-codes.ts";
import { FILE_METRICS } from "../../lib/render/file-metrics.ts";
import type { Metric } from "../../lib/render/metric.ts";
import { STATUS_METRICS } from "../../lib/render/status-metrics.ts";
import { SYNC_METRICS } from "../../lib/render/sync-metrics.ts";
import { HOLD_REASONS } from "../../lib/sync/state.ts";
import type { Option } from "../../scripts/cli/option.ts";
import { commands, PROGRAM } from "../../scripts/commands.ts";

/** Renders docs/reference/commands.md from the tables behind `--help`. */
export async function renderCommands(): Promise<string> {
  const sections: string[] = [];
  for (const [name, { summary, standalone, load }] of Object.entries(commands)) {
    const { usage, description, options, examples, exitCodes } = await load();
    const program = `${PROGRAM} ${name}`;
    const fill = (text: string) => text.replaceAll("$0", program);
    sections.push(
      `## ${name}`,
      `${summary}.${standalone ? ` The program \`${standalone}\` is the same command.` : ""}`,
      `\`\`\`\n${fill(usage)}\n\`\`\``,
      description,
      flagTable(options),
      ...(examples.length === 0
        ? []
        : [`\`\`\`sh\n${examples.map(([command, text]) => `# ${text}\n${fill(command)}`).join("\n\n")}\n\`\`\``]),
      table(["exit code", "meaning"], Object.entries(exitCodes)),
    );
  }
  return `${["# Commands", COMMANDS_INTRODUCTION, ...sections].join("\n\n")}\n`;
}

const COMMANDS_INTRODUCTION = `This page is generated from the tables behind \`--help\`. Every command is also available as \`kubectl clustermesh-secrets\`.
Data is printed on stdout, everything else on stderr.

A command that is ended by a signal exits with 128 plus the number of the signal: 130 after Ctrl-C, 143 after SIGTERM, 129
after the terminal is closed. The write in progress is completed first; a second signal ends the command at once. If several
exit codes apply, 2 precedes 1, and 1 precedes 3.`;

/** Renders docs/findings.md from the table of finding codes. */
export function renderFindings(): string {
  const rows = (Object.keys(FINDING_CODES) as FindingCode[]).map((code) => {
    const definition = definitionOf(code);
    return [`\`${code}\``, definition.severity, meaningOf(definition), remedyOf(definition)];
  });
  const former = (Object.keys(FINDING_CODES) as FindingCode[]).flatMap((code) => {
    const { formerCode } = definitionOf(code);
    return formerCode === undefined ? [] : [[`\`${formerCode}\``, `\`${code}\``]];
  });
  return `${[
    "# Findings",
    FINDINGS_INTRODUCTION,
    table(["code", "severity", "meaning", "remedy"], rows),
    ...(former.length === 0 ? [] : ["## Former codes", FORMER_INTRODUCTION, table(["former code", "code"], former)]),
  ].join("\n\n")}\n`;
}

const FINDINGS_INTRODUCTION = `This page is generated from the table of finding codes. Codes are stable; messages and remedies are not.

An error stops an import before anything is written. \`inspect\`, \`verify\` and \`status\` exit with 3 on errors, and
with \`--fail-on=warning\` on warnings too. \`inspect\` also exits with 3 if a peer would not connect. \`status\` exits with 1
if a cluster cannot be read. A word in capitals stands for a value that the finding contains.`;

const FORMER_INTRODUCTION = "Findings in JSON and YAML contain the code of earlier versions in the field `formerCode`.";

/** Renders docs/reference/metrics.md from the tables of metrics. */
export function renderMetricNames(): string {
  const rows = (metrics: readonly Metric<never>[]) =>
    metrics.map(({ name, labelNames, help }) => [
      `\`${name}\``,
      labelNames.map((label) => `\`${label}\``).join(", "),
      help.replace(/\.$/, ""),
    ]);
  const heading = ["metric", "labels", "meaning"];
  return `${[
    "# Metrics",
    METRICS_INTRODUCTION,
    "## status -o prometheus",
    table(heading, rows(STATUS_METRICS)),
    "## inspect -o prometheus",
    table(heading, rows(FILE_METRICS)),
    "## sync --listen",
    SYNC_METRICS_INTRODUCTION,
    table(heading, rows(SYNC_METRICS)),
    LABELS_EXPLANATION,
  ].join("\n\n")}\n`;
}

const METRICS_INTRODUCTION = `This page is generated from the tables of metrics, in Prometheus' text format 0.0.4 without timestamps. Metrics whose names
end with \`_total\` are counters, the others gauges. Whether something holds is 1 for yes and 0 for no.
[Monitor a mesh](../monitoring.md) describes how to scrape them and which alerts to set.`;

const SYNC_METRICS_INTRODUCTION = `At \`/metrics\`. \`status -o prometheus\` prints some of them with the same meaning, so that its alerts hold for both. A
process on standby has only \`build_info\`, \`leader\`, \`ready\`, \`last_progress\` and \`process_\`. The series of a member end when
it leaves the list, and \`clustermesh_findings\` has the codes that any member has. Counters of \`sync\` are part of its state, so they continue in another process.`;

const LABELS_EXPLANATION = `## Labels

| label | value |
| --- | --- |
| \`context\` | context in the kubeconfig with which a cluster is read, or its name in \`--clusters-from\` |
| \`cluster\` | its cluster name, once it could be read |
| \`peer\` | cluster name of a peer; missing for a cluster's own certificates |
| \`use\` | role of a certificate: \`client\`, \`server\` (of a peer: with \`--probe\`) or \`ca\` |
| \`state\` | \`ok\`, \`warning\`, \`error\`, \`missing\` (not a peer) or \`node-local\` |
| \`reason\` | why \`sync\` holds a peer: ${HOLD_REASONS.map((reason) => `\`${reason}\``).join(", ")} |
| \`verdict\` | \`connects\`, \`warnings\`, \`default-certificates\`, \`node-local\` or \`fails\` |
| \`severity\`, \`code\` | as in [findings](../findings.md) |
| \`file\` | path of a file as it was passed |

Of several certificates for one use, the time is that of the first to expire. Of several CAs it is that of the last, because a
bundle contains the old CA too while it is being replaced.`;

/** Values in whose place their names are printed, in capitals. */
const NAMES = new Proxy({}, { get: (_, name) => `{${String(name)}}` }) as never;

/** What several findings of the code report together, without values in parentheses. */
function meaningOf({ summary, noun = "peers" }: CodeDefinition<never>): string {
  return toPlaceholders(summary(noun, NAMES).replace(/ \(\{\w+\}\)/g, ""));
}

/** The remedy, if it is the same for all findings of the code, or a template. */
function remedyOf({ remedy }: CodeDefinition<never>): string {
  if (remedy === undefined) return "stated by the finding, if there is one";
  const found = typeof remedy === "string" ? remedy : remedy(NAMES);
  if (typeof found === "object") return toPlaceholders(found.template);
  return typeof remedy === "string" ? toPlaceholders(remedy) : "stated by the finding";
}

/** Values whose names mean nothing to a reader. */
const SPELLED: Readonly<Record<string, string>> = {
  release: "stop OWNER from managing the object",
  waitingFor: "for its containers to become ready",
};

function toPlaceholders(template: string): string {
  return template.replace(
    /\{(\w+)\}/g,
    (_, name: string) => SPELLED[name] ?? name.replace(/[A-Z]/g, "_$&").toUpperCase(),
  );
}

/** Flags by group, in the order of the table; those without a group are last. */
function flagTable(options: Readonly<Record<string, Option>>): string {
  const groups = new Map<string, [string, Option][]>();
  for (const [name, option] of Object.entries(options)) {
    if (option.hidden) continue;
    const group = option.group?.replace(/:$/, "") ?? "Other";
    groups.set(group, [...(groups.get(group) ?? []), [name, option]]);
  }
  const rows = [...groups].flatMap(([group, flags]) =>
    flags.map(([name, option], i) => [i === 0 ? group : "", flag(name, option), describe(option)]),
  );
  return table(["", "flag", "description"], rows);
}

function flag(name: string, { alias, type, array }: Option): string {
  const letters = typeof alias === "string" ? `\`-${alias}\`, ` : "";
  const isBoolean = type === "boolean" && !array;
  return `${letters}\`--${name}\`${isBoolean ? "" : ` *${type === "number" ? "number" : "string"}*`}`;
}

function describe({ describe: text = "", choices, default: standard }: Option): string {
  const among = choices ? `; values: ${choices.map((choice) => `\`${choice}\``).join(", ")}` : "";
  const preset = standard === undefined || standard === false ? "" : ` (default \`${standard}\`)`;
  return `${text}${among}${preset}`;
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(heading), line(heading.map(() => "---")), ...rows.map(line)].join("\n");
}
