/** The steps of a change of CA, judged by TLS connections between what etcd has read and what an importer was given. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { connect as connectTls, createServer } from "node:tls";
import fc from "fast-check";
import type { ClientCertificate, Peer } from "../../lib/peer/peer.ts";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";
import { noteAuthorities } from "../../lib/sync/authorities.ts";
import { type AuthorityRequest, type OrderedPeer, orderAuthorities } from "../../lib/sync/ca-order.ts";
import type { AuthorityRecord } from "../../lib/sync/state.ts";
import { ParseCache } from "../../lib/util/parse-cache.ts";
import { isSignedBy } from "../../lib/x509/chain.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { caOf, clientOf, DAY, freshClient, intermediateOf, NOW } from "../support/material.ts";
import { peerOf } from "../support/targets.ts";

const MINUTE = 60_000;
const HOST = "c2.mesh.cilium.io";

const servers = new Map<string, ClientCertificate>();
/** Returns one of a few server certificates of a CA. */
function serverOf(ca: Issuer, serial = 0): ClientCertificate {
  const name = `${ca.cert}${serial}`;
  const found = servers.get(name) ?? issue(ca, { cn: "server", usage: "server", dns: ["*.mesh.cilium.io"] });
  servers.set(name, found);
  return found;
}
const cache = new ParseCache();
const bundleOf = (...authorities: Issuer[]) => normalizeCa(authorities.map(({ cert }) => cert).join(""));

const tlsOf = (peer: Peer | undefined) => JSON.stringify([peer?.ca, peer?.client]);

/** An etcd: it has read its CA file once, and presents its current certificate. */
interface Etcd {
  trusted: string;
  started: Date;
}

/** A cluster whose certificates change, and an importer that `sync` keeps up to date. */
class Mesh {
  now = NOW;
  ca: string;
  server: ClientCertificate;
  client: ClientCertificate;
  etcds: Etcd[];
  /** The server certificates that etcd may present: the current one, and the one before until the kubelet has updated it. */
  #earlier: { server: ClientCertificate; until: Date } | undefined;
  #written = new Date(NOW.getTime() - 30 * DAY);
  #lastRead: Date | undefined;
  #serial = 0;
  records: readonly AuthorityRecord[] = [];
  importer: Peer | undefined;
  own: AuthorityRequest["own"] = {};
  last: OrderedPeer = { peer: peerOf("c2").peer, step: "none" };

  constructor(ca: Issuer, { etcds = 1, days = 20 }: { etcds?: number; days?: number } = {}) {
    this.ca = bundleOf(ca);
    this.server = serverOf(ca);
    this.client = clientOf(ca);
    const started = new Date(NOW.getTime() - days * DAY);
    this.etcds = Array.from({ length: etcds }, () => ({ trusted: this.ca, started }));
    this.sync();
    this.wait(1);
  }

  get desired(): Peer {
    return { ...peerOf("c2").peer, ca: { pem: this.ca }, client: this.client };
  }

  wait(minutes: number): void {
    this.now = new Date(this.now.getTime() + minutes * MINUTE);
  }

