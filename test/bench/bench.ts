/**
 * Benchmarks of `make bench` and `make bench-lts`: wall times of the built programs, interleaved with bare node, kubectl and,
 * if kubectl and jq are installed, the exchange by scripts. Runs on real API servers if the assets exist, else on the sandbox.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { programPath, run } from "../support/programs.ts";
import { type Clusters, manyFiles, startClusters } from "./clusters.ts";
import { measure, measureInterleaved, measureMemory, ratio, type Subject, summarize } from "./measure.ts";

// Rarely set by users, and costs about 80 ms per start of Node.
delete process.env.NODE_EXTRA_CA_CERTS;

const RUNS = Number(process.env.RUNS ?? 21);
/** Runs of slow subjects. */
const FEW = Math.ceil(RUNS / 4);
/** Sizes of the meshes that `connect` joins on the sandbox. */
const MESHES = [3, 10, 30, 100, 254, 510];

/** Ratios to report, with the maximum as goal. */
const GOALS: { what: string; against: string; most?: number }[] = [
  { what: "--help", against: "node -e 0", most: 1.5 },
  { what: "completion of a flag", against: "node -e 0", most: 1.5 },
  { what: "extract-secret", against: "the old extract", most: 0.35 },
  { what: "import-secrets, 2 new files", against: "the old import, 2 new files", most: 0.7 },
  { what: "import-secrets, 2 new files", against: "jq, and kubectl apply, 2 new files" },
  { what: "import-secrets, 46 new files", against: "the old import, 46 new files", most: 0.25 },
  { what: "connect, 3 clusters", against: "the old scripts, 3 clusters", most: 0.12 },
  { what: "inspect, 510 files", against: "node:crypto on the certificates of 510 files", most: 3 },
  { what: "extract-secret, 50 ms away", against: "the old extract, 50 ms away", most: 0.15 },
];

/** Script that parses every certificate of a folder of files. */
const READ_ALL = `
const { readdirSync, readFileSync } = require("node:fs");
const { X509Certificate } = require("node:crypto");
const folder = process.argv[1];
for (const file of readdirSync(folder)) {
  const { data } = JSON.parse(readFileSync(folder + "/" + file, "utf8"));
  for (const key in data) if (key.endsWith(".crt")) new X509Certificate(Buffer.from(data[key], "base64"));
}`;

/** A request in the output of --debug. */
const REQUEST = /ms {2}\S+: [A-Z]+ \//g;

const dir = mkdtempSync(join(tmpdir(), "clustermesh-bench-"));
const folder = (name: string) => {
  mkdirSync(join(dir, name));
  return join(dir, name);
};
/** Whether the tools of the scripts are installed. */
const hasScriptTools = ["kubectl", "jq", "bash"].every(has);
type Script = "extract" | "import" | "least" | "mesh";
const manualScript = (script: Script, ...args: string[]) => [
  fileURLToPath(new URL(`by-hand/${script}.sh`, import.meta.url)),
  ...args,
];
const program = ([name = "", ...args]: string[]) => [process.execPath, programPath(name), ...args];
const mesh = (...args: string[]) => program(["clustermesh-secrets", ...args]);
// kubectl caches discovery here, so that the cache is warm after the first round.
const environment = (kubeconfig: string) => ({
  ...process.env,
  KUBECONFIG: kubeconfig,
  KUBECACHEDIR: join(dir, "kube-cache"),
});
const times = new Map<string, number[]>();
const record = async (subjects: readonly Subject[], rounds: number) => {
  for (const [what, all] of await measureInterleaved(subjects, rounds)) times.set(what, all);
};

