import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { ApiError, type KubernetesApi } from "../../lib/kube/api.ts";
import { createConfigMapStore } from "../../lib/sync/config-map-store.ts";
import { createFileStore } from "../../lib/sync/file-store.ts";
import { emptyState, type SyncState } from "../../lib/sync/state.ts";
import type { StateStore } from "../../lib/sync/state-store.ts";
import { formatState, StateError } from "../../lib/sync/state-text.ts";
import { UserError } from "../../lib/util/errors.ts";
import { startProcess, startStateServer, temporaryFolder, until } from "../support/sync-store.ts";

const NAME = "clustermesh-secrets-sync";

const stateOf = (reconciliations: number): SyncState => {
  const state = emptyState("contexts");
  return { ...state, counters: { ...state.counters, reconciliations } };
};

/** Texts that are no state, with what is wrong with them. */
const INVALID: [text: string, problem: RegExp][] = [
  ["", /not JSON/],
  [formatState(stateOf(1)).slice(0, 100), /not JSON/],
  ["my notes\n", /not JSON/],
  ['{"apiVersion": "v1"}', /schemaVersion must be 1; the state is of another version/],
  [JSON.stringify({ ...stateOf(1), schemaVersion: 2 }), /schemaVersion must be 1/],
  [JSON.stringify({ ...stateOf(1), extra: true }), /unknown fields/],
];

const rejectsWith = (promise: Promise<unknown>, message: RegExp, exitCode = 1) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.match(error.message, message);
    assert.equal(error.exitCode, exitCode);
    return true;
  });