  /** Changes the Secrets of the cluster. */
  change({ bundle, server, client }: { bundle?: Issuer[]; server?: Issuer; client?: Issuer }): void {
    if (bundle) this.ca = bundleOf(...bundle);
    if (server) {
      this.#earlier = { server: this.server, until: new Date(this.now.getTime() + 2 * MINUTE) };
      this.server = serverOf(server, ++this.#serial % 3);
    }
    if (client) this.client = clientOf(client, "remote", ++this.#serial % 3);
    this.#written = this.now;
  }

  /** Restarts etcds; new pods mount the current Secrets. */
  restart(...indexes: number[]): void {
    this.wait(0.5);
    for (const [i, etcd] of this.etcds.entries()) {
      if (indexes.length > 0 && !indexes.includes(i)) continue;
      Object.assign(etcd, { trusted: this.ca, started: this.now });
    }
    if (indexes.length === 0) this.#earlier = undefined;
  }

  /** Reads the cluster as `sync` does, and writes the importer unless it cannot be reached. */
  sync({ writes = true, hasTime = true } = {}): OrderedPeer {
    const etcdStarted = new Date(Math.min(...this.etcds.map(({ started }) => started.getTime())));
    const serverCertificate = this.server.cert;
    this.records = noteAuthorities(
      this.records,
      {
        ...{ cluster: "c2", ca: this.ca, serverCertificate, etcdStarted, lastRead: this.#lastRead },
        ...(hasTime && { written: this.#written }),
      },
      this.now,
    );
    this.#lastRead = this.now;
    this.last = orderAuthorities({
      ...{ existing: this.importer, own: this.own, desired: this.desired, serverCertificate, etcdStarted },
      ...{ record: this.records[0], now: this.now, cache },
    });
    if (writes) this.importer = this.last.peer;
    return this.last;
  }

  /** Syncs until nothing changes, also after waiting; returns the steps. `check` is called after each write. */
  async settle(check: () => Promise<void> | void = () => undefined): Promise<OrderedPeer["step"][]> {
    const steps: OrderedPeer["step"][] = [];
    for (let quiet = 0; quiet < 3; ) {
      const before = tlsOf(this.importer);
      const { step } = this.sync();
      await check();
      if (tlsOf(this.importer) === before) quiet++;
      else {
        quiet = 0;
        steps.push(step);
      }
      this.wait(4);
    }
    return steps;
  }

  get presented(): ClientCertificate[] {
    const isEarlier = this.#earlier && this.#earlier.until > this.now;
    return [this.server, ...(isEarlier && this.#earlier ? [this.#earlier.server] : [])];
  }

  /** The certificates that the importer uses. */
  used(peer = this.importer): { ca: string; client: ClientCertificate } {
    assert.ok(peer);
    const ca = typeof peer.ca === "object" ? peer.ca.pem : (this.own.ca ?? "");
    const client = peer.client === "importer" ? (this.own.client as ClientCertificate) : peer.client;
    return { ca, client };
  }

  /** Whether an importer connects with each etcd, whichever certificate that presents. Without a connection. */
  isConnected(peer = this.importer): boolean {
    if (!peer) return false;
    const { ca, client } = this.used(peer);
    const isAccepted = this.etcds.every(({ trusted }) => isSignedBy(client.cert, trusted, cache));
    return isAccepted && this.presented.every(({ cert }) => isSignedBy(cert, ca, cache));
  }
}

/** Connects with an etcd, over TLS with client certificates. */
async function handshake(
  etcd: Etcd,
  server: ClientCertificate,
  ca: string,
  client: ClientCertificate,
): Promise<boolean> {
  const listener = createServer(
    { ...server, ca: etcd.trusted, requestCert: true, rejectUnauthorized: true },
    (socket) => socket.end("accepted"),
  );
  listener.on("tlsClientError", () => undefined);
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const socket = connectTls({ host: "127.0.0.1", port, servername: HOST, ca, ...client });
  try {
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    return text === "accepted";
  } catch {
    return false;
  } finally {
    socket.destroy();
    listener.close();
    await once(listener, "close");
  }
}

/** Requires that the importer connects with each etcd, whichever certificate that presents; by TLS, and by our own rules. */
async function assertConnected(mesh: Mesh): Promise<void> {
  const { ca, client } = mesh.used();
  for (const etcd of mesh.etcds) {
    for (const server of mesh.presented) assert.ok(await handshake(etcd, server, ca, client), `step ${mesh.last.step}`);
  }
  assert.ok(mesh.isConnected());
}

const isUpToDate = ({ importer, ca, client }: Mesh) =>
  typeof importer?.ca === "object" &&
  importer.ca.pem === ca &&
  importer.client !== "importer" &&
  importer.client.cert === client.cert;

const [A, B] = [caOf("a"), caOf("b")];

describe("a change of the CA", () => {
  test("judges connections as TLS does", async () => {
    const etcd = { trusted: bundleOf(A), started: NOW };
    assert.equal(await handshake(etcd, serverOf(A), bundleOf(A), clientOf(A)), true);
    assert.equal(await handshake(etcd, serverOf(A), bundleOf(B), clientOf(A)), false);
    assert.equal(await handshake(etcd, serverOf(A), bundleOf(A), clientOf(B)), false);
  });

  test("is not found if certificates are renewed under the same CA", async () => {
    const mesh = new Mesh(A);
    mesh.change({ server: A, client: A });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["none"]);
    assert.ok(isUpToDate(mesh));
    assert.equal(mesh.last.waiting, undefined);
    // Pods need not be known for that.
    const { importer: existing, own, now, records } = mesh;
    const desired = { ...mesh.desired, client: freshClient(A) };
    const { peer } = orderAuthorities({ existing, own, desired, record: records[0], now });
    assert.equal(peer.client, desired.client);
  });

  test("in the documented order reaches the importers in each step", async () => {
    const mesh = new Mesh(A);
    const check = () => assertConnected(mesh);
    mesh.change({ bundle: [A, B] });
    assert.deepEqual(await mesh.settle(check), ["trust"]);
    mesh.restart();
    assert.deepEqual(await mesh.settle(check), []);
    mesh.change({ server: B, client: B });
    assert.deepEqual(await mesh.settle(check), ["switch"]);
    mesh.change({ bundle: [B] });
    assert.deepEqual(await mesh.settle(check), ["drop"]);
    assert.ok(isUpToDate(mesh));
    mesh.restart();
    assert.deepEqual(await mesh.settle(check), []);
  });

  test("waits with the client certificate if the restart of the second step is missing", async () => {
    const mesh = new Mesh(A);
    const check = () => assertConnected(mesh);
    mesh.change({ bundle: [A, B] });
    await mesh.settle(check);
    mesh.change({ server: B, client: B });
    assert.deepEqual(await mesh.settle(check), []);
    assert.equal(mesh.last.waiting?.for, "restart");
    mesh.restart();
    assert.deepEqual(await mesh.settle(check), ["switch"]);
  });

  test("without a common bundle needs a restart of etcd, and no importer is disconnected before", async () => {
    const mesh = new Mesh(A);
    mesh.change({ bundle: [B], server: B, client: B });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["trust"]);
    assert.deepEqual(mesh.last.waiting, {
      for: "restart",
      message:
        'cluster "c2" has a new CA, but its etcd has not been restarted since: keeping the old client certificate',
    });
    // For days.
    mesh.wait(5 * 24 * 60);
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), []);
    mesh.restart();
    // etcd does not accept the old client certificate any more.
    assert.equal(mesh.isConnected(), false);
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["drop"]);
    assert.ok(isUpToDate(mesh));
  });

  test("and a restart within the same minute, as by helm upgrade, is seen by the time of the write", async () => {
    for (const hasTime of [true, false]) {
      const mesh = new Mesh(A);
      mesh.wait(5);
      mesh.change({ bundle: [B], server: B, client: B });
      mesh.restart();
      mesh.wait(0.5);
      mesh.sync({ hasTime });
      await assertConnected(mesh);
      assert.equal(mesh.last.step, "trust");
      assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["drop"]);
    }
  });

  test("keeps the old CA while etcd may present its old certificate", () => {
    const mesh = new Mesh(A);
    mesh.change({ bundle: [A, B] });
    mesh.sync();
    mesh.restart();
    mesh.change({ bundle: [B], server: B, client: B });
    mesh.sync();
    assert.deepEqual(mesh.last.waiting?.for, "propagation");
    assert.deepEqual(mesh.last.waiting?.until, new Date(mesh.now.getTime() + 5 * MINUTE));
    assert.equal(mesh.isConnected(), true);
    mesh.wait(5);
    assert.equal(mesh.sync().step, "drop");
  });

  test("keeps the old CA as long as the server certificate is of it, or cannot be read", () => {
    const mesh = new Mesh(A);
    mesh.change({ bundle: [B] });
    mesh.sync();
    mesh.wait(60);
    mesh.sync();
    assert.equal(mesh.last.waiting?.for, "server-certificate");
    assert.match(mesh.last.waiting?.message ?? "", /not signed by its new CA/);
    const { importer: existing, own, desired, now, records } = mesh;
    const unread = orderAuthorities({ existing, own, desired, now, record: records[0] });
    assert.match(unread.waiting?.message ?? "", /cannot be read: keeping its old CA$/);
    assert.deepEqual(unread.peer.ca, { pem: bundleOf(A, B) });
  });

  test("keeps the client certificate while the new one is not signed by the bundle", () => {
    const mesh = new Mesh(A);
    mesh.change({ client: B });
    mesh.sync();
    assert.equal(mesh.last.waiting?.for, "client-certificate");
    assert.equal(mesh.isConnected(), true);
  });

  test("with two etcds waits for the restart of both", async () => {
    const mesh = new Mesh(A, { etcds: 2 });
    mesh.change({ bundle: [A, B] });
    await mesh.settle(() => assertConnected(mesh));
    mesh.change({ server: B, client: B });
    mesh.restart(0);
    await mesh.settle(() => assertConnected(mesh));
    assert.equal(mesh.last.waiting?.for, "restart");
    mesh.restart(1);
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["switch"]);
  });

  test("to one that is issued again with its key needs no restart", async () => {
    const again = makeCa({ cn: "a CA", privateKey: A.key });
    const mesh = new Mesh(A);
    mesh.change({ bundle: [again], client: again });
    const steps = await mesh.settle(() => {
      // node:tls compares key identifiers, too.
      assert.ok(mesh.isConnected());
    });
    assert.deepEqual(steps, ["trust"]);
    assert.ok(isUpToDate(mesh));
  });

  test("of an intermediate CA below the same root is a renewal", async () => {
    const [low, other] = [intermediateOf("a"), makeCa({ cn: "a second intermediate", issuer: A })];
    const mesh = new Mesh(A);
    mesh.change({ server: low, client: low });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["none"]);
    mesh.change({ server: other, client: other });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["none"]);
    assert.ok(isUpToDate(mesh));
  });

  test("to another root, with intermediate CAs, takes the same steps", async () => {
    const mesh = new Mesh(A);
    mesh.change({ bundle: [B], server: intermediateOf("b"), client: intermediateOf("b") });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["trust"]);
    mesh.restart();
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["drop"]);
  });

  test("does not keep an expired CA, nor a client certificate of one", async () => {
    const expired = makeCa({
      cn: "x CA",
      notBefore: new Date(NOW.getTime() - 9 * DAY),
      notAfter: new Date(NOW.getTime() - DAY),
    });
    const mesh = new Mesh(A);
    assert.ok(mesh.importer);
    mesh.importer = { ...mesh.importer, ca: { pem: bundleOf(expired, A) } };
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["drop"]);
    assert.ok(isUpToDate(mesh));
    mesh.importer = { ...mesh.importer, ca: { pem: bundleOf(expired) }, client: clientOf(expired) };
    mesh.change({ bundle: [B], server: B, client: B });
    mesh.sync();
    assert.ok(isUpToDate(mesh));
    // The cluster itself still has it.
    const both = new Mesh(A);
    both.change({ bundle: [expired, A] });
    assert.deepEqual(await both.settle(() => assertConnected(both)), ["trust"]);
    both.change({ bundle: [A] });
    assert.deepEqual(await both.settle(() => assertConnected(both)), ["drop"]);
  });

  test("keeps a CA that was added to the importers before, as by rotate --trust", async () => {
    const next = makeCa({ cn: "next CA", notBefore: NOW });
    const mesh = new Mesh(A);
    assert.ok(mesh.importer);
    const trusted = { pem: bundleOf(A, next) };
    mesh.importer = { ...mesh.importer, ca: trusted };
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), []);
    assert.deepEqual([mesh.importer.ca, mesh.last.waiting], [trusted, undefined]);
    mesh.change({ client: A });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["none"]);
    assert.deepEqual(mesh.importer.ca, trusted);
    // Once the cluster had it, it is removed with it.
    mesh.change({ bundle: [A, next] });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), []);
    mesh.change({ bundle: [A] });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["drop"]);
  });

  test("that was made before the first reading is recognized by the start of etcd", async () => {
    const young = makeCa({ cn: "young CA", notBefore: new Date(NOW.getTime() - 30 * MINUTE) });
    const mesh = new Mesh(A);
    mesh.records = [];
    mesh.change({ bundle: [young], server: young, client: young });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["trust"]);
    assert.equal(mesh.last.waiting?.for, "restart");
    mesh.restart();
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["drop"]);
    // An etcd that may have read it is assumed to have.
    const restarted = new Mesh(A, { days: 1 });
    restarted.records = [];
    restarted.change({ bundle: [young], server: young, client: young });
    restarted.restart();
    restarted.sync();
    await assertConnected(restarted);
  });
});

