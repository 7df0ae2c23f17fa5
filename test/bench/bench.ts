/**
 * `make bench`: wall times of the programs as built, as whole processes, in one run and interleaved: against bare
 * node, and against kubectl and the same exchange by kubectl and jq where they are there. On a real API server where
 * the binaries are there, else on the sandbox.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { startSandbox } from "../../lib/sandbox/sandbox.ts";
import { programPath, run } from "../support/programs.ts";
import { findAssets, startApiServers } from "../support/real.ts";
import { writeScripts } from "./with-kubectl.ts";

const RUNS = Number(process.env.RUNS ?? 21);
const NAMES = ["cluster1", "cluster2", "cluster3"];

const descriptions = NAMES.map((name, i) => ({
  name,
  id: i + 1,
  version: "1.20.2",
  nodes: [{ name: `${name}-node`, internalIPs: [`172.18.${i}.2`] }],
}));

/** What a program may take at the most, as a share of what the same exchange takes by kubectl and jq. */
const GOALS = [
  { what: "extract-secret", against: "eight kubectl get, and jq", most: 0.45 },
  { what: "import-secrets, 2 new files", against: "jq, and kubectl apply, 2 new files", most: 1 },
  { what: "connect, 3 clusters", against: "a mesh of 3 by kubectl and jq", most: 0.2 },
  { what: "inspect, 510 files", against: "node:crypto on the certificates of 510 files", most: 3 },
];

/** Reads every certificate of a folder of files. */
const READ_ALL = `
const { readdirSync, readFileSync } = require("node:fs");
const { X509Certificate } = require("node:crypto");
const folder = process.argv[1];
for (const file of readdirSync(folder)) {
  const { data } = JSON.parse(readFileSync(folder + "/" + file, "utf8"));
  for (const key in data) if (key.endsWith(".crt")) new X509Certificate(Buffer.from(data[key], "base64"));
}`;

interface Subject {
  what: string;
  command: string[];
  /** Done before each run, and not measured. */
  before?: () => Promise<void>;
}

const dir = mkdtempSync(join(tmpdir(), "clustermesh-bench-"));
const { kubeconfig, where, forget, stop } = await start();
// kubectl remembers what an API server can do: here, so that it is warm after the first round.
const environment = { ...process.env, KUBECONFIG: kubeconfig, KUBECACHEDIR: join(dir, "kube-cache") };
try {
  const files = await Promise.all(
    NAMES.map(async (context) => {
      const file = join(dir, `${context}.json`);
      const { code, stderr } = await run("extract-secret", ["--context", context, "--output-file", file], {
        kubeconfig,
      });
      if (code !== 0) throw new Error(stderr);
      return file;
    }),
  );
  const importing = ["import-secrets", "--context", "cluster1", ...files.slice(1)];
  const program = ([name = "", ...args]: string[]) => [process.execPath, programPath(name), ...args];
  const kubectl = ["kubectl", "--context", "cluster2", "-n", "kube-system", "get", "secret", "cilium-ca", "-o", "json"];
  const byScripts = has("kubectl") && has("jq") && has("bash") ? scripted() : undefined;
  const many = manyFiles(join(dir, "many"), 510);
  const connecting = program(["clustermesh-secrets", "connect", ...NAMES, "--yes"]);
  // What is compared runs one after the other; an import of what stands there follows the one that brought it there.
  const subjects: Subject[] = [
    { what: "node -e 0", command: [process.execPath, "-e", "0"] },
    { what: "extract-secret --help", command: program(["extract-secret", "--help"]) },
    { what: "extract-secret", command: program(["extract-secret", "--context", "cluster2"]) },
    ...(byScripts ? [{ what: "eight kubectl get, and jq", command: byScripts.extract }] : []),
    ...(byScripts ? [{ what: "jq, and kubectl apply, 2 new files", command: byScripts.import, before: forget }] : []),
    { what: "import-secrets, 2 new files", command: program(importing), before: forget },
    { what: "import-secrets, 2 files, unchanged", command: program(importing) },
    ...(has("kubectl") ? [{ what: "kubectl get secret", command: kubectl }] : []),
    ...(byScripts ? [{ what: "a mesh of 3 by kubectl and jq", command: byScripts.mesh, before: forget }] : []),
    { what: "connect, 3 clusters", command: connecting, before: forget },
    { what: "status, 3 clusters", command: program(["clustermesh-secrets", "status", ...NAMES, "--fail-on=error"]) },
    { what: "node:crypto on the certificates of 510 files", command: [process.execPath, "-e", READ_ALL, many] },
    { what: "inspect, 510 files", command: program(["clustermesh-secrets", "inspect", many]) },
  ];

  const times = new Map<string, number[]>(subjects.map(({ what }) => [what, []]));
  for (let i = -1; i < RUNS; i++) {
    for (const { what, command, before } of subjects) {
      await before?.();
      const taken = await measure(command, environment);
      if (i >= 0) times.get(what)?.push(taken);
    }
  }
  const results = [...times].map(([what, all]) => ({ what, ...summary(all) }));
  const base = results[0]?.median ?? 1;
  const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.version}, ${RUNS} runs, ${where}`;
  console.log(`${machine}\n`);
  console.log("| whole process | median | min–max | × bare node |\n| --- | ---: | ---: | ---: |");
  for (const { what, median, min, max } of results) {
    console.log(`| ${what} | ${ms(median)} | ${ms(min)}–${ms(max)} | ${(median / base).toFixed(2)} |`);
  }
  const ratios = GOALS.flatMap(({ what, against, most }) => {
    const [ours, theirs] = [times.get(what), times.get(against)];
    if (!ours || !theirs) return [];
    // Round by round: what slows the whole machine down for a while slows both.
    const { median } = summary(ours.map((time, i) => time / (theirs[i] ?? 1)));
    return [{ what, against, ratio: Number(median.toFixed(2)), most }];
  });
  console.log("");
  for (const { what, against, ratio, most } of ratios) {
    console.log(`${what} / ${against}: ${ratio} (goal: at most ${most}${ratio > most ? "; MISSED" : ""})`);
  }
  if (ratios.length === 0) console.log("not compared: the exchange by hand takes kubectl, jq and bash");
  console.log("\nWhere the time goes (one run, milliseconds since the process started):");
  console.log(`\n${(await trace(["extract-secret", "--context", "cluster2"])).join("\n")}`);
  await forget();
  console.log(`\n${(await trace(importing)).join("\n")}`);
  writeFileSync("bench-results.json", `${JSON.stringify({ machine, results, ratios }, null, 2)}\n`);

  /** The commands of the exchange by kubectl and jq, the import's with files that its extraction made. */
  function scripted(): { extract: string[]; import: string[]; mesh: string[] } {
    const scripts = writeScripts(dir);
    const made = NAMES.slice(1).map((context) => {
      const file = join(dir, `${context}-by-kubectl.json`);
      writeFileSync(file, execFileSync(scripts.extract, [context], { env: environment }), { mode: 0o600 });
      return file;
    });
    const mesh = [scripts.mesh, dir, ...NAMES];
    return { extract: [scripts.extract, "cluster2"], import: [scripts.import, "cluster1", ...made], mesh };
  }

  async function trace([name = "", ...args]: string[]): Promise<string[]> {
    const { stderr } = await run(name, [...args, "--debug"], { kubeconfig });
    return [`$ ${name}`, ...stderr.split("\n").filter((line) => / ms {2}/.test(line))];
  }
} finally {
  await stop();
  rmSync(dir, { recursive: true, force: true });
}

/** Files of one CA, each with a client certificate of its own. */
function manyFiles(folder: string, count: number): string {
  mkdirSync(folder);
  const ca = makeCa({ cn: "Cilium CA", key: "ec" });
  for (let id = 1; id <= count; id++) {
    const name = `peer${id}`;
    const peer = {
      name,
      endpoints: [`https://${name}.mesh.cilium.io:32379`],
      hostAliases: [{ hostname: `${name}.mesh.cilium.io`, ips: ["172.18.0.2"] }],
      ca: { pem: ca.cert },
      client: issue(ca, { cn: "remote", usage: "client", key: "ec" }),
      facts: { name, id, maxConnectedClusters: 511, version: "1.20.2", serverNames: ["*.mesh.cilium.io"] },
    };
    writeFileSync(join(folder, `${name}.json`), JSON.stringify(writePeerFile(peer)));
  }
  return folder;
}