describe("a state file", () => {
  /** Opens and claims a store, which is released after the test. */
  async function open(t: TestContext, path: string): Promise<StateStore> {
    const store = createFileStore(path);
    t.after(() => store.release());
    await store.claim();
    return store;
  }

  test("is created with its folders, private, and replaced as a whole", async (t) => {
    const path = join(temporaryFolder(t), "state", "more", "sync.json");
    const store = await open(t, path);
    assert.equal(store.describe(), `file ${path}`);
    assert.equal(await store.load(), undefined);
    await store.save(stateOf(1));
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
    assert.equal(statSync(`${path}.lock`).mode & 0o777, 0o600);
    const { ino } = statSync(path);
    await store.save(stateOf(2));
    assert.notEqual(statSync(path).ino, ino);
    assert.deepEqual(await store.load(), stateOf(2));
    assert.equal(readFileSync(path, "utf8"), formatState(stateOf(2)));
    await store.release();
    assert.deepEqual(readdirSync(dirname(path)), ["sync.json"]);
    assert.deepEqual(await createFileStore(path).load(), stateOf(2));
  });

  test("is not written if nothing has changed, and the mode of an existing folder is kept", async (t) => {
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o755);
    const path = join(folder, "sync.json");
    writeFileSync(path, formatState(stateOf(1)));
    utimesSync(path, 1, 1);
    const store = await open(t, path);
    await store.save((await store.load()) ?? stateOf(0));
    assert.equal(statSync(path).mtimeMs, 1000);
    await store.save(stateOf(2));
    await store.save(stateOf(2));
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(folder).mode & 0o777, 0o755);
  });

  test("that is invalid, foreign or too large is an error, and kept beside the new one", async (t) => {
    const path = join(temporaryFolder(t), "sync.json");
    for (const [text, problem] of [...INVALID, ["x".repeat(1_048_577), /file exceeds 1 MiB/] as const]) {
      writeFileSync(path, text);
      const store = createFileStore(path);
      await store.claim();
      const error = await store.load().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof UserError && problem.test(error.message), String(error));
      assert.ok(error.message.includes(`file ${path}: `), error.message);
      assert.equal(readFileSync(path, "utf8"), text);
      await store.save(stateOf(3));
      assert.equal(readFileSync(`${path}.invalid`, "utf8"), text);
      assert.deepEqual(await store.load(), stateOf(3));
      await store.release();
    }
  });

  test("that is a folder, or in one that cannot be made, is refused", async (t) => {
    const folder = temporaryFolder(t);
    await rejectsWith(createFileStore(folder).claim(), /^cannot use state file .*: is not a regular file$/, 2);
    writeFileSync(join(folder, "file"), "");
    await rejectsWith(
      createFileStore(join(folder, "file", "sync.json")).claim(),
      /^cannot use state file .*: (?:not a directory|file already exists)$/,
      2,
    );
    await rejectsWith(createFileStore(join(folder, "x".repeat(300))).claim(), /name too long/, 2);
    assert.deepEqual(readdirSync(folder), ["file"]);
  });

  test("may be a link", async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, "real"));
    const [path, real] = [join(folder, "sync.json"), join(folder, "real", "state.json")];
    writeFileSync(real, "not ours");
    symlinkSync(real, path);
    const store = await open(t, path);
    await assert.rejects(store.load(), StateError);
    await store.save(stateOf(1));
    assert.equal(readFileSync(`${real}.invalid`, "utf8"), "not ours");
    assert.deepEqual(await store.load(), stateOf(1));
  });

  test("has one process at a time", async (t) => {
    const path = join(temporaryFolder(t), "sync.json");
    const first = await open(t, path);
    const second = createFileStore(path);
    const inUse = new RegExp(
      `^sync is already running as process ${process.pid} \\(state file ${path}\\)\\n  stop it; pass another --state-file only for another mesh$`,
    );
    await rejectsWith(second.claim(), inUse, 2);
    assert.equal(await second.load(), undefined);
    await assert.rejects(second.save(stateOf(1)), /not claimed/);
    await first.claim();
    await first.release();
    await second.claim();
    await rejectsWith(first.claim(), inUse, 2);
    await second.release();
  });

  test("of a process that was killed is taken over with what it saved last, by one of many", async (t) => {
    const path = join(temporaryFolder(t), "sync.json");
    const other = startProcess(
      t,
      `
      import { createFileStore } from "ROOT/lib/sync/file-store.ts";
      import { emptyState } from "ROOT/lib/sync/state.ts";
      const store = createFileStore(process.argv.at(-1));
      await store.claim();
      for (let i = 0; ; i++) {
        const state = emptyState("x".repeat(1000));
        state.counters.reconciliations = i;
        await store.save(state);
        console.log("saved");
      }`,
      path,
    );
    await until(() => other.lines.length > 50);
    const pid = other.child.pid ?? 0;
    await rejectsWith(createFileStore(path).claim(), new RegExp(`running as process ${pid} `), 2);
    other.child.kill("SIGKILL");
    assert.equal(await other.exited, "SIGKILL");
    writeFileSync(join(dirname(path), ".sync.json.0123456789ab"), "half");
    const stores = Array.from({ length: 20 }, () => createFileStore(path));
    const claims = await Promise.allSettled(stores.map((store) => store.claim()));
    const winners = stores.filter((_, i) => claims[i]?.status === "fulfilled");
    assert.equal(winners.length, 1);
    const saved = (await winners[0]?.load())?.counters.reconciliations ?? 0;
    // The line of the last save may be missing.
    assert.ok(saved >= other.lines.length - 1, `${saved} of ${other.lines.length}`);
    await winners[0]?.release();
    assert.deepEqual(readdirSync(dirname(path)), ["sync.json"]);
  });

  test("is not held by another process that has the id of the one that was killed, nor by an invalid lock", async (t) => {
    const path = join(temporaryFolder(t), "sync.json");
    const locks = [
      "",
      "{",
      "[]",
      '{"pid":"1"}',
      '{"pid":-1}',
      JSON.stringify({ pid: 2 ** 22 + 1 }),
      ...(process.platform === "linux" ? [JSON.stringify({ pid: process.pid, started: "another boot 123" })] : []),
    ];
    for (const lock of locks) {
      writeFileSync(`${path}.lock`, lock);
      // Of a process that was killed while it took over.
      writeFileSync(`${path}.lock.takeover`, lock);
      const store = createFileStore(path);
      await store.claim();
      await store.release();
    }
    writeFileSync(`${path}.lock`, JSON.stringify({ pid: process.pid }));
    await rejectsWith(createFileStore(path).claim(), /already running as process/, 2);
  });

  test("is not written after the lock was removed", async (t) => {
    const path = join(temporaryFolder(t), "sync.json");
    const store = await open(t, path);
    await store.save(stateOf(1));
    writeFileSync(`${path}.lock`, '{"pid":1}');
    await rejectsWith(store.save(stateOf(2)), /lock file .* was removed or replaced by another process/);
    assert.deepEqual(await store.load(), stateOf(1));
    await store.release();
    assert.equal(readFileSync(`${path}.lock`, "utf8"), '{"pid":1}');
  });
});

