import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { holdLease, LEASE_TIMES, type LeaseTimes } from "../../lib/sync/lease.ts";
import { type Connection, type StateServer, startProcess, startStateServer, until } from "../support/sync-store.ts";

/** As short as possible, since the duration is written in whole seconds. A busy machine may miss the deadline. */
const HASTY: LeaseTimes = { duration: 1_000, renewDeadline: 600, renewInterval: 150, retryInterval: 100 };
/** For tests in which no deadline may be missed. */
const PATIENT: LeaseTimes = { duration: 600_000, renewDeadline: 300_000, renewInterval: 100, retryInterval: 100 };
const DAY = 86_400_000;
const NAME = "clustermesh-secrets-sync";
const NAMESPACE = "default";

interface Contender extends Connection {
  identity: string;
  isHolder: boolean;
  /** How often it became the holder. */
  terms: number;
  /** The holders it lost to, "" for none, and those it waited for. */
  lostTo: string[];
  waitedFor: string[];
  log: string[];
  stop(): Promise<void>;
}

/** Starts a contender; at most one of those of a server may be the holder. */
function contend(
  t: TestContext,
  { connect }: Pick<StateServer, "connect">,
  identity: string,
  { rivals = [], times = PATIENT, now }: { rivals?: Contender[]; times?: LeaseTimes; now?: () => Date } = {},
): Contender {
  const ending = new AbortController();
  const contender: Contender = Object.assign(connect(), {
    ...{ identity, isHolder: false, terms: 0, lostTo: [], waitedFor: [], log: [] },
    stop: async () => {},
  });
  rivals.push(contender);
  const held = holdLease(contender.api, {
    ...{ namespace: NAMESPACE, identity, signal: ending.signal, times },
    ...(now && { now }),
    onAcquired: () => {
      assert.deepEqual(
        rivals.filter(({ isHolder }) => isHolder).map((one) => one.identity),
        [],
      );
      contender.isHolder = true;
      contender.terms++;
    },
    onLost: (holder = "") => {
      contender.isHolder = false;
      contender.lostTo.push(holder);
    },
    onWaiting: (holder) => contender.waitedFor.push(holder),
    log: (message) => contender.log.push(message),
  });
  contender.stop = () => {
    contender.isHolder = false;
    ending.abort();
    return held;
  };
  t.after(() => contender.stop());
  return contender;
}

const lease = ({ server }: Pick<StateServer, "server">) => server.store.read("Lease", NAMESPACE, NAME);
const specOf = (cluster: StateServer) => lease(cluster)?.spec ?? {};
/** Waits until the Lease has been renewed some times. */
async function renewals(cluster: StateServer, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { renewTime } = specOf(cluster);
    await until(() => specOf(cluster).renewTime !== renewTime);
  }
}
const unreachable = () => new Promise<never>(() => {});

