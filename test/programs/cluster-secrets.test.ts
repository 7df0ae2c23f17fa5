/** The mesh commands with clusters from Secrets, as built. The kubeconfig has the context of the management cluster only. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { parse, stringify } from "yaml";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import {
  type Access,
  accessOf,
  argoSecret,
  capiSecrets,
  kubeconfigOf,
  kubeconfigSecret,
} from "../support/cluster-secrets.ts";
import { type ProgramResult, pasteCommand, run } from "../support/programs.ts";

const NAMES = ["cluster1", "cluster2", "cluster3"];

describe("clusters from Secrets", () => {
  let sandbox: Sandbox;
  let dir: string;
  let kubeconfig: string;

  const put = (...secrets: KubernetesObject[]) => {
    for (const secret of secrets) sandbox.clusters[0]?.api.store.put(secret);
  };
  const access = (name: string, overrides: Partial<Access> = {}) => ({ ...accessOf(sandbox, name), ...overrides });
  const go = (...args: string[]): Promise<ProgramResult> => run("clustermesh-secrets", args, { kubeconfig });
  const fromArgo = (command: string, ...args: string[]) =>
    go(command, "--clusters-from=argocd", "--clusters-namespace=members", ...args);
  const connect = (...args: string[]) => fromArgo("connect", "--yes", "--restart-agents", ...args);
  const putArgo = () => put(...NAMES.map((name) => argoSecret(`argo-${name}`, name, access(name))));
  const peersOf = (cluster: string) => {
    const found = sandbox.clusters.find(({ description }) => description.name === cluster);
    const secret = found?.api.store.read("Secret", "kube-system", "cilium-clustermesh") as V1Secret | undefined;
    return NAMES.filter((name) => secret?.data?.[name] !== undefined);
  };
  const findingsIn = ({
    stdout,
  }: ProgramResult): { code: string; source: string; message: string; remedy?: string }[] =>
    JSON.parse(stdout).clusters.flatMap(({ findings }: { findings: object[] }) => findings);

  before(() => {
    dir = mkdtempSync(join(tmpdir(), "cluster-secrets-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));
  beforeEach(async () => {
    sandbox = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
    const config = parse(readFileSync(sandbox.kubeconfig, "utf8"));
    for (const list of ["clusters", "users", "contexts"]) config[list] = config[list].slice(0, 1);
    kubeconfig = join(dir, "kubeconfig");
    writeFileSync(kubeconfig, stringify(config));
  });
  afterEach(() => sandbox.stop());

  test("connect, status, verify, rotate and disconnect with Secrets of Argo CD", async () => {
    putArgo();
    const done = await connect();
    assert.equal(done.code, 0, done.stderr);
    for (const name of NAMES)
      assert.deepEqual(
        peersOf(name),
        NAMES.filter((other) => other !== name),
      );
    const status = await fromArgo("status");
    assert.equal(status.code, 0, status.stdout);
    assert.match(status.stdout, /^3 clusters, healthy/m);
    const verified = await fromArgo("verify", "--context", "cluster3");
    assert.deepEqual([verified.code, /^2 of 2 peers connect$/m.test(verified.stdout)], [0, true], verified.stdout);
    assert.match((await fromArgo("verify")).stdout, /^6 of 6 peers connect$/m);
    const rotated = await fromArgo("rotate", "cluster2", "--yes");
    assert.deepEqual(
      [rotated.code, /^cluster3.*: unchanged cluster2$/m.test(rotated.stderr)],
      [0, true],
      rotated.stderr,
    );
    const left = await fromArgo("disconnect", "cluster3", "--from=cluster1", "--yes");
    assert.deepEqual(
      [left.code, peersOf("cluster1"), peersOf("cluster2")],
      [0, ["cluster2"], ["cluster1", "cluster3"]],
    );
    const all = await fromArgo("disconnect", "cluster3", "--yes");
    assert.deepEqual([all.code, peersOf("cluster2")], [0, ["cluster1"]], all.stderr);
  });

  test("connect with the Secrets of Cluster API, and a star with Secrets of our own label", async () => {
    put(...NAMES.slice(0, 2).flatMap((name) => capiSecrets(name, access(name))));
    const capi = await go(
      ...["connect", "--clusters-from=cluster-api", "--clusters-namespace=members", "--yes", "--restart-agents"],
    );
    assert.equal(capi.code, 0, capi.stderr);
    assert.deepEqual(NAMES.map(peersOf), [["cluster2"], ["cluster1"], []]);
    put(...NAMES.map((name) => kubeconfigSecret(name, kubeconfigOf(access(name)))));
    const star = await go(
      ...["connect", "--clusters-from=secrets", "--clusters-namespace=members", "--clusters-context=cluster1"],
      ...["--hub=cluster3", "--yes", "--restart-agents"],
    );
    assert.equal(star.code, 0, star.stderr);
    assert.deepEqual(NAMES.map(peersOf), [
      ["cluster2", "cluster3"],
      ["cluster1", "cluster3"],
      ["cluster1", "cluster2"],
    ]);
  });

  test("names select among the Secrets, and an unknown one is refused", async () => {
    putArgo();
    const two = await connect("cluster1", "cluster2");
    assert.deepEqual([two.code, ...NAMES.map(peersOf)], [0, ["cluster2"], ["cluster1"], []], two.stderr);
    const wrong = await connect("cluster1", "clutser2");
    assert.equal(wrong.code, 2);
    assert.match(
      wrong.stderr,
      /^error: no Secret describes cluster "clutser2" in namespace members .*did you mean "cluster2"\?/,
    );
    const nowhere = await go("status", "--clusters-from=argocd");
    assert.equal(nowhere.code, 2);
    assert.match(
      nowhere.stderr,
      /^error: no Secret describes a cluster in namespace kube-system of context "cluster1" /,
    );
  });

  test("extract and import reach one cluster of a Secret, and only if it is named", async () => {
    putArgo();
    const secrets = ["--clusters-from=argocd", "--clusters-namespace=members"];
    const file = join(dir, "cluster2.json");
    for (const [program, args, missing] of [
      ["extract-secret", [], "CONTEXT"],
      ["import-secrets", [file], "--context"],
    ] as const) {
      const { code, stderr } = await run(program, [...secrets, ...args], { kubeconfig });
      assert.deepEqual([code, stderr], [2, `error: --clusters-from requires ${missing}\n`]);
    }
    const extracted = await run("extract-secret", [...secrets, "cluster2", "--output-file", file], { kubeconfig });
    assert.equal(extracted.code, 0, extracted.stderr);
    const imported = await run("import-secrets", [...secrets, "--context=cluster3", file], { kubeconfig });
    assert.equal(imported.code, 0, imported.stderr);
    assert.deepEqual(NAMES.map(peersOf), [[], [], ["cluster2"]]);
  });

  test("a remedy for clusters of Secrets works when it is pasted", async () => {
    put(...NAMES.map((name) => argoSecret(`argo-${name}`, `${name} of 'Argo'`, access(name))));
    assert.equal((await connect()).code, 0);
    assert.equal((await fromArgo("disconnect", "cluster2", "--from=cluster1 of 'Argo'", "--yes")).code, 0);
    const broken = await fromArgo("status");
    const command = /^ {2}to connect them: (.*)$/m.exec(broken.stdout)?.[1] ?? "";
    assert.match(command, /^extract-secret --clusters-from=argocd .*\| import-secrets --clusters-from=argocd /);
    const pasted = await pasteCommand(command, { folder: dir, kubeconfig });
    assert.equal(pasted.code, 0, pasted.stderr);
    const mended = await fromArgo("status");
    assert.deepEqual([broken.code, mended.code], [3, 0], mended.stdout);
  });

  test("flags that do not fit together are refused", async () => {
    const cases: [args: string[], message: RegExp][] = [
      [["status", "--selector=a=b"], /^error: --selector requires --clusters-from\n/],
      [
        ["connect", "--allow-insecure-members", "a", "b"],
        /^error: --allow-insecure-members requires --clusters-from\n/,
      ],
      [["status", "--clusters-from=argocd", "--all-contexts"], /are mutually exclusive\n/],
      [["connect", "--clusters-from=argocd", "--all-contexts"], /are mutually exclusive\n/],
      [
        ["status", "--clusters-from=argocd", "--allow-exec=/bin/sh"],
        /^error: invalid value "\/bin\/sh" for --allow-exec/,
      ],
      [["verify", "--clusters-from=argocd", "FILE"], /^error: --clusters-from with FILE requires --context/],
      [["status", "--clusters-from=rancher"], /must be one of argocd, cluster-api, secrets\n/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await go(...args);
      assert.equal(code, 2, args.join(" "));
      assert.match(stderr, message);
    }
  });

  test("an unusable Secret is one finding: status continues, and connect with --skip-unreachable", async () => {
    putArgo();
    put(
      argoSecret("argo-broken", "broken", access("cluster1"), { bearerToken: undefined }),
      argoSecret("argo-hostile", "hostile", access("cluster1"), { proxyUrl: "http://127.0.0.1:1" }),
      argoSecret("argo-down", "nowhere", access("cluster1", { server: "https://127.0.0.1:1" })),
    );
    const status = await fromArgo("status", "-o", "json");
    assert.equal(status.code, 1);
    const found = findingsIn(status).filter(({ source }) => !NAMES.includes(source));
    assert.deepEqual(
      found.map(({ code, source }) => [code, source]),
      [
        ["member-invalid", "broken"],
        ["member-refused", "hostile"],
        ["cluster-unreadable", "nowhere"],
      ],
    );
    assert.match(found[2]?.message ?? "", /^cannot reach https:\/\/127\.0\.0\.1:1 \(cluster "nowhere"\): /);
    assert.equal(found[1]?.message, "secret/argo-hostile: not permitted in a Secret: proxyUrl");
    assert.match(found[1]?.remedy ?? "", /pass --allow-insecure-members$/);
    const stopped = await connect();
    assert.equal(stopped.code, 1, stopped.stderr);
    assert.match(stopped.stderr, /to continue without unreadable clusters, pass --skip-unreachable/);
    assert.deepEqual(NAMES.map(peersOf), [[], [], []]);
    const done = await connect("--skip-unreachable");
    assert.equal(done.code, 3, done.stderr);
    assert.deepEqual(peersOf("cluster1"), ["cluster2", "cluster3"]);
    const verified = await fromArgo("verify");
    assert.deepEqual([verified.code, /^6 of 6 peers connect$/m.test(verified.stdout)], [1, true], verified.stderr);
    assert.match(verified.stderr, /^error: hostile: secret\/argo-hostile: not permitted in a Secret: proxyUrl$/m);
  });

  test("two Secrets for one cluster are one member, whatever their names", async () => {
    putArgo();
    put(argoSecret("argo-again", "another-name", access("cluster2")));
    const done = await connect();
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stderr, /^warning: skipped \S+ cluster2: same cluster as \S+ another-name$/m);
    assert.deepEqual(peersOf("cluster2"), ["cluster1", "cluster3"]);
    const status = await fromArgo("status", "-o", "json");
    assert.deepEqual(
      findingsIn(status).flatMap(({ code, source }) => (code === "same-cluster" ? [source] : [])),
      ["cluster2"],
    );
  });

  test("a member that claims the name or id of another stops connect, and by its name rotate", async () => {
    putArgo();
    const api = sandbox.clusters[2]?.api;
    const config = api?.store.read("ConfigMap", "kube-system", "cilium-config");
    assert.ok(api && config);
    api.store.put({ ...config, data: { ...config.data, "cluster-name": "cluster2", "cluster-id": "2" } });
    const { code, stderr } = await connect("--skip-unreachable");
    assert.equal(code, 2, stderr);
    assert.match(stderr, /\[name-duplicate\]/);
    assert.match(stderr, /\[id-duplicate\]/);
    assert.deepEqual(NAMES.map(peersOf), [[], [], []]);
    const rotated = await fromArgo("rotate", "cluster2", "--yes");
    assert.deepEqual([rotated.code, /\[name-duplicate\]/.test(rotated.stderr)], [2, true], rotated.stderr);
  });
});
