/** A running `sync` with a bit of everything. */
import type { ProcessFacts } from "../../lib/render/sync-metrics.ts";
import type { SyncSnapshot } from "../../lib/sync/snapshot.ts";
import { emptyState } from "../../lib/sync/state.ts";

export const PROCESS_FACTS: ProcessFacts = {
  version: "1.2.3",
  residentBytes: 104_857_600,
  cpuSeconds: 12.5,
  started: new Date("2030-01-01T00:00:00Z"),
};

/** Returns the snapshot of a leader at 2030-01-01T01:00:00Z, with a member that is away, one that has left, and a second way to c1. */
export function syncSnapshot(): SyncSnapshot {
  const certificate = { cluster: "c1", subject: "CN=x" };
  return {
    state: {
      ...emptyState("--all-contexts"),
      members: [
        { entry: "admin@c1", cluster: "c1", id: 1, uid: "u1", lastContact: "2030-01-01T00:58:00Z" },
        { entry: "c2", cluster: "c2", id: 2, lastContact: "2030-01-01T00:10:00Z", error: "connection refused" },
        { entry: "again", cluster: "c1", id: 1, uid: "u1" },
        { entry: "c9", cluster: "c9", id: 9, absentSince: "2029-12-31T00:00:00Z", keptBecause: "the list is empty" },
      ],
      held: [
        { target: "c1", peer: "c2", reason: "check", since: "2030-01-01T00:20:00Z", message: "the CA is stale" },
        { target: "c1", peer: "c3", reason: "check", since: "2029-12-31T00:00:00Z", message: "the CA is stale" },
        { target: "c2", reason: "duplicate", since: "2030-01-01T00:30:00Z", message: "id 2 is used twice" },
      ],
      counters: { reconciliations: 40, writes: { c1: 3, c9: 1 }, errors: { c2: 7 } },
    },
    findings: [
      { target: "c1", code: "ca-stale" },
      { target: "c1", code: "ca-stale" },
      { target: "c2", code: "pod-not-ready" },
      { target: "c9", code: "ca-stale" },
    ],
    certificates: [
      { ...certificate, use: "client", expires: new Date("2030-02-01T00:00:00Z") },
      { ...certificate, use: "ca", expires: new Date("2031-01-01T00:00:00Z") },
      { ...certificate, use: "ca", expires: new Date("2035-01-01T00:00:00Z") },
      { ...certificate, peer: "c2", use: "client", expires: new Date("2030-03-01T00:00:00Z") },
      { ...certificate, cluster: "c9", use: "client", expires: new Date("2030-03-01T00:00:00Z") },
    ],
    versions: new Map([["admin@c1", "1.20.2"]]),
    watchRestarts: { c2: 5, c9: 4 },
    interval: 600_000,
    isLeading: true,
    isReady: true,
    lastProgress: new Date("2030-01-01T00:59:00Z"),
  };
}