describe("the Lease", { concurrency: true }, () => {
  test("the default times leave a margin, and a killed holder is replaced within 30 seconds", () => {
    const { duration, renewDeadline, renewInterval, retryInterval } = LEASE_TIMES;
    assert.ok(renewDeadline + retryInterval < duration && renewInterval + retryInterval < renewDeadline);
    assert.ok(duration + 2.4 * retryInterval < 30_000);
  });

  test("a Lease is created, renewed and released as by client-go", async (t) => {
    const cluster = await startStateServer(t);
    const first = contend(t, cluster, "first");
    await until(() => first.isHolder);
    const created = specOf(cluster);
    const { holderIdentity, leaseDurationSeconds, leaseTransitions, acquireTime } = created;
    assert.deepEqual([holderIdentity, leaseDurationSeconds, leaseTransitions], ["first", 600, 0]);
    await renewals(cluster, 2);
    assert.deepEqual({ ...specOf(cluster), renewTime: "" }, { ...created, renewTime: "" });
    await first.stop();
    const released = specOf(cluster);
    assert.deepEqual([released.holderIdentity, released.leaseDurationSeconds, released.leaseTransitions], ["", 1, 0]);
    assert.ok(released.acquireTime > acquireTime);
    assert.deepEqual(first.lostTo, []);

    const second = contend(t, cluster, "second");
    await until(() => second.isHolder);
    assert.deepEqual([specOf(cluster).holderIdentity, specOf(cluster).leaseTransitions], ["second", 1]);
    assert.deepEqual([first.log, second.log, second.waitedFor], [[], [], []]);
    // Renewals are one request each.
    const { requests } = cluster.server;
    const before = requests.length;
    await renewals(cluster, 3);
    assert.ok(requests.slice(before).every(({ method, status }) => method === "PATCH" && status === 200));
  });

  test("of two, one waits while the other renews, and takes over after the other has given up", async (t) => {
    const cluster = await startStateServer(t);
    const rivals: Contender[] = [];
    const first = contend(t, cluster, "first", { rivals, times: HASTY });
    await until(() => first.isHolder);
    const second = contend(t, cluster, "second", { rivals, times: HASTY });
    await until(() => second.waitedFor.length > 0);
    await sleep(3 * HASTY.duration);
    assert.ok(!second.isHolder || first.lostTo.length > 0);

    first.intercept = unreachable;
    await until(() => second.isHolder);
    assert.ok(first.lostTo.length > 0);
    assert.equal(second.waitedFor[0], "first");
    assert.ok(specOf(cluster).leaseTransitions > 0);
  });

  test("the holder is waited for again after each change of it", async (t) => {
    const cluster = await startStateServer(t);
    const first = contend(t, cluster, "first");
    await until(() => first.isHolder);
    const others = ["second", "third"].map((identity) => contend(t, cluster, identity));
    await until(() => others.every(({ waitedFor }) => waitedFor.length > 0));
    await first.stop();
    await until(() => others.some(({ isHolder }) => isHolder));
    const [holder, other] = others[0]?.isHolder ? others : [...others].reverse();
    assert.ok(holder && other);
    await until(() => other.waitedFor.length === 2);
    assert.deepEqual([other.waitedFor, holder.waitedFor], [["first", holder.identity], ["first"]]);
  });

  test("a Lease that can be read and not written is logged once", async (t) => {
    const cluster = await startStateServer(t);
    const first = contend(t, cluster, "first");
    await until(() => first.isHolder);
    await first.stop();
    const second = contend(t, cluster, "second");
    let refused = 0;
    second.intercept = async (request, send) => {
      if (request.method !== "PATCH") return send();
      refused++;
      return { status: 403, headers: {}, body: '{"kind":"Status","message":"not permitted"}' };
    };
    await until(() => refused > 2);
    assert.equal(second.log.length, 1, second.log.join("\n"));
    second.intercept = undefined;
    await until(() => second.isHolder);
    assert.equal(second.log.length, 1);
  });

  test("a holder whose requests fail tries again, and logs each error once", async (t) => {
    const cluster = await startStateServer(t);
    const first = contend(t, cluster, "first");
    await until(() => first.isHolder);
    let failures = 0;
    const failing: Connection["intercept"] = async () => {
      failures++;
      return { status: 503, headers: {}, body: '{"kind":"Status","message":"etcd is away"}' };
    };
    first.intercept = async (request, send) => (failures < 2 ? failing(request, send) : send());
    await renewals(cluster, 3);
    assert.deepEqual([first.terms, first.lostTo, failures], [1, [], 2]);
    assert.deepEqual(first.log, [
      'context "a": cannot patch lease/clustermesh-secrets-sync in namespace default: etcd is away (503)',
    ]);
  });

  test("a holder that cannot renew gives up, and becomes the holder again when it can", async (t) => {
    const cluster = await startStateServer(t);
    const first = contend(t, cluster, "first", { times: HASTY });
    await until(() => first.isHolder);
    first.intercept = async () => ({ status: 503, headers: {}, body: "{}" });
    await until(() => !first.isHolder);
    assert.ok(first.lostTo.every((holder) => holder === ""));
    first.intercept = undefined;
    await until(() => first.isHolder);
    assert.equal(specOf(cluster).leaseTransitions, 0);
  });

  test("each of five becomes the holder, and never two at a time, however they end", async (t) => {
    const cluster = await startStateServer(t);
    const rivals: Contender[] = [];
    for (const identity of ["a", "b", "c", "d", "e"]) contend(t, cluster, identity, { rivals, times: HASTY });
    for (let ended = 0; ended < 5; ended++) {
      await until(() => rivals.some(({ isHolder }) => isHolder));
      const holder = rivals.find(({ isHolder }) => isHolder);
      assert.ok(holder);
      if (ended % 2 === 0) holder.intercept = unreachable;
      else await holder.stop();
      await until(() => !holder.isHolder);
    }
    assert.ok(rivals.every(({ terms }) => terms > 0));
    // Conflicts among them are no errors.
    assert.deepEqual(
      rivals.flatMap(({ log }) => log).filter((line) => line.includes("(409)")),
      [],
    );
  });

  test("while the API server is away there is no holder, and afterwards there is one", async (t) => {
    const cluster = await startStateServer(t);
    const rivals: Contender[] = [];
    for (const identity of ["a", "b", "c"]) contend(t, cluster, identity, { rivals, times: HASTY });
    await until(() => rivals.some(({ isHolder }) => isHolder));
    for (const one of rivals) {
      one.intercept = async () => ({ status: 500, headers: {}, body: "{}" });
    }
    await until(() => rivals.every(({ isHolder }) => !isHolder));
    await sleep(2 * HASTY.duration);
    assert.ok(rivals.every(({ isHolder }) => !isHolder));
    for (const one of rivals) one.intercept = undefined;
    await until(() => rivals.some(({ isHolder }) => isHolder));
    await renewals(cluster, 5);
  });

  for (const [name, offset] of [
    ["behind", -DAY],
    ["ahead", DAY],
  ] as const) {
    test(`a holder whose clock is a day ${name} is neither replaced too early nor too late`, async (t) => {
      const cluster = await startStateServer(t);
      const rivals: Contender[] = [];
      const now = () => new Date(Date.now() + offset);
      const first = contend(t, cluster, "first", { rivals, now, times: HASTY });
      await until(() => first.isHolder);
      const second = contend(t, cluster, "second", { rivals, times: HASTY });
      await until(() => second.waitedFor.length > 0);
      await sleep(3 * HASTY.duration);
      const { renewTime, holderIdentity } = specOf(cluster);
      assert.match(renewTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
      if (holderIdentity === "first") assert.ok(Math.abs(Date.parse(renewTime) - now().getTime()) < DAY / 2);
      assert.ok(!second.isHolder || first.lostTo.length > 0);
      first.intercept = unreachable;
      await until(() => second.isHolder);
      assert.ok(first.lostTo.length > 0);
    });
  }

  test("a lost answer to a write is recognized: the Lease is not waited for", async (t) => {
    const cluster = await startStateServer(t);
    const { connect } = cluster;
    let lost = 0;
    const losing: Connection["intercept"] = async (request, send) => {
      const response = await send();
      if (request.method === "GET" || lost++ > 0) return response;
      return { status: 504, headers: {}, body: "{}" };
    };
    const first = contend(t, { connect: () => Object.assign(connect(), { intercept: losing }) }, "first");
    await until(() => first.isHolder);
    assert.deepEqual([specOf(cluster).leaseTransitions, first.waitedFor], [0, []]);
    lost = 0;
    await renewals(cluster, 3);
    assert.deepEqual([first.terms, first.lostTo], [1, []]);
  });

  test("a write that is answered too late does not count", async (t) => {
    const cluster = await startStateServer(t);
    const { connect } = cluster;
    let delayed = 0;
    const slow: Connection["intercept"] = async (request, send) => {
      const response = await send();
      if (request.method === "POST") await sleep(HASTY.renewDeadline + 10);
      if (request.method === "POST") delayed++;
      return response;
    };
    const first = contend(t, { connect: () => Object.assign(connect(), { intercept: slow }) }, "first", {
      times: HASTY,
    });
    await until(() => first.isHolder);
    assert.deepEqual([delayed, specOf(cluster).leaseTransitions], [1, 0]);
    assert.ok(cluster.server.requests.some(({ method }) => method === "PATCH"));
  });

  test("somebody who changes, takes or deletes the Lease does not stop it for ever", async (t) => {
    const cluster = await startStateServer(t);
    const { store } = cluster.server;
    const first = contend(t, cluster, "first");
    await until(() => first.isHolder);
    const change = (mutate: (spec: Record<string, unknown>, metadata: { annotations?: object }) => void) => {
      const object = lease(cluster);
      assert.ok(object);
      mutate(object.spec, object.metadata);
      store.put(object);
    };
    change((_, metadata) => {
      metadata.annotations = { note: "mine" };
    });
    await renewals(cluster, 2);
    store.remove("Lease", NAMESPACE, NAME);
    await until(() => specOf(cluster).holderIdentity === "first");
    assert.deepEqual([first.terms, first.lostTo], [1, []]);
    change((spec) => {
      spec.holderIdentity = "other\u001b[2J";
      spec.leaseDurationSeconds = 1;
    });
    await until(() => !first.isHolder);
    assert.deepEqual(first.lostTo, ["other\u001b[2J"]);
    await until(() => first.isHolder);
    assert.deepEqual([first.waitedFor, specOf(cluster).leaseTransitions], [[], 1]);
    change((spec) => {
      for (const name of Object.keys(spec)) delete spec[name];
    });
    await until(() => specOf(cluster).holderIdentity === "first");
  });

  test("stopping while another holds it ends at once and writes nothing", async (t) => {
    const cluster = await startStateServer(t);
    const first = contend(t, cluster, "first");
    await until(() => first.isHolder);
    const second = contend(t, cluster, "second");
    await until(() => second.waitedFor.length > 0);
    await second.stop();
    assert.equal(specOf(cluster).holderIdentity, "first");
  });

  test("stopping while the API server does not answer ends", async (t) => {
    const cluster = await startStateServer(t);
    const first = contend(t, cluster, "first", { times: HASTY });
    await until(() => first.isHolder);
    first.intercept = unreachable;
    await first.stop();
    assert.equal(specOf(cluster).holderIdentity, "first");
  });

  test("the Lease of a process that was killed is taken over, that of one that was stopped and continued is not shared", async (t) => {
    const cluster = await startStateServer(t);
    const code = `
    import { openCluster } from "ROOT/lib/kube/open.ts";
    import { holdLease } from "ROOT/lib/sync/lease.ts";
    const [kubeconfig] = process.argv.slice(-1);
    const { api } = await openCluster({ clientName: "test", kubeconfig });
    await holdLease(api, {
      namespace: "${NAMESPACE}", identity: "process", signal: new AbortController().signal, times: ${JSON.stringify(HASTY)},
      onAcquired: () => console.log("acquired"),
      onLost: (holder) => console.log("lost", holder ?? ""),
      log: () => {},
    });`;
    const other = startProcess(t, code, cluster.kubeconfig);
    await until(() => other.lines.includes("acquired"));
    const first = contend(t, cluster, "first", { times: HASTY });
    await until(() => first.waitedFor.length > 0);
    other.child.kill("SIGSTOP");
    await until(() => first.isHolder);
    other.child.kill("SIGCONT");
    await until(() => other.lines.some((line) => line.startsWith("lost")));
    await first.stop();
    await until(() => specOf(cluster).holderIdentity === "process");
    const second = contend(t, cluster, "second", { times: HASTY });
    await until(() => second.waitedFor.length > 0);
    other.child.kill("SIGKILL");
    assert.equal(await other.exited, "SIGKILL");
    await until(() => second.isHolder);
  });
});
