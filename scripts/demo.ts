/** `clustermesh-secrets demo`: three embedded clusters, connected end to end by the programs as they are built. */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AGENTS_SECRET } from "../lib/peer/peer.ts";
import { type Sandbox, servingClusters, startSandbox } from "../lib/sandbox/sandbox.ts";
import { EXIT } from "../lib/util/errors.ts";
import type { Command } from "./cli/option.ts";
import { runnable } from "./cli/run.ts";
import { ENDING_SIGNALS, endBySignal } from "./cli/signals.ts";
import { print, run, showObjects, step } from "./demo-steps.ts";

const command: Command<Record<never, never>> = {
  usage: "$0",
  description:
    "Starts three embedded clusters, extracts and imports their secrets, and tests every connection. Then breaks a " +
    "certificate and repairs it. Needs no cluster and no network.",
  examples: [],
  options: {},
  exitCodes: { 0: "success", 1: "a step failed", 2: "invalid arguments" },
  run: runDemo,
};

export const demoCommand = runnable(command);

async function runDemo(): Promise<number> {
  const sandbox = await startSandbox({ clusters: await servingClusters() });
  const folder = await mkdtemp(join(tmpdir(), "clustermesh-demo-"));
  const { kubeconfig } = sandbox;
  for (const signal of ENDING_SIGNALS) {
    process.once(signal, () => {
      for (const path of [folder, sandbox.dir]) rmSync(path, { recursive: true, force: true });
      endBySignal(signal);
    });
  }
  try {
    const names = sandbox.clusters.map(({ description }) => description.name);
    const contexts = names.flatMap((name) => ["--context", name]);
    const status = ["status", ...names, "--probe"];
    step(
      "Three clusters, each with a Cilium and a CA of its own; all on this machine, so loopback addresses are warned of",
    );
    await run("clustermesh-secrets", ["status", ...names], kubeconfig, [EXIT.findings]);

    step("Extract: what others need to reach a cluster, as a file");
    for (const name of names) {
      const file = join(folder, `${name}-secret.json`);
      await run("extract-secret", ["--context", name, "--output-file", file], kubeconfig);
    }
    await run("clustermesh-secrets", ["inspect", folder], kubeconfig);

    step("Import: all files into each cluster; its own is passed over");
    await run("import-secrets", [...contexts, "--restart-agents", folder], kubeconfig);

    step("What stands in one of them now");
    await showObjects("cluster3", kubeconfig);

    step("Once more: nothing changes, so nothing reconnects");
    await run("import-secrets", [...contexts, folder], kubeconfig);

    step("Is it true? Every pair, asked as a peer would ask");
    await run("clustermesh-secrets", status, kubeconfig);

    step("Somebody puts a certificate of another cluster into cluster1");
    breakCertificate(sandbox);
    await run("clustermesh-secrets", status, kubeconfig, [EXIT.findings]);

    step("Mended");
    await run("clustermesh-secrets", ["rotate", "cluster2", "--context", "cluster1", "--yes"], kubeconfig);
    await run("clustermesh-secrets", status, kubeconfig);
    print("", "On your own clusters: clustermesh-secrets status --all-contexts; then connect A B C");
    return EXIT.done;
  } finally {
    await Promise.all([sandbox.stop(), rm(folder, { recursive: true, force: true })]);
  }
}

/** cluster1 comes to cluster2 with what cluster3 gives its peers. */
function breakCertificate({ clusters: [first, , third] }: Sandbox): void {
  const secret = first?.api.store.read("Secret", "kube-system", AGENTS_SECRET);
  if (!first || !third || !secret) throw new Error("the demo's clusters are not there");
  const { cert, key } = third.pki.remote;
  const texts = { "cluster2.etcd-client.crt": cert, "cluster2.etcd-client.key": key };
  for (const [name, text] of Object.entries(texts)) secret.data[name] = Buffer.from(text).toString("base64");
  first.api.store.put(secret);
}
