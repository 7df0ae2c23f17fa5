/** Every command of ours that a message, a screen or a page shows is one that the programs accept. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { definitionOf, FINDING_CODES, type FindingCode } from "../../lib/peer/finding-codes.ts";
import { fillTemplate } from "../../lib/peer/findings.ts";
import { type RenewalMethod, renewalRemedy } from "../../lib/peer/renewal.ts";
import { UserError } from "../../lib/util/errors.ts";
import { addGivenFlags } from "../../scripts/cli/given-flags.ts";
import { parseArguments } from "../../scripts/cli/parse.ts";
import type { Program } from "../../scripts/cli/run.ts";
import { commands } from "../../scripts/commands.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const programs = new Map<string, Program>();
for (const [name, { standalone, load }] of Object.entries(commands)) {
  const program = await load();
  programs.set(`clustermesh-secrets ${name}`, program);
  programs.set(`kubectl clustermesh-secrets ${name}`, program);
  if (standalone !== undefined) programs.set(standalone, program);
}

const NAMES = [...programs.keys()].sort((a, b) => b.length - a.length).join("|");

/** A command at the start of a line or after a separator, up to the next separator. */
const COMMAND = new RegExp(`(?<=^[\\s$#]*|: |\\| |&& |; |\`)(${NAMES})((?: (?!\\||&&|>|2>|<|#)[^\\s\`;)]+)*)`, "gm");

/** The commands in a text, each with its program. */
function commandsIn(text: string): [program: string, args: string[]][] {
  return [...text.matchAll(COMMAND)].map(([, program = "", args = ""]) => [
    program,
    wordsOf(args.replace(" [flags]", "").replace("--for COMMAND...", "--for extract")),
  ]);
}

/** Splits a command line without expansions, as a shell does. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replace(/["']/g, ""));
}

/** Why a command is not accepted; undefined if it is. */
function refusal([name, args]: [program: string, args: string[]]): string | undefined {
  const program = programs.get(name);
  assert.ok(program);
  try {
    parseArguments(name, program, args);
    return undefined;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return `${name} ${args.join(" ")}: ${error.message}`;
  }
}

function assertAccepted(text: string, least: number, where: string): void {
  const found = commandsIn(text);
  assert.ok(found.length >= least, `${where}: ${found.length} commands found`);
  assert.deepEqual(
    found.flatMap((one) => refusal(one) ?? []),
    [],
    where,
  );
}

test("a command with an unknown flag, or a flag without its value, is found in a text", () => {
  const text = "  extract-secret --context a | import-secrets --contxt b -; clustermesh-secrets rotate c --context";
  assert.deepEqual(
    commandsIn(text).map((one) => refusal(one) !== undefined),
    [false, true, true],
  );
});

/** The remedies of all findings, in each case, with placeholders for values. */
function* remediesOfFindings(): Generator<string> {
  /** Values that are all the same, so that each case of a remedy is seen. */
  const values = (value: unknown) =>
    new Proxy(
      {},
      { get: (_, name) => (value === undefined ? `{${String(name)}}` : value), has: () => value === "" },
    ) as never;
  const cases = [undefined, "", "file", "trust", "users", "refused", "taken", "host-aliases", "key", "auth-mode"];
  for (const code of Object.keys(FINDING_CODES) as FindingCode[]) {
    const { remedy } = definitionOf(code);
    for (const one of typeof remedy === "function" ? cases.map((value) => remedy(values(value))) : [remedy]) {
      if (one) yield fillTemplate(typeof one === "string" ? { template: one, values: {} } : one);
    }
  }
}

test("commands in remedies of findings are accepted", () => {
  assertAccepted([...remediesOfFindings()].join("\n"), 15, "remedies");
});

test("commands of other programs in remedies of findings select the cluster", () => {
  const found = [...remediesOfFindings()].join("\n").match(/\b(kubectl|cmctl) (?!clustermesh-secrets).*/g) ?? [];
  assert.ok(found.length >= 3, String(found.length));
  for (const command of found) assert.match(command, / --context \S+ /);
});