async function start() {
  const written = [
    ["Secret", "secrets", "cilium-clustermesh"],
    ["Secret", "secrets", "cilium-kvstoremesh"],
    ["ConfigMap", "configmaps", "clustermesh-remote-users"],
  ] as const;
  if (!findAssets()) {
    const sandbox = await startSandbox({
      clusters: descriptions.map((description) => ({ description, pki: { key: "rsa" } })),
    });
    return {
      kubeconfig: sandbox.kubeconfig,
      where: "the embedded sandbox",
      forget: async () => {
        for (const { api } of sandbox.clusters) {
          for (const [kind, , name] of written) api.store.remove(kind, "kube-system", name);
        }
      },
      stop: () => sandbox.stop(),
    };
  }
  const servers = await startApiServers(NAMES);
  for (const description of descriptions) {
    const objects = clusterObjects(description, clusterPki(description));
    await servers.get(description.name).create(objects);
  }
  const target = servers.get("cluster1");
  const { gitVersion } = (await target.ask("GET", "/version")) as { gitVersion: string };
  // In YAML, as people have theirs.
  const kubeconfig = join(dir, "kubeconfig");
  writeFileSync(kubeconfig, stringify(JSON.parse(readFileSync(servers.kubeconfig, "utf8"))), { mode: 0o600 });
  return {
    kubeconfig,
    where: `a real kube-apiserver ${gitVersion}`,
    forget: async () => {
      for (const context of NAMES) {
        for (const [, resource, name] of written) {
          await servers.get(context).request("DELETE", `/api/v1/namespaces/kube-system/${resource}/${name}`);
        }
      }
    },
    stop: () => servers.stop(),
  };
}

function measure([command = "", ...args]: string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, { stdio: "ignore", env });
    child.on("error", reject);
    child.on("exit", (code) =>
      // 3: written or looked at, and clusters are made of objects alone here.
      code === 0 || code === 3
        ? resolve(performance.now() - started)
        : reject(new Error(`${command} ${args[0]}: exit ${code}`)),
    );
  });
}

function summary(times: number[]): { median: number; min: number; max: number } {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (i: number) => sorted[i] ?? 0;
  return { median: at(sorted.length >> 1), min: at(0), max: at(sorted.length - 1) };
}

function ms(time: number): string {
  return `${time.toFixed(0)} ms`;
}

function has(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
