import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { NodeInfo } from "../../lib/cilium/nodes.ts";
import { findServingAddresses } from "../../lib/extract/endpoint.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import { keepAddresses } from "../../lib/sync/addresses.ts";
import type { GoneAddress } from "../../lib/sync/state.ts";
import { peerOf } from "../support/targets.ts";

const START = new Date("2026-06-01T12:00:00Z");
const MINUTE = 60_000;
const GRACE = 5 * MINUTE;
const after = (minutes: number) => new Date(START.getTime() + minutes * MINUTE);
const NAME = "c2.mesh.cilium.io";

/** The peer at addresses of nodes, behind a name of the certificate. */
function at(...ips: string[]): Peer {
  return peerAt(`https://${NAME}:32379`, ips);
}

function peerAt(url: string, ips: string[] = [], hostname = NAME): Peer {
  const { peer } = peerOf("c2");
  const facts = { ...peer.facts, serverNames: ["*.mesh.cilium.io", "10.0.0.9"] };
  return { ...peer, endpoints: [url], hostAliases: ips.length > 0 ? [{ hostname, ips }] : [], facts };
}

const [A, B, C, D] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"] as const;

interface Step {
  desired?: Peer;
  existing?: Peer | undefined;
  serving?: string[];
  gone?: GoneAddress[];
  minutes?: number;
}

function decide({ desired = at(B, C), existing = at(A, B), serving = [A, B, C], gone = [], minutes = 0 }: Step) {
  return keepAddresses({ desired, existing, serving, gone, now: after(minutes), grace: GRACE });
}

const isKept = ({ peer }: { peer: Peer }) => peer.hostAliases[0]?.ips.join() === `${A},${B}`;
const goneA = (minutes: number): GoneAddress => ({ peer: "c2", address: A, since: after(minutes).toISOString() });

describe("configured addresses of nodes", () => {
  test("stay while all of them serve, even if others are chosen now", () => {
    const kept = decide({});
    assert.ok(isKept(kept));
    assert.deepEqual([kept.gone, kept.waitsUntil], [[], undefined]);
    // Only the endpoint stays.
    const { client } = peerOf("c3").peer;
    assert.equal(decide({ desired: { ...at(B, C), client } }).peer.client, client);
  });

  test("stay for a while after one of them is gone", () => {
    const first = decide({ serving: [B, C] });
    assert.ok(isKept(first));
    assert.deepEqual(first.gone, [goneA(0)]);
    assert.deepEqual(first.waitsUntil, after(5));
    const second = decide({ serving: [B, C], gone: first.gone, minutes: 4.9 });
    assert.ok(isKept(second));
    assert.deepEqual([second.gone, second.waitsUntil], [[goneA(0)], after(5)]);
    const third = decide({ serving: [B, C], gone: second.gone, minutes: 5 });
    assert.deepEqual(third.peer.hostAliases, at(B, C).hostAliases);
    assert.deepEqual([third.gone, third.waitsUntil], [[goneA(0)], undefined]);
  });

  test("start over if the address returns", () => {
    const back = decide({ gone: [goneA(0)], minutes: 4 });
    assert.deepEqual([isKept(back), back.gone], [true, []]);
    assert.deepEqual(decide({ serving: [B, C], gone: back.gone, minutes: 8 }).waitsUntil, after(13));
  });

  test("stay, and nothing is recorded, if no node can be listed", () => {
    const kept = decide({ serving: [], gone: [goneA(-60)] });
    assert.deepEqual([isKept(kept), kept.gone, kept.waitsUntil], [true, [goneA(-60)], undefined]);
  });

  test("keep the records of other importers and peers", () => {
    const other = { peer: "c3", address: A, since: after(-600).toISOString() };
    const ofOthers = { ...goneA(-10), address: D };
    assert.deepEqual(decide({ gone: [other, ofOthers] }).gone, [other, ofOthers]);
    // After an hour, no importer may name it.
    assert.deepEqual(decide({ gone: [other, { ...goneA(-70), address: D }] }).gone, [other]);
    assert.deepEqual(decide({ existing: undefined, gone: [goneA(-1)] }).gone, []);
  });

  test("in the URL are as those behind a name", () => {
    const single = (ip: string) => peerAt(`https://${ip}:32379`);
    const existing = single("10.0.0.9");
    const kept = decide({ existing, desired: at(A, B), serving: [A, B, "10.0.0.9"] });
    assert.deepEqual(kept.peer.endpoints, ["https://10.0.0.9:32379"]);
    assert.deepEqual(kept.peer.hostAliases, []);
    assert.deepEqual(decide({ existing, desired: at(A, B), serving: [A, B] }).gone[0]?.address, "10.0.0.9");
    const replaced = decide({ existing: at(A, B), desired: existing, serving: [A, B, "10.0.0.9"] });
    assert.ok(isKept(replaced));
  });

  test("in IPv6 are the same in any form", () => {
    const kept = decide({ existing: at("fd00:0:0::1", B), desired: at(B, C), serving: ["fd00::1", B, C] });
    assert.deepEqual([kept.peer.hostAliases[0]?.ips[0], kept.gone], ["fd00:0:0::1", []]);
  });
});