test("placeholders in commands of findings are words that a reader knows", () => {
  const known = new Set(["CLUSTER", "CONTEXT", "FILE", "HOST", "IMPORTER", "NAME", "NAMESPACE", "PEER", "PORT"]);
  const words = commandsIn([...remediesOfFindings()].join("\n")).flatMap(
    ([, args]) => args.join(" ").match(/[A-Z_]{3,}/g) ?? [],
  );
  assert.deepEqual(
    [...new Set(words)].filter((word) => !known.has(word)),
    [],
  );
});

/** The remedies for certificates of cluster `my c`, by each method of renewal. */
function remediesForCertificates(): string[] {
  const methods: (RenewalMethod | undefined)[] = [
    undefined,
    { kind: "helm", release: "cilium", namespace: "kube-system" },
    { kind: "cronJob", name: "renew", namespace: "kube-system" },
    { kind: "cert-manager", certificate: "c", namespace: "kube-system" },
  ];
  return (["client", "server", "ca"] as const).flatMap((use) =>
    methods.flatMap((method) =>
      [undefined, ["c1", "c 2"]].flatMap((importers) =>
        [false, true].map((renewed) =>
          fillTemplate(
            renewalRemedy(use, { cluster: "c", context: "my c", method, importers, renewed, expires: "2027-01-01" }),
          ),
        ),
      ),
    ),
  );
}

test("commands in remedies for certificates are accepted", () => {
  const remedies = remediesForCertificates();
  assertAccepted(remedies.join("\n"), remedies.length, "renewal");
});

test("commands in remedies for clusters of Secrets are accepted, and none takes such a cluster for a context", () => {
  const names = ["'my c'", "c1", "'c 2'"];
  const flags = { "clusters-from": "argocd", kubeconfig: "hub", as: "ci" };
  const lines = [...remediesOfFindings(), ...remediesForCertificates()].flatMap((remedy) => remedy.split("\n"));
  const completed = lines.map((line) => addGivenFlags(line, flags, new Set(names)));
  assertAccepted(completed.join("\n"), 40, "remedies");
  const single = completed.flatMap(
    (line) => line.match(/\b(?:kubectl|cmctl|helm) (?!clustermesh-secrets)[^&|;]*/g) ?? [],
  );
  assert.ok(single.some((command) => command.includes(" --kubeconfig FILE")));
  for (const command of single) {
    assert.doesNotMatch(command, /context[ =](?:'|c1|IMPORTER|PEER)/);
    assert.ok(!/ FILE\b/.test(command) || !/ --as\b/.test(command), command);
  }
  for (const command of completed.flatMap(
    (line) => line.match(/\bclustermesh-secrets (?:connect|rotate)[^&|;]*/g) ?? [],
  ))
    assert.match(command, / --clusters-from=argocd /);
});

test("commands in messages and on screens are accepted", () => {
  const folder = join(root, "test", "golden");
  // In messages.txt, parts in braces are expressions.
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), "utf8");
    const least = { "messages.txt": 20, "help.txt": 20 }[file] ?? 0;
    assertAccepted(
      text
        .replaceAll("\\n", "\n")
        .replaceAll(/\n {4,}/g, " ")
        .replaceAll(/\{[^{}\n]*\}/g, "X"),
      least,
      file,
    );
  }
});

test("commands in the docs are accepted", () => {
  const pages = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).filter((page) =>
    page.endsWith(".md"),
  );
  let count = 0;
  for (const page of [...pages.map((one) => join("docs", one)), "README.md"]) {
    const text = readFileSync(join(root, page), "utf8").replaceAll("\\\n", "").replaceAll("\\|", "|");
    count += commandsIn(text).length;
    assertAccepted(text, 0, page);
  }
  assert.ok(count > 150, String(count));
});
