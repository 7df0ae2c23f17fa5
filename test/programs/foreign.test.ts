/** Renamed and foreign files: the messages of the programs, and remedies that work when pasted. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { parse, stringify } from "yaml";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { json, kubeconfig, sopsSecret, TOKEN, values } from "../support/foreign-files.ts";
import { pasteCommand, run } from "../support/programs.ts";

describe("renamed and foreign files", () => {
  let sandbox: Sandbox;
  let dir: string;
  let secret: V1Secret;
  const go = (program: string, ...args: string[]) => run(program, args, { kubeconfig: sandbox.kubeconfig, cwd: dir });

  before(async () => {
    sandbox = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
    dir = await mkdtemp(join(tmpdir(), "foreign-"));
    const { code, stderr } = await go("extract-secret", "--context", "cluster2", "--output-file", "cluster2.json");
    assert.equal(code, 0, stderr);
    secret = JSON.parse(await readFile(join(dir, "cluster2.json"), "utf8")) as V1Secret;
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("import, inspect and verify report a renamed key with both clusters", async () => {
    const { cluster2: config = "", ...data } = secret.data ?? {};
    await writeFile(join(dir, "renamed.json"), JSON.stringify({ ...secret, data: { ...data, cluster9: config } }));
    const both = /cluster9\S*: .*annotations describe cluster2, but the only entry is cluster9; ignored: id 2 /;
    const imported = await go("import-secrets", "--context", "cluster3", "--dry-run=client", "renamed.json");
    assert.equal(imported.code, 0, imported.stderr);
    assert.match(
      imported.stderr,
      /^warning: renamed\.json \(cluster9\): the annotations describe cluster2, .*; ignored: id 2 /m,
    );
    assert.match(imported.stderr, /^ {2}re-extract cluster9 with extract-secret instead of renaming its key$/m);
    const inspected = await go("clustermesh-secrets", "inspect", "renamed.json");
    assert.equal(inspected.code, 0, inspected.stdout);
    assert.match(inspected.stdout, both);
    assert.equal((await go("clustermesh-secrets", "inspect", "--fail-on=warning", "renamed.json")).code, 3);
    const verified = await go("clustermesh-secrets", "verify", "renamed.json");
    assert.equal(verified.code, 3, verified.stdout);
    assert.match(verified.stderr, both);
    assert.match(verified.stdout, /\[other-cluster\]/);
  });

  /** Imports an invalid file, and returns the message and the remedy of its only finding. */
  async function remedyOf(file: string, ...flags: string[]): Promise<{ message: string; remedy: string }> {
    const { code, stdout, stderr } = await go("import-secrets", ...flags, file);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    const [, message = "", remedy = "", more] =
      /^error: (.*)\n {2}(.*)\nerror: nothing was written because of 1 error\n([\s\S]*)$/.exec(stderr) ?? [];
    assert.notEqual(remedy, "", stderr);
    assert.equal(more, "");
    assert.ok(message.startsWith(`${file}: `), message);
    return { message, remedy };
  }

  const paste = (command: string, tools: Record<string, string> = {}) =>
    pasteCommand(command, { folder: dir, kubeconfig: sandbox.kubeconfig, tools });

  const writes = () => sandbox.clusters.flatMap(({ api }) => api.requests.filter(({ method }) => method !== "GET"));

  test("a SOPS file is refused with a command that decrypts and imports it into the same targets", async () => {
    const file = "the mesh/cluster2 secret.json";
    await mkdir(join(dir, "the mesh"));
    await writeFile(join(dir, file), json(sopsSecret));
    const { message, remedy } = await remedyOf(file, "--context", "cluster3", "--dry-run=client");
    assert.equal(message, `${file}: is encrypted with SOPS [encrypted-file]`);
    assert.equal(remedy, `sops decrypt '${file}' | import-secrets --context cluster3 --dry-run client -`);
    const sops = `test "$1" = decrypt && test "$2" = '${file}' && cat cluster2.json`;
    const pasted = await paste(remedy, { sops });
    assert.equal(pasted.code, 0, pasted.stderr);
    assert.match(pasted.stderr, /^cluster3 .*: would add cluster2 \(dry run\)$/m);
    // Rerun with this file alone, --prune would remove the peers of the other.
    const pruning = await go("import-secrets", "--context=cluster3", "--prune", "--yes", file, "cluster2.json");
    assert.match(pruning.stderr, /^ {2}sops decrypt .* \| import-secrets --context cluster3 --yes -$/m);

    const inspected = await go("clustermesh-secrets", "inspect", file);
    assert.equal(inspected.code, 2);
    assert.match(
      inspected.stdout,
      /^ {2}sops decrypt 'the mesh\/cluster2 secret\.json' \| clustermesh-secrets inspect -$/m,
    );
    const verified = await go("clustermesh-secrets", "verify", "--context", "cluster3", file);
    assert.equal(verified.code, 2);
    assert.match(verified.stderr, /^ {2}sops decrypt .* \| clustermesh-secrets verify --context cluster3 -$/m);
  });

  test("a kubeconfig is refused with a command that extracts from its context", async () => {
    const all = parse(await readFile(sandbox.kubeconfig, "utf8")) as { contexts: { name: string }[] };
    const file = "kube config.yaml";
    const contexts = all.contexts.filter(({ name }) => name === "cluster2");
    await writeFile(join(dir, file), stringify({ ...all, contexts }));
    const { message, remedy } = await remedyOf(file, "--context", "cluster3");
    assert.equal(message, `${file}: is a kubeconfig (context cluster2), not a Secret [foreign-file]`);
    assert.equal(
      remedy,
      `extract-secret --kubeconfig '${file}' --context cluster2 | import-secrets --context cluster3 -`,
    );
    const before = writes().length;
    const pasted = await paste(remedy);
    assert.equal(pasted.code, 0, pasted.stderr);
    assert.match(pasted.stderr, /^cluster3 .*: added cluster2$/m);
    assert.ok(writes().length > before);
  });

  test("secrets of kubeconfigs and values files are never printed", async () => {
    await writeFile(join(dir, "tokens.yaml"), stringify(kubeconfig("a", "b")));
    const tls = { cert: "Y2VydA==", key: "c2VjcmV0LWtleQ==" };
    await writeFile(join(dir, "values.yaml"), stringify(values([{ name: "c2", address: "c2.example", tls }])));
    for (const output of [[], ["-o", "json"], ["-o", "yaml"]]) {
      const { code, stdout, stderr } = await go(
        "clustermesh-secrets",
        "inspect",
        "tokens.yaml",
        "values.yaml",
        ...output,
      );
      assert.equal(code, 2);
      assert.match(stdout, /values file of Cilium's Helm chart with clustermesh\.config\.clusters \(c2\)/);
      for (const secret of [TOKEN, tls.cert, tls.key]) assert.ok(!`${stdout}${stderr}`.includes(secret), output.join());
    }
  });

  test("a values file is refused with an extract command that lacks only the context", async () => {
    await writeFile(join(dir, "values.yaml"), stringify({ cilium: values({ c2: { address: "c2.example" } }) }));
    const { remedy } = await remedyOf("values.yaml", "--context", "cluster3", "--dry-run=server");
    assert.equal(remedy, "extract-secret --context CONTEXT | import-secrets --context cluster3 --dry-run server -");
    const pasted = await paste(remedy.replace("CONTEXT", "cluster1"));
    assert.equal(pasted.code, 0, pasted.stderr);
    const literally = await paste(remedy);
    assert.equal(literally.code, 2);
    assert.match(literally.stderr, /standard input: the file is empty/);
  });

  test("one foreign file in a folder refuses the import, and several of a kind are one error", async () => {
    await mkdir(join(dir, "folder"));
    await writeFile(join(dir, "folder", "cluster2.json"), JSON.stringify(secret));
    await writeFile(join(dir, "folder", "a.json"), json(sopsSecret));
    const before = writes().length;
    const refused = async () => {
      const { code, stderr } = await go("import-secrets", "--context", "cluster3", "folder");
      assert.equal(code, 2, stderr);
      assert.match(stderr, /^error: nothing was written because of 1 error$/m);
      return stderr;
    };
    assert.match(await refused(), /folder\/a\.json: is encrypted with SOPS/);
    for (const name of ["b", "c"]) await writeFile(join(dir, "folder", `${name}.json`), json(sopsSecret));
    const several = await refused();
    assert.match(several, /error: 3 files are encrypted \[encrypted-file\]/);
    assert.match(several, /^ {2}sops decrypt FILE \| import-secrets --context cluster3 -$/m);
    assert.equal(writes().length, before);
  });
});