describe("a change at once", () => {
  const now = { desired: at(B, C), serving: [A, B, C] };
  const changed: [string, Peer | undefined][] = [
    ["a new peer", undefined],
    ["another port", peerAt(`https://${NAME}:32380`, [A, B])],
    ["another name", peerAt("https://other.mesh.cilium.io:32379", [A, B], "other.mesh.cilium.io")],
    ["a name without addresses", peerAt(`https://${NAME}:32379`)],
    ["addresses of another name", peerAt(`https://${NAME}:32379`, [A, B], "other")],
    ["an address that the certificate does not cover", peerAt(`https://${A}:32379`)],
    ["several URLs", { ...at(A), endpoints: [`https://${NAME}:32379`, "https://x.mesh.cilium.io:32379"] }],
    ["an invalid URL", peerAt(`http://${NAME}:32379`, [A])],
    ["an alias that Cilium refuses", peerAt(`https://${NAME}:32379`, [A, "10.0.0.01"])],
  ];
  for (const [what, existing] of changed) {
    test(`replaces ${what}`, () => {
      const { peer, gone, waitsUntil } = keepAddresses({ ...now, existing, gone: [], now: START, grace: GRACE });
      assert.equal(peer, now.desired);
      assert.deepEqual([gone, waitsUntil], [[], undefined]);
    });
  }
});

describe("for any sequence of nodes", () => {
  const anyIps = fc.subarray([A, B, C, D, "10.0.0.5"], { minLength: 1 });
  const anyStep = fc.record({
    // What the nodes answer at; an extraction chooses the first two.
    serving: fc.oneof({ weight: 5, arbitrary: anyIps }, { weight: 1, arbitrary: fc.constant<string[]>([]) }),
    wait: fc.constantFrom(0.5, 1, 3, 6, 90),
  });

  test("an address changes only after one of them has been gone for the grace, and then soon", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 40 }), (steps) => {
        let existing = at(A, B);
        let gone: GoneAddress[] = [];
        let minutes = 0;
        /** Since when each address has been observed to be gone. */
        const goneSince = new Map<string, number>();
        for (const { serving, wait } of steps) {
          minutes += wait;
          const desired = serving.length > 0 ? at(...serving.slice(0, 2)) : at(A, C);
          const decision = decide({ existing, desired, serving, gone, minutes });
          if (serving.length === 0) {
            assert.deepEqual(decision.peer.hostAliases, existing.hostAliases);
            assert.deepEqual(decision.gone, gone);
            continue;
          }
          const named = existing.hostAliases[0]?.ips ?? [];
          for (const ip of serving) goneSince.delete(ip);
          for (const ip of named) if (!serving.includes(ip) && !goneSince.has(ip)) goneSince.set(ip, minutes);
          const isDue = named.some((ip) => !serving.includes(ip) && minutes - (goneSince.get(ip) ?? minutes) >= 5);
          const isChanged = decision.peer.hostAliases[0]?.ips.join() !== named.join();
          assert.equal(isChanged, isDue);
          assert.equal(decision.waitsUntil === undefined, isDue || named.every((ip) => serving.includes(ip)));
          for (const { address } of decision.gone) assert.ok(!serving.includes(address));
          // At the time that was announced, the address changes if nothing else does.
          if (decision.waitsUntil) {
            const later = (decision.waitsUntil.getTime() - START.getTime()) / MINUTE;
            const then = decide({ existing, desired, serving, gone: decision.gone, minutes: later });
            assert.equal(then.peer, desired);
          }
          existing = decision.peer;
          gone = decision.gone;
          for (const ip of goneSince.keys()) {
            // Records of addresses that are not named are deleted after an hour.
            if (!gone.some(({ address }) => address === ip)) goneSince.delete(ip);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test("the records do not grow", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(200), { maxLength: 60 }), (nodes) => {
        let existing = at(A);
        let gone: GoneAddress[] = [];
        for (const [i, node] of nodes.entries()) {
          const serving = [`10.1.0.${node}`];
          const decision = decide({ existing, desired: at(...serving), serving, gone, minutes: i * 10 });
          existing = decision.peer;
          gone = decision.gone;
          assert.ok(gone.length <= 8, String(gone.length));
        }
      }),
    );
  });
});

test("the nodes that serve are the ready ones, cordoned or not, or those with a pod", () => {
  const nodeOf = (name: string, address: string, more: Partial<NodeInfo> = {}): NodeInfo => ({
    ...{ name, created: "", ready: true, eligible: true, podCidrs: [] },
    addresses: [
      { type: "InternalIP", address },
      { type: "Hostname", address: name },
    ],
    ...more,
  });
  const nodes = [
    nodeOf("n3", C),
    nodeOf("n1", A, { eligible: false }),
    nodeOf("n2", B, { ready: false, eligible: false }),
  ];
  const pod = { spec: { nodeName: "n1", containers: [] } };
  const serviceOf = (policy: string) => ({ spec: { externalTrafficPolicy: policy } });
  const find = (policy: string) =>
    findServingAddresses({ service: () => serviceOf(policy), nodes: () => nodes, pods: () => [pod] });
  assert.deepEqual(find("Cluster"), [A, C]);
  assert.deepEqual(find("Local"), [A]);
});
