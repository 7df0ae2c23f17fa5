/** `clustermesh-secrets demo`: connects three embedded clusters end to end with the built programs. */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AGENTS_SECRET } from "../lib/peer/peer.ts";
import { type Sandbox, servingClusters, startSandbox } from "../lib/sandbox/sandbox.ts";
import { EXIT } from "../lib/util/errors.ts";
import { toProgram } from "./cli/run.ts";
import { exitBySignal, TERMINATION_SIGNALS } from "./cli/signals.ts";
import { print, printObjects, printStep, runProgram } from "./demo-steps.ts";

export const demoCommand = toProgram({
  usage: "$0",
  description:
    "Starts three embedded clusters, extracts and imports their secrets, and tests every connection. Then breaks a " +
    "certificate and repairs it. Needs no cluster and no network.",
  examples: [],
  options: {},
  exitCodes: { 0: "success", 1: "a step failed", 2: "invalid arguments" },
  run: runDemo,
});

async function runDemo(): Promise<number> {
  const sandbox = await startSandbox({ clusters: await servingClusters() });
  const folder = await mkdtemp(join(tmpdir(), "clustermesh-demo-"));
  const { kubeconfig } = sandbox;
  for (const signal of TERMINATION_SIGNALS) {
    process.once(signal, () => {
      for (const path of [folder, sandbox.dir]) rmSync(path, { recursive: true, force: true });
      exitBySignal(signal);
    });
  }
  try {
    const names = sandbox.clusters.map(({ description }) => description.name);
    const contexts = names.flatMap((name) => ["--context", name]);
    const status = ["status", ...names, "--probe"];
    printStep("Start three clusters with their own CAs (on this machine, hence the loopback warnings)");
    await runProgram("clustermesh-secrets", ["status", ...names], kubeconfig, [EXIT.findings]);

    printStep("Extract the secret of each cluster into a file");
    for (const name of names) {
      const file = join(folder, `${name}-secret.json`);
      await runProgram("extract-secret", ["--context", name, "--output-file", file], kubeconfig);
    }
    await runProgram("clustermesh-secrets", ["inspect", folder], kubeconfig);

    printStep("Import all files into each cluster, which skips its own");
    await runProgram("import-secrets", [...contexts, "--restart-agents", folder], kubeconfig);

    printStep("Show the resulting objects in one cluster");
    await printObjects("cluster3", kubeconfig);

    printStep("Import again: nothing changes, so nothing reconnects");
    await runProgram("import-secrets", [...contexts, folder], kubeconfig);

    printStep("Test every connection as the peers make it");
    await runProgram("clustermesh-secrets", status, kubeconfig);

    printStep("Break cluster1 with the client certificate of another cluster");
    breakCertificate(sandbox);
    await runProgram("clustermesh-secrets", status, kubeconfig, [EXIT.findings]);

    printStep("Repair it");
    await runProgram("clustermesh-secrets", ["rotate", "cluster2", "--context", "cluster1", "--yes"], kubeconfig);
    await runProgram("clustermesh-secrets", status, kubeconfig);
    print("", "Next, on your own clusters: clustermesh-secrets status --all-contexts");
    return EXIT.done;
  } finally {
    await Promise.all([sandbox.stop(), rm(folder, { recursive: true, force: true })]);
  }
}

/** Replaces the client certificate of cluster1 for cluster2 with the one for cluster3. */
function breakCertificate({ clusters: [first, , third] }: Sandbox): void {
  const secret = first?.api.store.read("Secret", "kube-system", AGENTS_SECRET);
  if (!first || !third || !secret) throw new Error("the demo clusters are missing");
  const { cert, key } = third.pki.remote;
  const texts = { "cluster2.etcd-client.crt": cert, "cluster2.etcd-client.key": key };
  for (const [name, text] of Object.entries(texts)) secret.data[name] = Buffer.from(text).toString("base64");
  first.api.store.put(secret);
}