describe("a state in a ConfigMap", () => {
  async function start(t: TestContext) {
    const { server, connect } = await startStateServer(t);
    const open = (): { store: StateStore; api: KubernetesApi } => {
      const { api } = connect();
      return { store: createConfigMapStore(api, "default"), api };
    };
    const stored = () => server.store.read("ConfigMap", "default", NAME);
    const writes = () => server.requests.filter(({ method }) => method !== "GET").map(({ status }) => status);
    return { server, connect, open, stored, writes };
  }

  test("is created, changed, and not written if nothing has changed", async (t) => {
    const { open, stored, writes } = await start(t);
    const { store } = open();
    await store.claim();
    assert.equal(store.describe(), `configmap/${NAME} in namespace default`);
    assert.equal(await store.load(), undefined);
    await store.save(stateOf(1));
    await store.save(stateOf(1));
    await store.save(stateOf(2));
    assert.deepEqual(writes(), [201, 200]);
    assert.deepEqual(stored()?.data, { "state.json": formatState(stateOf(2)) });
    const again = open().store;
    assert.deepEqual(await again.load(), stateOf(2));
    await again.save(stateOf(2));
    assert.deepEqual(writes(), [201, 200]);
    await store.release();
  });

  test("is written after somebody else has created, changed or deleted the ConfigMap", async (t) => {
    const { server, open, stored, writes } = await start(t);
    const { store } = open();
    assert.equal(await store.load(), undefined);
    const put = (data: object) =>
      server.store.put({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: NAME, namespace: "default" }, data });
    put({ note: "mine" });
    await store.save(stateOf(1));
    assert.deepEqual(stored()?.data, { note: "mine", "state.json": formatState(stateOf(1)) });
    put({ "state.json": "theirs" });
    await store.save(stateOf(2));
    assert.deepEqual(stored()?.data, { "state.json": formatState(stateOf(2)) });
    server.store.remove("ConfigMap", "default", NAME);
    await store.save(stateOf(3));
    assert.deepEqual(writes(), [409, 200, 409, 200, 404, 201]);
    assert.deepEqual(await open().store.load(), stateOf(3));
  });

  test("is written after a lost answer", async (t) => {
    const { connect, stored } = await start(t);
    const connection = connect();
    const store = createConfigMapStore(connection.api, "default");
    for (let i = 1; i <= 2; i++) {
      connection.intercept = async (_, send) => {
        await send();
        return { status: 504, headers: {}, body: "{}" };
      };
      await rejectsWith(store.save(stateOf(i)), /504/);
      connection.intercept = undefined;
      await store.save(stateOf(i + 10));
      assert.deepEqual(stored()?.data, { "state.json": formatState(stateOf(i + 10)) });
    }
  });

  test("is not written if it changes again and again: then another process writes it", async (t) => {
    const { server, open, stored } = await start(t);
    const { store } = open();
    await store.save(stateOf(1));
    let changes = 0;
    server.onRequest = ({ method }) => {
      const object = stored();
      if (method === "PATCH" && object) server.store.put({ ...object, data: { "state.json": `theirs ${changes++}` } });
      return undefined;
    };
    await assert.rejects(
      store.save(stateOf(2)),
      (error) => error instanceof ApiError && error.status === 409 && error.exitCode === 1,
    );
    assert.equal(changes, 2);
    server.onRequest = undefined;
    await store.save(stateOf(3));
    assert.deepEqual(await store.load(), stateOf(3));
  });

  test("that is invalid is an error, and replaced", async (t) => {
    const { server, open } = await start(t);
    for (const [text, problem] of INVALID) {
      server.store.put({
        ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: NAME, namespace: "default" } },
        data: { "state.json": text },
      });
      const { store } = open();
      await assert.rejects(store.load(), (error) => {
        assert.ok(error instanceof StateError && problem.test(error.message), String(error));
        assert.ok(error.message.startsWith(`invalid state of sync in configmap/${NAME} in namespace default: `));
        return true;
      });
      await store.save(stateOf(1));
      assert.deepEqual(await store.load(), stateOf(1));
    }
  });

  test("without the key does not exist, and errors of the API server are reported", async (t) => {
    const { server, open } = await start(t);
    server.store.put({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: NAME, namespace: "default" } });
    const { store } = open();
    assert.equal(await store.load(), undefined);
    server.onRequest = () => ({ status: 503, body: { kind: "Status", message: "etcd is away" } });
    await rejectsWith(store.load(), /cannot get configmap\/clustermesh-secrets-sync .*etcd is away \(503\)/);
    await rejectsWith(store.save(stateOf(1)), /etcd is away \(503\)/);
    server.onRequest = undefined;
    await store.save(stateOf(1));
    assert.deepEqual(await store.load(), stateOf(1));
  });
});
