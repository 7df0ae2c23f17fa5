/** `status --sync`: the state in a file and in a cluster, its outputs, and flags that do not fit. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import type { SyncReport } from "../../lib/render/sync-status.ts";
import { defaultClusters, type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { emptyState, HOLD_REASONS, type SyncState } from "../../lib/sync/state.ts";
import { formatState } from "../../lib/sync/state-text.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { syncSnapshot } from "../support/sync-snapshot.ts";

const SCHEMA = fileURLToPath(new URL("../../docs/reference/schemas/sync-status.schema.json", import.meta.url));
const validate = new Ajv2020({ allErrors: true, strict: true }).compile(JSON.parse(readFileSync(SCHEMA, "utf8")));

/** A state of members that were all read just now. */
function settledState(): SyncState {
  const lastContact = new Date().toISOString();
  const members = ["c1", "c2"].map((entry, i) => ({ entry, cluster: entry, id: i + 1, lastContact }));
  return { ...emptyState("--all-contexts"), members };
}

/** A state with each kind of record. */
function fullState(): SyncState {
  // Times in the future would be read as now.
  const state: SyncState = JSON.parse(JSON.stringify(syncSnapshot().state).replace(/"20(?=29-|30-)/g, '"19'));
  const time = "1930-01-01T00:00:00Z";
  const contested = [
    { target: "c1", object: "secret/x", key: "c2", manager: "helm", resets: [time], level: 1, until: time },
  ];
  const held = HOLD_REASONS.map((reason) => ({
    ...{ target: "c1", peer: "c2", reason, since: time, until: time, message: "m", remedy: "kubectl get pods" },
  }));
  const listFailure = { since: time, error: "forbidden" };
  return { ...state, interval: 600_000, listFailure, contested, held: [...state.held, ...held] };
}

describe("status --sync", () => {
  let dir: string;
  const go = (...args: string[]): Promise<ProgramResult> =>
    run("clustermesh-secrets", ["status", "--sync", ...args], { cwd: dir, env: { HOME: dir } });
  const save = (state: SyncState) => writeFileSync(join(dir, "state.json"), formatState(state), { mode: 0o600 });

  before(() => {
    dir = mkdtempSync(join(tmpdir(), "status-sync-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("of a mesh without problems exits with 0", async () => {
    save(settledState());
    const { code, stdout, stderr } = await go("--state-file", "state.json");
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^sync of --all-contexts, state in .*state\.json\n\nMEMBER +ID +LAST CONTACT +STATE\nc1 /);
    assert.match(stdout, /\n\n2 members, nothing held\n$/);
  });

  test("with something held exits with 3, and prints the remedy with the flags of the sync alone", async () => {
    save({ ...settledState(), held: fullState().held });
    const { code, stdout } = await go("--state-file", "state.json", "--kubeconfig", "/other");
    assert.equal(code, 3);
    assert.match(stdout, /^ {2}kubectl get pods$/m);
  });

  test("documents are as their schema describes", async () => {
    for (const state of [settledState(), fullState()]) {
      save(state);
      const json = await go("--state-file", "state.json", "-o", "json");
      const document: SyncReport = JSON.parse(json.stdout);
      assert.ok(validate(document), JSON.stringify(validate.errors));
      assert.deepEqual(parse((await go("--state-file", "state.json", "-o", "yaml")).stdout), document);
      assert.equal(document.members.length, state.members.length);
      assert.equal(document.held.length, state.held.length);
      assert.ok(!json.stdout.includes('"uid"'));
    }
  });

  test("without a readable state exits with 1", async () => {
    const missing = await go("--state-file", "missing.json");
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^error: no state of sync in .*missing\.json; has sync been started\?\n$/);
    writeFileSync(join(dir, "broken.json"), '{"schemaVersion": 9}');
    const broken = await go("--state-file", "broken.json");
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /^error: .*broken\.json/);
    assert.equal(broken.stdout, "");
    assert.equal(readFileSync(join(dir, "broken.json"), "utf8"), '{"schemaVersion": 9}', "it is left as it is");
  });

  test("a state that only others may read is an error", {
    skip: process.getuid?.() === 0 && "root can read everything",
  }, async () => {
    save(settledState());
    chmodSync(join(dir, "state.json"), 0);
    assert.equal((await go("--state-file", "state.json")).code, 1);
    chmodSync(join(dir, "state.json"), 0o600);
  });

  test("the default file is in the folder of the user's state", async () => {
    const { code, stderr } = await go("--kubeconfig", ".kube/config");
    assert.equal(code, 1);
    assert.ok(stderr.includes(join(dir, ".local/state/clustermesh-secrets/sync.json")), stderr);
  });

  test("flags that do not fit are refused", async () => {
    save(settledState());
    const exclusive = "mutually exclusive";
    for (const [args, message] of [
      [["--wait"], `--sync and --wait are ${exclusive}`],
      [["--watch"], `--sync and --watch are ${exclusive}`],
      [["--probe"], `--sync and --probe are ${exclusive}`],
      [["--all-contexts"], `--sync and --all-contexts are ${exclusive}`],
      [["--fail-on=warning"], `--sync and --fail-on are ${exclusive}`],
      [["--expires-within=9d"], `--sync and --expires-within are ${exclusive}`],
      [["--clusters-from=argocd"], `--sync and --clusters-from are ${exclusive}`],
      [["-o", "html", "--output-file=x"], `--sync and --output-file are ${exclusive}`],
      ...["wide", "mermaid", "html", "prometheus"].map((output) => [
        ["-o", output],
        `--sync and -o ${output} are ${exclusive}; use -o json or yaml`,
      ]),
      [["c1"], `--sync and contexts are ${exclusive}; select the cluster with the state by --state-context`],
      [["--context=c1"], `--sync and contexts are ${exclusive}; select the cluster with the state by --state-context`],
      [["-n", "x"], "--namespace is that of Cilium; select that of the state by --state-namespace"],
    ] as [string[], string][]) {
      const { code, stdout, stderr } = await go("--state-file", "state.json", ...args);
      assert.deepEqual([code, stdout, stderr], [2, "", `error: ${message}\n`], args.join(" "));
    }
    for (const flag of ["--state=file", "--state-file=x", "--state-context=x", "--state-namespace=x"]) {
      const { code, stderr } = await run("clustermesh-secrets", ["status", flag], { cwd: dir });
      assert.deepEqual([code, stderr], [2, `error: ${flag.replace(/=.*/, "")} requires --sync\n`]);
    }
  });
});

describe("status --sync of a state in a cluster", () => {
  let sandbox: Sandbox;
  before(async () => {
    sandbox = await startSandbox({ clusters: defaultClusters("ec").slice(0, 1) });
  });
  after(() => sandbox?.stop());

  test("reads the ConfigMap, and writes nothing", async () => {
    const go = (...args: string[]) =>
      run("clustermesh-secrets", ["status", "--sync", ...args], { kubeconfig: sandbox.kubeconfig });
    const flags = ["--state-context=cluster1", "--state-namespace=kube-system"];
    const missing = await go(...flags);
    assert.deepEqual(
      [missing.code, missing.stderr],
      [
        1,
        "error: no state of sync in configmap/clustermesh-secrets-sync in namespace kube-system; has sync been started?\n",
      ],
    );
    const { api } = sandbox.clusters[0] ?? assert.fail();
    const metadata = { name: "clustermesh-secrets-sync", namespace: "kube-system" };
    const data = { "state.json": formatState(settledState()) };
    api.store.put({ apiVersion: "v1", kind: "ConfigMap", metadata, data });
    const found = await go(...flags);
    assert.deepEqual([found.code, found.stderr], [0, ""]);
    assert.match(
      found.stdout,
      /^sync of --all-contexts, state in configmap\/clustermesh-secrets-sync in namespace kube-system\n/,
    );
    const writes = api.requests.filter(({ method, path }) => method !== "GET" && !path.includes("accessreviews"));
    assert.deepEqual(writes, []);
    data["state.json"] = "{";
    api.store.put({ apiVersion: "v1", kind: "ConfigMap", metadata, data });
    const broken = await go(...flags);
    assert.deepEqual([broken.code, broken.stdout], [1, ""]);
    assert.match(broken.stderr, /^error: .*configmap\/clustermesh-secrets-sync in namespace kube-system/);
  });
});