let servedBy = "";
try {
  const three = await startClusters(folder("three"), 3);
  let usage: string[];
  try {
    servedBy = three.servedBy;
    usage = await measureThree(three);
  } finally {
    await three.stop();
  }
  const ten = await startClusters(folder("ten"), 10);
  try {
    await record(connectSubjects(ten, ""), FEW);
  } finally {
    await ten.stop();
  }
  const meshes = await measureMeshes();

  const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.version}, ${servedBy}, NODE_EXTRA_CA_CERTS unset`;
  const results = [...times].map(([what, all]) => ({ what, runs: all.length, ...summarize(all) }));
  const base = results[0]?.median ?? 1;
  console.log(`${machine}\n`);
  console.log("| whole process | median | min–max | × bare node |\n| --- | ---: | ---: | ---: |");
  for (const { what, median, min, max } of results) {
    console.log(`| ${what} | ${ms(median)} | ${ms(min)}–${ms(max)} | ${(median / base).toFixed(2)} |`);
  }
  const ratios = GOALS.flatMap(({ what, against, most }) => {
    const [ours, theirs] = [times.get(what), times.get(against)];
    return ours && theirs ? [{ what, against, ...ratio(ours, theirs), most }] : [];
  });
  console.log("");
  for (const { what, against, median, lower, upper, most } of ratios) {
    // A goal is missed if three quarters of the rounds exceed it.
    const goal = most === undefined ? "" : ` (goal: at most ${most}${lower > most ? "; MISSED" : ""})`;
    console.log(`${what} / ${against}: ${median}, quartiles ${lower} and ${upper}${goal}`);
  }
  if (!hasScriptTools) console.log("skipped the exchange by scripts: requires kubectl, jq and bash");
  console.log(`\n${usage.join("\n")}\n\n${meshes.join("\n")}`);
  writeFileSync("bench-results.json", `${JSON.stringify({ machine, results, ratios }, null, 2)}\n`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}

/** Measures with three clusters. Returns the tables of requests, bytes, memory and sizes, and the timeline of a run. */
async function measureThree({ names, kubeconfig, counted, far, relays, reset }: Clusters): Promise<string[]> {
  const env = environment(kubeconfig);
  const files = await Promise.all(names.map((name) => extractTo(name, kubeconfig, join(dir, `${name}.json`))));
  const old = names.slice(1).map((name) => {
    const path = join(dir, `${name}-by-kubectl.json`);
    const [script = "", ...args] = manualScript("extract", name);
    if (hasScriptTools) writeFileSync(path, execFileSync(script, args, { env }), { mode: 0o600 });
    return path;
  });
  const all = manyFiles(join(dir, "many"), 510);
  const importing = (paths: string[]) => program(["import-secrets", "--context", "cluster1", ...paths]);
  const two = files.slice(1);
  const extracting = program(["extract-secret", "--context", "cluster2"]);
  const manualSubjects = (what: string, env: NodeJS.ProcessEnv, script: Script, ...args: string[]): Subject[] =>
    hasScriptTools
      ? [{ what, command: manualScript(script, ...args), env, ...(script !== "extract" && { before: reset }) }]
      : [];
  const kubectl = ["kubectl", "--context", "cluster2", "-n", "kube-system", "get", "secret", "cilium-ca", "-o", "json"];

  // Compared subjects follow each other; an unchanged import follows the import of new files.
  await record(
    [
      { what: "node -e 0", command: [process.execPath, "-e", "0"], env },
      { what: "--help", command: program(["extract-secret", "--help"]), env },
      { what: "completion of a flag", command: mesh("__complete", "connect", "--c"), env },
      { what: "completion of a context", command: mesh("__complete", "connect", "c"), env },
      { what: "extract-secret", command: extracting, env },
      ...manualSubjects("the old extract", env, "extract", "cluster2"),
      ...manualSubjects("the old import, 2 new files", env, "import", "cluster1", ...old),
      ...manualSubjects("jq, and kubectl apply, 2 new files", env, "least", "cluster1", ...old),
      { what: "import-secrets, 2 new files", command: importing(two), env, before: reset },
      { what: "import-secrets, 2 files, unchanged", command: importing(two), env },
      ...(has("kubectl") ? [{ what: "kubectl get secret", command: kubectl, env }] : []),
      ...connectSubjects({ names, kubeconfig, reset }, ""),
      { what: "status, 3 clusters", command: mesh("status", ...names, "--fail-on=error"), env },
      {
        what: "node:crypto on the certificates of 510 files",
        command: [process.execPath, "-e", READ_ALL, join(dir, "many")],
        env,
      },
      { what: "inspect, 510 files", command: mesh("inspect", join(dir, "many")), env },
    ],
    RUNS,
  );
  const most = [46, 100, 254, 510].map((count) => ({ count, paths: all.slice(0, count) }));
  await record(
    most.flatMap(({ count, paths }) => [
      ...(count === 46
        ? manualSubjects(`the old import, ${count} new files`, env, "import", "cluster1", ...paths)
        : []),
      { what: `import-secrets, ${count} new files`, command: importing(paths), env, before: reset },
    ]),
    FEW,
  );
  const away = environment(far);
  await record(
    [
      { what: "extract-secret, 50 ms away", command: extracting, env: away },
      ...manualSubjects("the old extract, 50 ms away", away, "extract", "cluster2"),
      ...manualSubjects("the old import, 2 new files, 50 ms away", away, "import", "cluster1", ...old),
      { what: "import-secrets, 2 new files, 50 ms away", command: importing(two), env: away, before: reset },
      ...connectSubjects({ names, kubeconfig: far, reset }, ", 50 ms away"),
    ],
    FEW,
  );
  await reset();

  const usage = ["| command | requests | sent | received | peak memory |", "| --- | ---: | ---: | ---: | ---: |"];
  const connect = ["clustermesh-secrets", "connect", ...names, "--yes"];
  for (const [what, args] of [
    ["extract-secret", ["extract-secret", "--context", "cluster2"]],
    ["import-secrets, 2 new files", ["import-secrets", "--context", "cluster1", ...two]],
    ["import-secrets, 2 files, unchanged", ["import-secrets", "--context", "cluster1", ...two]],
    ["import-secrets, 510 new files", ["import-secrets", "--context", "cluster1", ...all]],
    ["connect, 3 clusters", connect],
    ["connect, 3 clusters, unchanged", connect],
    ["status, 3 clusters", ["clustermesh-secrets", "status", ...names, "--fail-on=error"]],
    ["rotate, 1 of 3 clusters, unchanged", ["clustermesh-secrets", "rotate", "cluster2", "--all-contexts", "--yes"]],
    ["disconnect, 1 of 3 clusters", ["clustermesh-secrets", "disconnect", "cluster3", "--all-contexts", "--yes"]],
  ] as [string, string[]][]) {
    if (/510|connect, 3 clusters$/.test(what)) await reset();
    for (const relay of relays) Object.assign(relay, { sent: 0, received: 0 });
    const [name = "", ...rest] = args;
    const requests = (await run(name, [...rest, "--debug"], { kubeconfig: counted })).stderr.match(REQUEST)?.length;
    const sum = (which: "sent" | "received") => kb(relays.reduce((total, relay) => total + relay[which], 0));
    const bytes = [sum("sent"), sum("received")];
    if (/new|connect/.test(what)) await reset();
    const { peak } = await measureMemory({ what, command: program(args), env }, join(dir, "usage"));
    usage.push(`| ${what} | ${requests} | ${bytes.join(" | ")} | ${peak.toFixed(0)} MiB |`);
  }
  usage.push("", "| program | bundle | compile cache |", "| --- | ---: | ---: |");
  const dist = programPath("extract-secret").replace(/[^/]+$/, "");
  const sizes = new Map(readdirSync(dist).map((file) => [file, statSync(join(dist, file)).size]));
  for (const [file, size] of sizes) {
    // Code with a compile cache is in a separate file, next to its loader.
    if (!file.endsWith(".js") || sizes.has(file.replace(/\.js$/, ".code.js"))) continue;
    const cache = sizes.get(`${file}.cache`);
    usage.push(`| ${file.replace(/(\.code)?\.js$/, "")} | ${kb(size)} | ${cache === undefined ? "" : kb(cache)} |`);
  }
  await reset();
  usage.push("", "Timeline (one run, milliseconds since the start of the process):");
  for (const [name, ...args] of [
    ["extract-secret", "--context", "cluster2"],
    ["import-secrets", "--context", "cluster1", ...two],
  ] as [string, ...string[]][]) {
    const { stderr } = await run(name, [...args, "--debug"], { kubeconfig });
    usage.push("", `$ ${name}`, ...stderr.split("\n").filter((line) => / ms {2}/.test(line)));
  }
  return usage;
}

/** Returns the subjects that connect these clusters: the scripts and our program. */
function connectSubjects(
  { names, kubeconfig, reset }: Pick<Clusters, "names" | "kubeconfig" | "reset">,
  away: string,
): Subject[] {
  const env = environment(kubeconfig);
  const count = names.length;
  const command = mesh("connect", ...names, "--yes");
  return [
    ...(hasScriptTools
      ? [
          {
            what: `the old scripts, ${count} clusters${away}`,
            command: manualScript("mesh", dir, ...names),
            env,
            before: reset,
          },
        ]
      : []),
    { what: `connect, ${count} clusters${away}`, command, env, before: reset },
  ];
}

/** Measures `connect` with increasing numbers of sandbox clusters with one CA. */
async function measureMeshes(): Promise<string[]> {
  const lines = ["| connect, embedded clusters with one CA | time | per cluster | peak memory |"];
  lines.push("| ---: | ---: | ---: | ---: |");
  let verified = "";
  for (const count of MESHES) {
    const sandbox = spawn(process.execPath, mesh("sandbox", "--clusters", String(count), "--shared-ca").slice(1), {
      stdio: ["ignore", "pipe", "ignore"],
    });
    try {
      const [line] = (await once(sandbox.stdout, "data")) as [Buffer];
      const env = environment(String(line).trim().replace("export KUBECONFIG=", ""));
      const subject = { what: "", command: mesh("connect", "--all-contexts", "--yes"), env };
      const { took, peak } = await measureMemory(subject, join(dir, "usage"));
      lines.push(`| ${count} | ${(took / 1000).toFixed(1)} s | ${ms(took / count)} | ${peak.toFixed(0)} MiB |`);
      if (count === 100) verified = await measureVerify(env);
    } finally {
      sandbox.kill();
    }
  }
  return [...lines, "", verified];
}

/** Measures `verify` of all peers of a cluster, and of one. */
async function measureVerify(env: NodeJS.ProcessEnv): Promise<string> {
  const one = await extractTo("cluster2", String(env.KUBECONFIG), join(dir, "one.json"));
  const all = await measure({ command: mesh("verify", "--context", "cluster1"), env });
  const single = await measure({ command: mesh("verify", one), env });
  return `verify, 99 peers: ${ms(all)}; 1 peer: ${ms(single)}; ratio ${(all / single).toFixed(1)}`;
}

async function extractTo(context: string, kubeconfig: string, file: string): Promise<string> {
  const args = ["--context", context, "--output-file", file];
  await measure({ command: program(["extract-secret", ...args]), env: environment(kubeconfig) });
  return file;
}

function ms(time: number): string {
  return `${time.toFixed(0)} ms`;
}

function kb(bytes: number): string {
  return `${(bytes / 1000).toFixed(bytes < 10_000 ? 1 : 0)} kB`;
}

function has(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
