/** `clustermesh-secrets demo`: three embedded clusters, connected end to end by the programs as they are built. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { $ } from "zx/core";
import { configMaps, deployments, pods, secrets } from "../lib/cluster/api.ts";
import { openCluster } from "../lib/cluster/open.ts";
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { AGENTS_SECRET, APISERVER, KVSTOREMESH_SECRET, USERS_CONFIG_MAP } from "../lib/peer/peer.ts";
import { startSandbox } from "../lib/sandbox/sandbox.ts";
import { showSecret, showUsers } from "../lib/show/objects.ts";
import { styleFor } from "../lib/show/style.ts";
import { type Command, main } from "./cli.ts";

const options = {} as const;
const NAMESPACE = "kube-system";

const command: Command<typeof options> = {
  usage: "Usage: $0",
  description: "Starts three embedded clusters, extracts from each, imports into each, and shows what stands where.",
  examples: [],
  options,
  run: runDemo,
};

const style = styleFor(process.stdout, process.env);
const print = (...lines: string[]) => void process.stdout.write(`${lines.join("\n")}\n`);

/** Runs it as `program`, with these arguments. */
export const demoMain = (program: string, argv: string[]): Promise<void> => main(program, command, argv);

async function runDemo(): Promise<number> {
  const sandbox = await startSandbox();
  const folder = await mkdtemp(join(tmpdir(), "clustermesh-demo-"));
  try {
    const names = sandbox.clusters.map(({ description }) => description.name);
    step("Three clusters, each with a Cilium and a CA of its own");
    for (const name of names) await showCluster(name, sandbox.kubeconfig);

    step("Extract: what others need to reach a cluster, as a file");
    for (const name of names) {
      const file = join(folder, `${name}-secret.json`);
      await run("extract-secret", ["--context", name, "--output-file", file], sandbox.kubeconfig);
      print(...showSecret(JSON.parse(await readFile(file, "utf8")), style), "");
    }

    step("Import: all files into each cluster; its own is passed over");
    const contexts = names.flatMap((name) => ["--context", name]);
    await run("import-secrets", [...contexts, "--restart-agents", folder], sandbox.kubeconfig);

    step("What stands in the clusters now");
    for (const name of names) {
      await showCluster(name, sandbox.kubeconfig);
      await showObjects(name, sandbox.kubeconfig);
    }

    step("Once more: nothing changes, so nothing reconnects");
    await run("import-secrets", [...contexts, folder], sandbox.kubeconfig);
    print("", "On your own clusters: extract-secret --context A > a.json; import-secrets --context B a.json");
    return EXIT.done;
  } finally {
    await Promise.all([sandbox.stop(), rm(folder, { recursive: true, force: true })]);
  }
}

function step(title: string): void {
  print("", style.bold(`── ${title} ──`), "");
}

/** Runs one of the programs as it was built, and shows what a person would have typed and read. */
async function run(program: string, args: string[], kubeconfig: string): Promise<void> {
  print(style.green(`$ ${[program, ...args].join(" ")}`));
  const path = fileURLToPath(new URL(`./${program}.js`, import.meta.url));
  const output = await $({
    env: { ...process.env, KUBECONFIG: kubeconfig },
    nothrow: true,
    quiet: true,
  })`${process.execPath} ${path} ${args}`;
  process.stdout.write(output.stdout + output.stderr);
  if (output.exitCode !== 0) throw new UserError(`${program} ended with exit code ${output.exitCode}`, EXIT.failed);
}

async function showCluster(context: string, kubeconfig: string): Promise<void> {
  const { api } = await openCluster({ kubeconfig, context });
  try {
    const config = (await api.get(configMaps, NAMESPACE, "cilium-config"))?.data ?? {};
    const deployment = await api.get(deployments, NAMESPACE, APISERVER);
    const containers = deployment?.spec?.template.spec?.containers ?? [];
    const image = containers.find(({ name }) => name === "apiserver")?.image ?? "";
    const states: string[] = [];
    for await (const page of api.list(pods, { namespace: NAMESPACE, labelSelector: `k8s-app=${APISERVER}` })) {
      states.push(
        ...page.map(({ status }) => status?.containerStatuses?.[0]?.state?.waiting?.reason ?? status?.phase ?? ""),
      );
    }
    const facts = [
      `id ${config["cluster-id"]}`,
      `Cilium ${/:v?([\d.]+)/.exec(image)?.[1]}`,
      containers.some(({ name }) => name === "kvstoremesh") ? "KVStoreMesh" : "no KVStoreMesh",
      `${APISERVER} ${states.join(", ")}`,
    ];
    print(`${style.bold(context)}: ${facts.join(", ")}`);
  } finally {
    api.close();
  }
}

async function showObjects(context: string, kubeconfig: string): Promise<void> {
  const { api } = await openCluster({ kubeconfig, context });
  try {
    for (const name of [KVSTOREMESH_SECRET, AGENTS_SECRET]) {
      const secret = await api.get(secrets, NAMESPACE, name);
      if (secret) print(...showSecret(secret, style));
    }
    const users = await api.get(configMaps, NAMESPACE, USERS_CONFIG_MAP);
    if (users) print(...showUsers(users, style));
    print("");
  } finally {
    api.close();
  }
}
