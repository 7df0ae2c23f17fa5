import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, test } from "node:test";
import type { V1Pod } from "@kubernetes/client-node";
import fc from "fast-check";
import { type Issuer, issue, makeCa } from "../../lib/sandbox/pki.ts";
import { type AuthorityReading, authorityKey, noteAuthorities } from "../../lib/sync/authorities.ts";
import { findEtcdStart } from "../../lib/sync/etcd-start.ts";
import { type AuthorityRecord, emptyState } from "../../lib/sync/state.ts";
import { formatState, parseState } from "../../lib/sync/state-text.ts";
import { caOf, DAY, NOW } from "../support/material.ts";

const MINUTE = 60_000;
const after = (minutes: number) => new Date(NOW.getTime() + minutes * MINUTE);
const timeAt = (minutes: number) => after(minutes).toISOString();
const bundleOf = (authorities: readonly Issuer[]) => authorities.map(({ cert }) => cert).join("");
const keyOf = ({ cert }: Issuer) => authorityKey(new X509Certificate(cert));
const [A, B, C] = [caOf("a"), caOf("b"), caOf("c")];

/** Notes a reading of a cluster at a time. */
function note(
  records: readonly AuthorityRecord[],
  authorities: readonly Issuer[],
  minutes: number,
  more: Partial<AuthorityReading> = {},
): readonly AuthorityRecord[] {
  return noteAuthorities(records, { cluster: "c2", ca: bundleOf(authorities), ...more }, after(minutes));
}

const known = (records: readonly AuthorityRecord[]) =>
  Object.fromEntries((records[0]?.authorities ?? []).map(({ key, since, until }) => [key, [since, until]]));

describe("the CAs of a cluster", () => {
  test("are of unknown age at the first reading, unless etcd started before they were issued", () => {
    const young = makeCa({ cn: "young", notBefore: after(0) });
    const etcdStarted = after(-120);
    assert.deepEqual(known(note([], [A, young], 1, { etcdStarted: after(-5) })), {
      [keyOf(A)]: [undefined, undefined],
      [keyOf(young)]: [undefined, undefined],
    });
    const notBefore = new Date(Math.floor(after(0).getTime() / 1_000) * 1_000).toISOString();
    assert.deepEqual(known(note([], [young], 1, { etcdStarted })), { [keyOf(young)]: [notBefore, undefined] });
  });

  test("were added when their object was written, or after the last reading", () => {
    const first = note([], [A], 0);
    const since = (more: Partial<AuthorityReading>) => known(note(first, [A, B], 60, more))[keyOf(B)]?.[0];
    assert.equal(since({ written: after(55), lastRead: after(50) }), timeAt(55));
    assert.equal(since({ written: after(55) }), timeAt(55));
    assert.equal(since({ lastRead: after(50) }), timeAt(50));
    assert.equal(since({}), timeAt(60));
    // A clock that is behind, and an object that is another one.
    assert.equal(since({ written: after(45), lastRead: after(50) }), timeAt(45));
    assert.equal(since({ written: after(30), lastRead: after(50) }), timeAt(50));
    // Times that a server made up.
    for (const time of ["+275760-09-13T00:00:00Z", "-000001-01-01T00:00:00Z"]) {
      assert.equal(since({ written: new Date(time), lastRead: after(50) }), timeAt(50));
      assert.equal(since({ written: new Date(time) }), timeAt(60));
    }
    // After a long time without a reading the object may have been written again.
    assert.equal(since({ written: after(55), lastRead: new Date(NOW.getTime() - 2 * DAY) }), timeAt(-2 * 24 * 60));
  });

  test("are remembered after they were removed, and new if they return", () => {
    const removed = note(note([], [A, B], 0), [B], 10);
    assert.deepEqual(known(removed), { [keyOf(B)]: [undefined, undefined], [keyOf(A)]: [undefined, timeAt(10)] });
    assert.equal(note(removed, [B], 20), removed);
    assert.deepEqual(known(note(removed, [A, B], 30))[keyOf(A)], [timeAt(30), undefined]);
  });

  test("are the same if they are issued again with their keys", () => {
    const again = makeCa({ cn: "a CA", privateKey: A.key });
    const first = note([], [A], 0);
    assert.equal(note(first, [again], 10), first);
    assert.notEqual(keyOf(makeCa({ cn: "another CA", privateKey: A.key })), keyOf(A));
  });

  test("that cannot be read, or are too many, are not recorded", () => {
    const first = note([], [A], 0);
    assert.equal(noteAuthorities(first, { cluster: "c2", ca: "none" }, NOW), first);
    const { key } = A;
    const many = Array.from({ length: 101 }, (_, i) => makeCa({ cn: `ca ${i}`, privateKey: key }));
    assert.deepEqual(note(first, many, 1), []);
    assert.equal(note([], many.slice(1), 1)[0]?.authorities.length, 100);
  });

  test("of other clusters stay as they are", () => {
    const other: AuthorityRecord = { cluster: "c3", authorities: [] };
    assert.equal(note([other], [A], 0)[0], other);
  });
});