describe("an importer that uses its own files", () => {
  const own = { ca: bundleOf(A), client: clientOf(A, "remote", 7) };

  test("keeps its own client certificate as long as etcd accepts no other, and its key is never copied", async () => {
    const mesh = new Mesh(A);
    mesh.own = own;
    mesh.importer = { ...mesh.desired, ca: "importer", client: "importer" };
    mesh.change({ bundle: [B], server: B, client: B });
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["trust"]);
    assert.deepEqual([mesh.importer.ca, mesh.importer.client], [{ pem: bundleOf(A, B) }, "importer"]);
    assert.equal(JSON.stringify(mesh.importer).includes(JSON.stringify(own.client.key)), false);
    mesh.restart();
    assert.deepEqual(await mesh.settle(() => assertConnected(mesh)), ["drop"]);
  });

  test("gets the bundle of etcd to compare its own certificate with, while it trusts more", () => {
    const mesh = new Mesh(A);
    mesh.change({ bundle: [B], server: B, client: B });
    mesh.sync();
    assert.equal(mesh.importer?.facts.ca, undefined);
    mesh.restart();
    mesh.sync();
    assert.deepEqual([mesh.importer?.ca, mesh.importer?.facts.ca], [{ pem: bundleOf(A, B) }, bundleOf(B)]);
    mesh.wait(6);
    mesh.sync();
    assert.equal(mesh.importer?.facts.ca, undefined);
  });

  test("and a desired peer that refers to them, are not ordered", () => {
    const mesh = new Mesh(A);
    const desired: Peer = { ...mesh.desired, ca: "importer", client: "importer" };
    const { importer: existing, now } = mesh;
    assert.deepEqual(orderAuthorities({ existing, own, desired, now }), { peer: desired, step: "none" });
    assert.deepEqual(orderAuthorities({ existing: undefined, own, desired: mesh.desired, now }), {
      peer: mesh.desired,
      step: "none",
    });
  });

  test("or the roots of the system, gets the desired CA", () => {
    const mesh = new Mesh(A);
    const existing: Peer = { ...mesh.desired, ca: "system" };
    const { peer, step } = orderAuthorities({ existing, own, desired: mesh.desired, now: mesh.now });
    assert.deepEqual([peer.ca, step], [mesh.desired.ca, "none"]);
    const invalid: Peer = { ...mesh.desired, ca: { pem: "none" } };
    assert.deepEqual(
      orderAuthorities({ existing: invalid, own, desired: mesh.desired, now: mesh.now }).peer,
      mesh.desired,
    );
  });
});

