/** The jobs of deploy/ on a real API server: the manifests are valid, and what they run works with their permissions. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { V1Secret } from "@kubernetes/client-node";
import { EXTRACT_DEFAULTS, extract } from "../../lib/extract/extract.ts";
import { loadKubeconfig, selectContext } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openContext } from "../../lib/kube/open.ts";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import { podOf, readJobManifests } from "../support/job-manifests.ts";
import { node, programPath, run } from "../support/programs.ts";
import { type ApiServer, type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";
import { removeFolder, temporaryFolder } from "../support/real-process.ts";
import { requestToken, waitForRoles, writeAccountKubeconfig } from "../support/service-accounts.ts";

describe("the jobs of deploy/", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let server: ApiServer;
  let folder: string;

  before(async () => {
    folder = temporaryFolder("deploy");
    servers = await startApiServers(["cluster1"]);
    server = servers.get("cluster1");
    const nodes = [{ name: "node1", internalIPs: ["172.18.1.2"] }];
    const description = { name: "cluster1", id: 1, version: "1.18.5", nodes };
    await server.create(clusterObjects(description, clusterPki(description, { key: "ec" })));
    await server.apply(readJobManifests());
    await waitForRoles(servers.all);
  });
  after(async () => {
    await servers?.stop();
    if (folder) removeFolder(folder);
  });

  const containerOf = (kind: string) => {
    const pod = readJobManifests().flatMap((object) => (object.kind === kind ? (podOf(object) ?? []) : []))[0];
    assert.ok(pod);
    return { account: pod.serviceAccountName ?? "", ...pod.containers[0] };
  };

  test("applied again, the manifests change nothing", async () => {
    const specs = async () => {
      const paths = ["jobs/clustermesh-extract", "cronjobs/clustermesh-status"];
      const objects = await Promise.all(
        paths.map((path) => server.ask("GET", `/apis/batch/v1/namespaces/kube-system/${path}`)),
      );
      return objects.map(({ metadata, spec }) => ({ generation: metadata.generation, spec }));
    };
    const before = await specs();
    await server.apply(readJobManifests());
    assert.deepEqual(await specs(), before);
  });

  test("the Job prints the secret of the cluster without a key, and warnings elsewhere", async () => {
    const { account, command = [] } = containerOf("Job");
    const kubeconfig = await writeAccountKubeconfig(join(folder, account), servers.all, () => account);
    const [bin, log] = [join(folder, "bin"), join(folder, "termination-log")];
    mkdirSync(bin);
    symlinkSync(node, join(bin, "node"));
    symlinkSync(programPath("clustermesh-secrets"), join(bin, "clustermesh-secrets"));
    const [shell = "", ...args] = command.map((word) => word.replace("/dev/termination-log", log));
    const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: "/nonexistent", KUBECONFIG: kubeconfig };
    const { stdout, stderr } = await promisify(execFile)(shell, args, { env });
    assert.equal(stderr, "");
    assert.match(
      readFileSync(log, "utf8"),
      /^warning: cannot read secret\/clustermesh-apiserver-server-cert: forbidden/,
    );
    const { data = {} } = JSON.parse(stdout) as V1Secret;
    assert.ok(data.cluster1);
    assert.ok(Object.values(data).every((value) => !Buffer.from(value, "base64").includes("PRIVATE KEY")));
  });

  test("the CronJob reports a healthy cluster", async () => {
    const { account, args = [] } = containerOf("CronJob");
    const kubeconfig = await writeAccountKubeconfig(join(folder, account), servers.all, () => account);
    const { code, stdout, stderr } = await run("clustermesh-secrets", args, { kubeconfig });
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.match(stdout, /^cluster1 +1 +1\.18\.5 /m);
  });

  test("in a pod, the files of the ServiceAccount replace a kubeconfig, and a rotated token is read again", async () => {
    const serviceAccount = join(folder, "account");
    mkdirSync(serviceAccount);
    writeFileSync(join(serviceAccount, "ca.crt"), server.ca.cert);
    writeFileSync(join(serviceAccount, "token"), "expired");
    const { hostname, port } = new URL(server.url);
    const env = { HOME: folder, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const context = await selectContext(await loadKubeconfig({ env, serviceAccount }), undefined);
    const api = openContext(context, { clientName: "test", env });
    try {
      const options = { ...EXTRACT_DEFAULTS, keyless: true, namespace: "kube-system", resolve: async () => [] };
      await assert.rejects(extract(api, options), /rejected the credentials \(401\)/);
      writeFileSync(join(serviceAccount, "token"), await requestToken(server, "clustermesh-extract"));
      assert.equal((await extract(api, options)).peer.name, "cluster1");
    } finally {
      api.close();
    }
  });
});