test("the server certificate is new from the second reading on", () => {
  const serverCertificate = issue(A, { cn: "server", usage: "server" }).cert;
  const renewed = issue(A, { cn: "server", usage: "server" }).cert;
  const first = note([], [A], 0, { serverCertificate });
  assert.equal(first[0]?.server?.since, undefined);
  assert.equal(note(first, [A], 10, { serverCertificate }), first);
  // It cannot be read for a while.
  assert.equal(note(first, [A], 20), first);
  assert.equal(note(first, [A], 30, { serverCertificate: renewed })[0]?.server?.since, timeAt(30));
});

test("any sequence of bundles: a CA has been there since at least the first reading with it, and the state keeps it", () => {
  fc.assert(
    fc.property(fc.array(fc.subarray([A, B, C], { minLength: 1 }), { minLength: 1, maxLength: 15 }), (bundles) => {
      let records: readonly AuthorityRecord[] = [];
      const present = new Map<string, number>();
      for (const [i, bundle] of bundles.entries()) {
        const keys = bundle.map(keyOf);
        for (const key of present.keys()) if (!keys.includes(key)) present.delete(key);
        for (const key of keys) if (!present.has(key)) present.set(key, i);
        records = note(records, bundle, i, { lastRead: after(i - 1) });
        records = parseState(formatState({ ...emptyState("test"), authorities: [...records] }), after(i)).authorities;
        const current = records[0]?.authorities.filter(({ until }) => until === undefined) ?? [];
        assert.deepEqual(current.map(({ key }) => key).sort(), [...keys].sort());
        for (const { key, since } of current) {
          const seen = present.get(key) ?? 0;
          assert.equal(since, seen === 0 ? undefined : timeAt(seen - 1));
        }
      }
    }),
  );
});

test("etcds have read their CA file when the last of them has started", () => {
  const podOf = (mounted: number, started: number | undefined, restartCount = 0): V1Pod => ({
    status: {
      startTime: timeAt(mounted) as unknown as Date,
      containerStatuses: [
        { name: "apiserver", image: "", imageID: "", ready: true, restartCount: 0 },
        {
          ...{ name: "etcd", image: "", imageID: "", ready: true, restartCount },
          state: started === undefined ? {} : { running: { startedAt: timeAt(started) as unknown as Date } },
        },
      ],
    },
  });
  assert.deepEqual(findEtcdStart([podOf(0, 1)]), after(0));
  assert.deepEqual(findEtcdStart([podOf(5, 6), podOf(3, 4)]), after(3));
  // A restarted container may have read a file that is two minutes old.
  assert.deepEqual(findEtcdStart([podOf(0, 60, 1)]), after(58));
  assert.deepEqual(findEtcdStart([podOf(59, 60, 1)]), after(59));
  // One that does not run reads the file when it starts.
  assert.deepEqual(findEtcdStart([podOf(0, undefined), podOf(7, 8)]), after(7));
  assert.equal(findEtcdStart([podOf(0, undefined)]), undefined);
  assert.equal(findEtcdStart([]), undefined);
  assert.equal(findEtcdStart([{}]), undefined);
});
