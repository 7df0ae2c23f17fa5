import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { parse } from "yaml";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, programPath, type RunOptions, run } from "../support/programs.ts";

const NAMESPACE = "kube-system";

describe("the built programs", () => {
  let sandbox: Sandbox;
  let dir: string;
  const extract = (args: string[], options: RunOptions = {}) =>
    run("extract-secret", args, { kubeconfig: sandbox.kubeconfig, ...options });
  const imports = (args: string[], options: RunOptions = {}) =>
    run("import-secrets", args, { kubeconfig: sandbox.kubeconfig, cwd: dir, ...options });
  const storeOf = (name: string) => {
    const cluster = sandbox.clusters.find(({ description }) => description.name === name);
    assert.ok(cluster);
    return cluster.api.store;
  };
  const writesTo = (name: string) => {
    const cluster = sandbox.clusters.find(({ description }) => description.name === name);
    return cluster?.api.requests.filter(({ method }) => method !== "GET") ?? [];
  };

  before(async () => {
    const base = { id: 4, version: "1.20.2", nodes: [{ name: "n", internalIPs: ["172.18.4.2"] }] };
    sandbox = await startSandbox({
      clusters: [
        ...defaultClusters(),
        { description: { ...base, name: "default", id: 0 } },
        { description: { ...base, name: "external", kvstoreMode: "external", etcdEndpoints: ["https://etcd:2379"] } },
        { description: { ...base, name: "no-nodes", nodes: [] } },
        {
          description: { ...base, name: "narrow", id: 5 },
          users: [{ name: "narrow", token: "narrow", forbid: [{ verb: "get", resource: "secrets" }] }],
        },
      ],
    });
    dir = await mkdtemp(join(tmpdir(), "programs-"));
    for (const context of ["cluster1", "cluster2", "cluster3"]) {
      const { code, stderr } = await extract(["--context", context, "--output-file", join(dir, `${context}.json`)]);
      assert.equal(code, 0, stderr);
    }
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("extract-secret prints a drop-in Secret, reproducibly, and the same object as YAML", async () => {
    const [first, second, yaml] = await Promise.all([
      extract(["--context", "cluster2"]),
      extract(["cluster2", "--context=cluster2"]),
      extract(["--context", "cluster2", "-o", "yaml"]),
    ]);
    assert.equal(first.code, 0, first.stderr);
    assert.equal(first.stderr, "");
    assert.equal(first.stdout, second.stdout);
    assert.deepEqual(parse(yaml.stdout), JSON.parse(first.stdout));
    const secret = JSON.parse(first.stdout) as V1Secret;
    assert.equal(secret.metadata?.name, "cilium-clustermesh");
    assert.deepEqual(Object.keys(secret.data ?? {}), ["cluster2", "cluster2-ca.crt", "cluster2.crt", "cluster2.key"]);
  });

  test("--output-file creates a file that only its owner can read", async () => {
    const { mode } = await stat(join(dir, "cluster1.json"));
    assert.equal(mode & 0o777, 0o600);
  });

  test("writing to a file readable by others warns once, writing to a pipe does not", async () => {
    const file = join(dir, "shared.json");
    const script = `umask 022; "${node}" "${programPath("extract-secret")}" --context cluster2 > "${file}"`;
    const { stderr } = await promisify(execFile)("bash", ["-c", script], {
      env: { ...process.env, KUBECONFIG: sandbox.kubeconfig },
    });
    assert.match(stderr, /private key/);
    assert.equal(stderr.split("\n").filter((line) => line !== "").length, 1);
    assert.equal((await extract(["--context", "cluster2"])).stderr, "");
    await rm(file);
  });

  test("an error response with other requests in flight exits cleanly", async () => {
    for (let i = 0; i < 12; i++) {
      const ended = await Promise.all([1, 2].map(() => extract(["--context", "cluster2", "-n", "elsewhere"])));
      for (const { code, stderr } of ended) assert.equal(code, 1, stderr);
    }
  });

  test("a closed stdout causes no message", async () => {
    const script = `"${node}" "${programPath("extract-secret")}" --context cluster2 | head -1; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await promisify(execFile)("bash", ["-c", script], {
      env: { ...process.env, KUBECONFIG: sandbox.kubeconfig },
    });
    assert.match(stdout, /^\{\n/);
    assert.equal(stderr, "");
  });

  test("a default install of 1.20 can be extracted before its pod runs, and the first import starts the pod", async () => {
    const { stderr } = await extract(["--context", "cluster3"]);
    assert.match(stderr, /^note: .* waiting for configmap\/clustermesh-remote-users/);
    const { code, stderr: imported } = await imports(["--context", "cluster3", "cluster1.json", "cluster3.json"]);
    assert.equal(code, 0, imported);
    assert.match(imported, /added cluster1/);
    assert.match(imported, /skipped cluster3: same cluster as the target/);
    assert.match(imported, /granted etcd users: remote-cluster1/);
    const users = storeOf("cluster3").read(
      "ConfigMap",
      NAMESPACE,
      "clustermesh-remote-users",
    ) as unknown as V1ConfigMap;
    assert.deepEqual(parse(users.data?.["users.yaml"] ?? ""), { users: [{ name: "remote-cluster1", role: "remote" }] });
    assert.equal((await extract(["--context", "cluster3"])).stderr, "");
  });

  test("a repeated import writes nothing and reports unchanged peers", async () => {
    const args = ["--context", "cluster2", "cluster1.json", "cluster3.json"];
    assert.equal((await imports(args)).code, 0);
    const before = writesTo("cluster2").length;
    const { code, stderr } = await imports(args);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /unchanged cluster1 and cluster3/);
    assert.equal(writesTo("cluster2").length, before);
  });

  test("missing host aliases of agents exit with 3 and print the command that adds them", async () => {
    const first = await imports(["--context", "cluster1", "cluster2.json"]);
    assert.equal(first.code, 3, first.stderr);
    assert.match(
      first.stderr,
      /daemonset\/cilium has no host alias for cluster2\.mesh\.cilium\.io\n.*--restart-agents/,
    );
    const second = await imports(["--context", "cluster1", "--restart-agents", "cluster2.json"]);
    assert.equal(second.code, 0, second.stderr);
    assert.match(
      second.stderr,
      /will restart daemonset\/cilium \(all Cilium agents\) in cluster1 to add host aliases for /,
    );
  });

  test("a Secret of a cluster can be imported from stdin", async () => {
    const secret = storeOf("cluster2").read("Secret", NAMESPACE, "cilium-kvstoremesh");
    const { code, stderr } = await imports(["--context", "cluster3", "-"], { stdin: JSON.stringify(secret) });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /unchanged cluster1/);
  });

  test("an unreachable target fails with exit code 1, and the others are written", async () => {
    const kubeconfig = join(dir, "kubeconfig");
    const config = parse(await readFile(sandbox.kubeconfig, "utf8"));
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    config.clusters[0].cluster.server = `https://127.0.0.1:${port}`;
    await writeFile(kubeconfig, JSON.stringify(config));
    const args = ["--context", "cluster1", "--context", "cluster2", "cluster3.json"];
    const { code, stderr } = await imports(args, { kubeconfig });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^error: cluster1: .*refused/m);
    assert.match(stderr, /^cluster2 .*cluster3/m);
  });

  const wrong: [string, string[], number, RegExp][] = [
    ["a missing context", ["--context", "nope"], 2, /context "nope" does not exist.*cluster1/],
    ["an unknown flag", ["--contxt", "cluster1"], 2, /unknown flag: --contxt; did you mean --context\?/],
    ["a flag without a value", ["--context"], 2, /flag needs an argument: --context/],
    ["two contexts", ["--context", "cluster1", "--context", "cluster2"], 2, /--context can be specified only once/],
    ["a value outside its choices", ["-o", "xml"], 2, /invalid value "xml" for --output: must be one of json, yaml/],
    [
      "two contexts as arguments",
      ["cluster1", "cluster2"],
      2,
      /only one CONTEXT is allowed, not "cluster1", "cluster2"/,
    ],
    ["another context besides --context", ["cluster1", "--context=cluster2"], 2, /only one CONTEXT is allowed/],
    ["a missing context as an argument", ["nope"], 2, /context "nope" does not exist/],
    ["an invalid timeout", ["--request-timeout", "soon"], 2, /invalid duration "soon" for --request-timeout/],
    ["two ports", ["--endpoint", "1.2.3.4:1", "--endpoint", "1.2.3.4:2"], 2, /same port/],
    ["two names", ["--endpoint", "a.example:1", "--endpoint", "b.example:1"], 2, /only one .* host name/],
    ["an endpoint without a port", ["--endpoint", "a.example"], 2, /must be HOST:PORT/],
    ["zero addresses", ["--addresses", "0"], 2, /invalid value for --addresses: must be at least 1/],
    ["another namespace", ["-n", "elsewhere"], 1, /no Cilium installation found.*elsewhere/],
    ["name default and id 0", ["--context", "default"], 1, /not configured for Cluster Mesh/],
    ["an external kvstore", ["--context", "external"], 1, /external kvstore/],
    ["a cluster without nodes", ["--context", "no-nodes"], 1, /no eligible nodes/],
    [
      "no permission for the Secret",
      ["--context", "narrow"],
      1,
      /auth can-i get secrets\/clustermesh-apiserver-remote-cert/,
    ],
    ["a missing folder", ["--output-file", "/nonexistent/x.json"], 1, /cannot write /],
  ];
  for (const [what, args, code, expected] of wrong) {
    test(`extract-secret with ${what} exits with ${code} and empty stdout`, async () => {
      const ended = await extract(args);
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stderr, expected);
      assert.equal(ended.stdout, "");
      assert.ok(ended.stderr.trimEnd().split("\n").length <= 4, ended.stderr);
      assert.doesNotMatch(ended.stderr, /\n\s+at /);
    });
  }

  const broken: [string, string | Record<string, unknown>, RegExp][] = [
    ["no content", "", /is empty/],
    ["truncated JSON", '{"kind": "Secret", ', /neither JSON nor YAML/],
    ["a ConfigMap", { apiVersion: "v1", kind: "ConfigMap", data: {} }, /contains a ConfigMap, not a Secret/],
    ["no config", { apiVersion: "v1", kind: "Secret", data: {} }, /no etcd config/],
    [
      "truncated base64",
      { apiVersion: "v1", kind: "Secret", data: { cluster9: "ZW5kcG9pbnRzOg" } },
      /not valid base64/,
    ],
    [
      "a config without files",
      { apiVersion: "v1", kind: "Secret", stringData: { cluster9: "endpoints:\n- https://1.2.3.4:2379\n" } },
      /no matching pair of client certificate and key/,
    ],
  ];
  for (const [what, content, expected] of broken) {
    test(`import-secrets of a file with ${what} exits with 2 and writes nothing`, async () => {
      const file = join(dir, "broken.json");
      await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
      const before = writesTo("cluster2").length;
      const ended = await imports(["--context", "cluster2", file, "cluster1.json"]);
      assert.equal(ended.code, 2, ended.stderr);
      assert.match(ended.stderr, expected);
      assert.match(ended.stderr, /nothing was written/);
      assert.equal(writesTo("cluster2").length, before);
    });
  }

  test("missing files, empty folders and no files exit with 2", async () => {
    const missing = await imports(["--context", "cluster2", "nope.json"]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /nope\.json: no such file or directory/);
    await mkdir(join(dir, "empty"));
    const empty = await imports(["--context", "cluster2", "empty"]);
    assert.equal(empty.code, 2);
    assert.match(empty.stderr, /no \.json/);
    const none = await imports([]);
    assert.equal(none.code, 2);
  });

  test("a missing kubeconfig exits with 2", async () => {
    const { code, stderr } = await run("extract-secret", []);
    assert.equal(code, 2);
    assert.match(stderr, /kubeconfig/);
  });

  test("stderr contains no private key, even with --debug, and no colours without a terminal", async () => {
    const key = (JSON.parse(await readFile(join(dir, "cluster2.json"), "utf8")) as V1Secret).data?.["cluster2.key"];
    assert.ok(key);
    const pem = Buffer.from(key, "base64").toString().split("\n")[1] ?? "";
    const ended = await imports(["--debug", "--context", "cluster3", "cluster2.json"]);
    assert.match(ended.stderr, /GET \/api\/v1\/namespaces/);
    for (const secret of [key.slice(0, 60), pem.slice(0, 40)]) {
      assert.ok(!`${ended.stdout}${ended.stderr}`.includes(secret));
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is looked for
    assert.doesNotMatch(ended.stderr, /\u001b/);
  });

  test("clustermesh-secrets has the programs as commands", async () => {
    const options = { kubeconfig: sandbox.kubeconfig };
    const [extracted, help, typo, nothing] = await Promise.all([
      run("clustermesh-secrets", ["extract", "cluster2"], options),
      run("clustermesh-secrets", ["--help"]),
      run("clustermesh-secrets", ["improt"]),
      run("clustermesh-secrets", []),
    ]);
    assert.equal(extracted.stdout, await readFile(join(dir, "cluster2.json"), "utf8"));
    assert.equal(help.code, 0);
    assert.match(help.stdout, /extract .*\n.*import /);
    assert.equal(typo.code, 2);
    assert.match(typo.stderr, /did you mean import\?/);
    assert.equal(nothing.code, 2);
  });

  test("--help shows examples, and --version the version", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    for (const program of ["extract-secret", "import-secrets"]) {
      const help = await run(program, ["--help"]);
      assert.equal(help.code, 0);
      assert.match(help.stdout, /Examples:/);
      assert.equal((await run(program, ["--version"])).stdout, `${version}\n`);
    }
  });

  test("compiled code is cached in the user's cache folder if Node supports it and the folder is writable", async () => {
    const caches = join(dir, "caches");
    const has = await promisify(execFile)(node, ["-p", "'enableCompileCache' in require('node:module')"]);
    const inspect = (folder: string, env: NodeJS.ProcessEnv = {}) =>
      run("clustermesh-secrets", ["inspect", join(dir, "cluster2.json")], { env: { XDG_CACHE_HOME: folder, ...env } });
    const first = await inspect(caches);
    assert.equal(existsSync(join(caches, "clustermesh-secrets", "compile-cache")), has.stdout.trim() === "true");
    for (const [folder, env] of [
      [join(caches, "off"), { NODE_DISABLE_COMPILE_CACHE: "1" }],
      ["/dev/null", {}],
    ] as const) {
      assert.deepEqual(await inspect(folder, env), first);
    }
    assert.equal(existsSync(join(caches, "off")), false);
  });

  test("the demo completes", async () => {
    const { code, stdout, stderr } = await run("clustermesh-secrets", ["demo"]);
    assert.equal(code, 0, stdout + stderr);
    // The demo clusters use loopback addresses, which is expected.
    assert.match(stdout, /^3 clusters, healthy, with 1 warning$/m);
    assert.equal(new Set(stdout.match(/^warning.*\[loopback-address\]$/gm)).size, 2);
    assert.match(stdout, /\[client-refused\]/);
    assert.match(stdout, /unchanged cluster1 and cluster2/);
  });

  for (const [command, shows] of [
    ["demo", "extract-secret --context cluster2"],
    ["sandbox", "export KUBECONFIG="],
  ] as const) {
    test(`Ctrl-C stops the ${command}, which leaves no keys behind`, async () => {
      const temporary = await mkdtemp(join(dir, "tmp-"));
      const child = spawn(node, [programPath("clustermesh-secrets"), command], {
        env: { PATH: process.env.PATH, HOME: dir, TMPDIR: temporary },
        stdio: ["ignore", "pipe", "ignore"],
      });
      const ended = once(child, "close");
      let stdout = "";
      for await (const chunk of child.stdout) {
        stdout += chunk;
        if (stdout.includes(shows)) break;
      }
      assert.notDeepEqual(await readdir(temporary), []);
      child.kill("SIGINT");
      // Ctrl-C is the regular end of the sandbox.
      assert.deepEqual(await ended, command === "sandbox" ? [0, null] : [null, "SIGINT"]);
      assert.deepEqual(await readdir(temporary), []);
    });
  }
});