/** What happens in a cluster; CAs by name, so that a counterexample can be read. */
interface Action {
  bundle?: string[];
  server?: string;
  client?: string;
  restart?: number[];
  minutes?: number;
}

describe("for any changes of a cluster", () => {
  const name = fc.constantFrom("a", "b", "c");
  const action: fc.Arbitrary<Action> = fc.oneof(
    fc.record({ bundle: fc.subarray(["a", "b", "c"], { minLength: 1 }) }),
    name.map((server) => ({ server })),
    name.map((client) => ({ client })),
    name.map((ca) => ({ bundle: [ca], server: ca, client: ca })),
    fc.constantFrom([0], [1], []).map((restart) => ({ restart: [...restart] })),
    fc.constantFrom({ minutes: 1 }, { minutes: 10 }),
  );
  const anySteps = fc.array(fc.record({ action, writes: fc.boolean() }), { maxLength: 25 });

  function act(mesh: Mesh, { bundle, server, client, restart, minutes = 0 }: Action): void {
    mesh.wait(minutes + 0.2);
    if (restart) mesh.restart(...restart);
    if (bundle || server || client) {
      mesh.change({
        ...(bundle && { bundle: bundle.map(caOf) }),
        ...(server && { server: caOf(server) }),
        ...(client && { client: caOf(client) }),
      });
    }
    mesh.wait(0.2);
  }

  test("no write disconnects an importer", () => {
    fc.assert(
      fc.property(anySteps, fc.integer({ min: 1, max: 2 }), (steps, etcds) => {
        const mesh = new Mesh(A, { etcds });
        for (const { action, writes } of steps) {
          act(mesh, action);
          const wasConnected = mesh.isConnected();
          mesh.sync({ writes });
          if (wasConnected) assert.ok(mesh.isConnected(), mesh.last.step);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("what the cluster has in the end reaches the importer, once etcd has been restarted", async () => {
    await fc.assert(
      fc.asyncProperty(anySteps, name, async (steps, last) => {
        const mesh = new Mesh(A, { etcds: 2 });
        for (const { action, writes } of steps) {
          act(mesh, action);
          mesh.sync({ writes });
        }
        act(mesh, { bundle: [last], server: last, client: last });
        mesh.sync();
        mesh.restart();
        await mesh.settle();
        assert.ok(isUpToDate(mesh));
        assert.equal(mesh.last.waiting, undefined);
        assert.ok(mesh.isConnected());
      }),
      { numRuns: 30 },
    );
  });
});
