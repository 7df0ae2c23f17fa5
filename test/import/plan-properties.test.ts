/** Properties of plans. Most plans are applied here, including plans with errors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Change } from "../../lib/import/plan/change.ts";
import { type PlanOptions, plan } from "../../lib/import/plan/plan.ts";
import { MAX_ANNOTATION_BYTES, MAX_DATA_BYTES } from "../../lib/import/plan/secrets.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { endpointHostnames, isOwnCache } from "../../lib/peer/etcd-config.ts";
import { hasErrors } from "../../lib/peer/findings.ts";
import { isNodeLocal } from "../../lib/peer/node-local.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, versionAtLeast } from "../../lib/peer/peer.ts";
import { readEntries } from "../../lib/peer/secret.ts";
import { applyPlan } from "../support/apply-plan.ts";
import { nodeLocalUrl, keys as standingKey } from "../support/arbitraries.ts";
import {
  anyOptions,
  anyPeers,
  anyTarget,
  contentOf,
  entriesOf,
  filesOf,
  NAMES,
  remoteSecretOf,
  usersOf,
} from "../support/plans.ts";
import { configText, OPTIONS, secretOf, targetOf, VERSIONS } from "../support/targets.ts";

const PEERS = "clustermesh-secrets/peers";
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";
const brief = (change: Change) => `${change.verb} ${change.kind} ${change.name}`;

test("a second import changes nothing, for any existing content", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyOptions, (target, peers, options) => {
      const first = plan(target, peers, options);
      const after = applyPlan(target, first);
      const again = plan(after, peers, options);
      assert.deepEqual(again.changes.map(brief), []);
      assert.deepEqual([again.granted, again.cleaned], [[], []]);
      // A peer that was moved to a node-local endpoint is not reported again.
      const imported = new Set(peers.map(({ peer }) => peer.name));
      const settled = new Set(nodeLocalIn(after.agentsSecret).filter((name) => !imported.has(name)));
      const stay = [...first.outcomes].filter(([name, outcome]) => outcome !== "dropped" && !settled.has(name));
      assert.deepEqual(
        [...again.outcomes],
        stay.map(([name, outcome]) => [name, outcome === "held" ? "held" : "unchanged"]),
      );
    }),
    { numRuns: 80 },
  );
});

test("importing one file and then another equals importing both", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyOptions, fc.nat(), (target, peers, any, at) => {
      const options = { ...any, prune: false, migrate: false };
      const cut = at % (peers.length + 1);
      const one = applyPlan(target, plan(target, peers.slice(0, cut), options));
      const second = applyPlan(one, plan(one, peers.slice(cut), options));
      const both = applyPlan(target, plan(target, peers, options));
      assert.deepEqual(contentOf(second), contentOf(both));
    }),
    { numRuns: 80 },
  );
});

test("no plan changes foreign data, for any existing content", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyOptions, (target, peers, any) => {
      const options = { ...any, prune: false, migrate: false };
      const names = new Set(peers.map(({ peer }) => peer.name));
      const after = applyPlan(target, plan(target, peers, options));
      for (const [before, now] of [
        [target.agentsSecret, after.agentsSecret],
        [target.kvstoremeshSecret, after.kvstoremeshSecret],
      ]) {
        const named = (keep: (name: string) => boolean) =>
          new Set(
            readEntries({ files: filesOf(before) }, {}, "")
              .filter(({ name }) => keep(name))
              .flatMap(({ name, keys }) => [name, keys.ca, keys.cert, keys.key]),
          );
        const [theirs, others] = [named((name) => names.has(name)), named((name) => !names.has(name))];
        for (const [key, value] of Object.entries(before?.data ?? {})) {
          if (others.has(key) || !theirs.has(key)) assert.equal(now?.data?.[key], value, key);
        }
        for (const [key, value] of Object.entries(before?.metadata?.annotations ?? {})) {
          if (key !== PEERS && key !== LAST_APPLIED) assert.equal(now?.metadata?.annotations?.[key], value, key);
        }
        assert.deepEqual(
          { ...now?.metadata, annotations: 0, resourceVersion: 0 },
          { ...(before ?? now)?.metadata, annotations: 0, resourceVersion: 0 },
        );
      }
      for (const user of usersOf(target)) assert.ok(usersOf(after).includes(user), user);
      for (const user of usersOf(after))
        assert.ok(usersOf(target).includes(user) || /^remote-(c\d|own): remote$/.test(user), user);
      assert.deepEqual(
        { ...after, agentsSecret: 0, kvstoremeshSecret: 0, users: 0, resolvers: 0, aliases: 0 },
        { ...target, agentsSecret: 0, kvstoremeshSecret: 0, users: 0, resolvers: 0, aliases: 0 },
      );
    }),
    { numRuns: 80 },
  );
});

/** The peers that a target reaches, judged by its objects: config and files exist, and names resolve. */
function working(target: Target): Set<string> {
  const late = versionAtLeast(target.facts.version, "1.20") === true;
  const [{ hostAliases = [] } = {}] = target.resolvers;
  const resolved = new Set(hostAliases.flatMap(({ hostnames }) => hostnames ?? []));
  const reached = entriesOf(remoteSecretOf(target)).filter(({ peer }) => {
    const own = new Set(late ? peer?.hostAliases.map(({ hostname }) => hostname) : []);
    return (
      peer &&
      endpointHostnames(peer.endpoints).every(
        (name) => !name.endsWith(".mesh.cilium.io") || own.has(name) || resolved.has(name),
      )
    );
  });
  const agents = new Map(entriesOf(target.agentsSecret).map(({ name, peer }) => [name, peer]));
  return new Set(reached.map(({ name }) => name).filter((name) => agents.get(name) !== undefined));
}

test("after every change, existing connections work and no config is missing", () => {
  let replaced = 0;
  fc.assert(
    fc.property(anyTarget, anyPeers, anyPeers, (empty, before, peers) => {
      const options: PlanOptions = { ...OPTIONS, restarts: "all" };
      const target = applyPlan(empty, plan(empty, before, options));
      const planned = plan(target, peers, options);
      if (hasErrors(planned.findings)) return;
      const worked = working(target);
      if ([...planned.outcomes].some(([name, outcome]) => ["changed", "moved"].includes(outcome) && worked.has(name)))
        replaced++;
      const read = ({ agentsSecret, kvstoremeshSecret, facts }: Target) =>
        facts.kvstoreMesh ? [agentsSecret, kvstoremeshSecret] : [agentsSecret];
      const keys = read(target).map((secret) => entriesOf(secret).map(({ name }) => name));
      for (let count = 1; count <= planned.changes.length; count++) {
        const then = applyPlan(target, planned, count);
        const now = working(then);
        for (const name of worked)
          assert.ok(now.has(name), `${name} after ${brief(planned.changes[count - 1] as Change)}`);
        for (const [i, secret] of read(then).entries()) {
          for (const name of keys[i] ?? []) assert.ok(secret?.data?.[name] !== undefined, name);
        }
      }
      // And in the end the peers imported do.
      const end = working(applyPlan(target, planned));
      const imported = [...planned.outcomes.keys()].filter((name) => !planned.kept.includes(name));
      for (const name of imported) assert.ok(end.has(name), name);
    }),
    { numRuns: 400 },
  );
  assert.ok(replaced > 10, `only ${replaced} plans replaced a peer that worked`);
});

test("a plan that exceeds the limits of a Secret has a finding", () => {
  const filler = fc.tuple(
    fc.constantFrom(MAX_DATA_BYTES, MAX_DATA_BYTES - 3_000, 100),
    fc.constantFrom(MAX_ANNOTATION_BYTES, MAX_ANNOTATION_BYTES - 90, 100),
    fc.nat(60),
  );
  fc.assert(
    fc.property(filler, fc.boolean(), anyPeers, anyOptions, ([data, noted, less], kvstoreMesh, peers, options) => {
      const full = (name: typeof AGENTS_SECRET | typeof KVSTOREMESH_SECRET) =>
        secretOf({ filler: Buffer.alloc(data - less) }, { filler: "x".repeat(noted - "filler".length - less) }, name);
      const target = targetOf("1.20", {
        kvstoreMesh,
        agentsSecret: full(AGENTS_SECRET),
        kvstoremeshSecret: full(KVSTOREMESH_SECRET),
      });
      const planned = plan(target, peers, options);
      const after = applyPlan(target, planned);
      const over = [after.agentsSecret, after.kvstoremeshSecret].some((secret) => {
        const bytes = [...filesOf(secret).values()].reduce((sum, { length }) => sum + length, 0);
        const annotations = Object.entries(secret?.metadata?.annotations ?? {}).reduce(
          (sum, [key, value]) => sum + Buffer.byteLength(key + value),
          0,
        );
        return bytes > MAX_DATA_BYTES || annotations > MAX_ANNOTATION_BYTES;
      });
      assert.equal(
        planned.findings.some(({ code }) => code === "secret-too-large"),
        over,
      );
    }),
    { numRuns: 60 },
  );
});

/** A target that has been imported into, and then been upgraded, or had its KVStoreMesh switched. */
const upgraded: fc.Arbitrary<Target> = fc
  .record({
    target: anyTarget,
    peers: anyPeers,
    version: fc.constantFrom(...VERSIONS),
    kvstoreMesh: fc.boolean(),
  })
  .map(({ target, peers, version, kvstoreMesh }) => {
    const before = { ...target, agentsSecret: undefined, kvstoremeshSecret: undefined };
    const { agentsSecret, kvstoremeshSecret, users } = applyPlan(
      before,
      plan(before, peers, { ...OPTIONS, restarts: "all" }),
    );
    const now = targetOf(version, { kvstoreMesh: kvstoreMesh && versionAtLeast(version, "1.14") === true });
    return { ...now, agentsSecret, kvstoremeshSecret, users, aliases: target.aliases };
  });

/** The peers whose data agents hold: by themselves, or through the copy that a kvstoremesh container fetches. */
function held({ facts, agentsSecret, kvstoremeshSecret }: Target): Set<string> {
  const fetched = new Set(entriesOf(kvstoremeshSecret).flatMap(({ name, peer }) => (peer ? [name] : [])));
  const entries = entriesOf(agentsSecret).filter(
    ({ name, config, peer }) =>
      peer && (!isOwnCache(config?.endpoints ?? []) || (facts.kvstoreMesh === true && fetched.has(name))),
  );
  return new Set(entries.map(({ name }) => name));
}

/** The node-local peers of a Secret. */
function nodeLocalIn(secret: Target["agentsSecret"]): string[] {
  return entriesOf(secret).flatMap(({ name, config }) => (isNodeLocal(config?.endpoints ?? []) ? [name] : []));
}

/** The keys of a peer in a Secret: its config and the files that the config names, unless these are peers themselves. */
function keysOf(secret: Target["agentsSecret"], name: string): string[] {
  const entries = entriesOf(secret);
  const { config } = entries.find((entry) => entry.name === name) ?? {};
  const files = [config?.trustedCaFile, config?.certFile, config?.keyFile].map((path) => path?.split("/").at(-1) ?? "");
  return [name, ...files.filter((key) => !entries.some((one) => one.name === key))];
}

/** A target with one more peer, node-local, with its own files or those of others. */
const withNodeLocal = fc
  .tuple(fc.oneof(anyTarget, upgraded), standingKey(NAMES), nodeLocalUrl, fc.boolean())
  .map(([target, key, url, plain]): Target => {
    const path = `${plain ? "" : "../clustermesh/..data/"}${key}`;
    const config = configText(url, [undefined, "submariner cert", path], "dial-timeout: 5s\n");
    const files = { ...Object.fromEntries(filesOf(target.agentsSecret)), submariner: config, "submariner cert": "x" };
    return { ...target, agentsSecret: secretOf(files, target.agentsSecret?.metadata?.annotations ?? {}) };
  });

test("no plan changes a foreign node-local peer", () => {
  let untouched = 0;
  const dropped = fc.subarray([...NAMES, "other"]);
  fc.assert(
    fc.property(withNodeLocal, anyPeers, anyOptions, dropped, (target, peers, any, drop) => {
      const stay = nodeLocalIn(target.agentsSecret).filter((name) => !drop.includes(name));
      const planned = plan(target, peers, { ...any, remove: new Set(drop) });
      const imported = new Set(peers.map(({ peer }) => peer.name));
      for (const name of stay) {
        const keys = keysOf(target.agentsSecret, name);
        const bytes = ({ agentsSecret }: Target) => keys.map((key) => agentsSecret?.data?.[key]);
        const fetched = target.kvstoremeshSecret?.data?.[name];
        for (let count = 1; count <= planned.changes.length; count++) {
          const then = applyPlan(target, planned, count);
          const after = brief(planned.changes[count - 1] as Change);
          assert.deepEqual(bytes(then), bytes(target), `${name} after ${after}`);
          const copies = entriesOf(then.kvstoremeshSecret).map((entry) => entry.name);
          const copy = copies.includes(name) ? then.kvstoremeshSecret?.data?.[name] : fetched;
          assert.equal(copy, fetched, `${name} is given to kvstoremesh by ${after}`);
        }
        if (!imported.has(name)) assert.ok(!planned.granted.includes(`remote-${name}`), `${name} is granted a user`);
        assert.deepEqual(
          planned.findings.filter(({ source, key }) => source === target.source && key === name),
          [],
        );
        if (planned.changes.length > 0) untouched++;
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(untouched > 100, `only ${untouched} peers stayed while something else was written`);
});

test("pruning leaves exactly the imported and the node-local peers", () => {
  let pruned = 0;
  fc.assert(
    fc.property(fc.oneof(anyTarget, upgraded), anyPeers, anyOptions, (target, peers, any) => {
      const planned = plan(target, peers, { ...any, prune: true });
      const held = [...planned.outcomes.values()].includes("held");
      if (hasErrors(planned.findings) || held) return;
      const after = applyPlan(target, planned);
      const { kept } = planned;
      const initial = [target.agentsSecret, target.kvstoremeshSecret].flatMap(nodeLocalIn);
      for (const name of kept) assert.ok(initial.includes(name), `${name} is kept`);
      const others = (secret: Target["agentsSecret"]) =>
        entriesOf(secret).flatMap(({ name }) => (kept.includes(name) ? [] : [name]));
      const names = peers.map(({ peer }) => peer.name).filter((name) => !kept.includes(name));
      assert.deepEqual(others(remoteSecretOf(after)), names.sort());
      assert.deepEqual(others(after.agentsSecret), names.sort());
      for (const name of others(after.kvstoremeshSecret)) assert.ok(names.includes(name), `${name} stays`);
      if ([...planned.outcomes.values()].includes("dropped")) pruned++;
    }),
    { numRuns: 300 },
  );
  assert.ok(pruned > 10, `only ${pruned} plans dropped a peer`);
});

test("pruning revokes only users that we granted", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyPeers, (empty, before, peers) => {
      const options = { ...OPTIONS, restarts: "all" } as const;
      const target = applyPlan(empty, plan(empty, before, options));
      const planned = plan(target, peers, { ...options, prune: true });
      const after = applyPlan(target, planned);
      const initial = usersOf(empty);
      for (const user of initial) assert.ok(usersOf(after).includes(user), `${user} stays`);
      const wanted = new Set(
        [...peers.map(({ peer }) => peer.name), ...planned.kept].map((name) => `remote-${name}: remote`),
      );
      for (const user of usersOf(after)) {
        assert.ok(initial.includes(user) || wanted.has(user) || user === "remote-own: remote", `${user} is not wanted`);
      }
    }),
    { numRuns: 80 },
  );
});

test("a second migration changes nothing, and every working peer is in the Secret that is read", () => {
  let moved = 0;
  fc.assert(
    fc.property(fc.oneof(anyTarget, upgraded), anyOptions, (target, any) => {
      const options: PlanOptions = { ...any, prune: false, migrate: true, restarts: "all", tls: "auto" };
      const planned = plan(target, [], options);
      assert.deepEqual(hasErrors(planned.findings), false);
      const after = applyPlan(target, planned);
      const again = plan(after, [], options);
      assert.deepEqual(again.changes.map(brief), []);
      const initial = nodeLocalIn(target.agentsSecret);
      for (const [name, outcome] of planned.outcomes) {
        assert.ok(held(after).has(name) || initial.includes(name), `${name} is ${outcome}, and not held`);
        if (outcome === "moved") moved++;
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(moved > 10, `only ${moved} peers moved`);
});

/** What a target means, without the aliases of names that no config uses any more: these stay in workloads. */
function inUse(target: Target): ReturnType<typeof contentOf> {
  const used = new Set(
    entriesOf(remoteSecretOf(target)).flatMap(({ peer }) => endpointHostnames(peer?.endpoints ?? [])),
  );
  const content = contentOf(target);
  return { ...content, aliases: content.aliases.filter((pair) => used.has(pair.split(" ")[0] ?? "")) };
}

test("migrating and then importing equals importing and then migrating", () => {
  fc.assert(
    fc.property(fc.oneof(anyTarget, upgraded), anyPeers, anyOptions, (target, peers, any) => {
      const options: PlanOptions = { ...any, prune: false, migrate: false, restarts: "all" };
      const migrated = (one: Target) => applyPlan(one, plan(one, [], { ...options, tls: "auto", migrate: true }));
      const imported = (one: Target) => applyPlan(one, plan(one, peers, options));
      assert.deepEqual(inUse(imported(migrated(target))), inUse(migrated(imported(target))));
    }),
    { numRuns: 150 },
  );
});

test("no plan removes a key before its replacement is written", () => {
  let checked = 0;
  fc.assert(
    fc.property(fc.oneof(anyTarget, upgraded), anyPeers, anyOptions, (target, peers, options) => {
      const planned = plan(target, peers, options);
      const dropped = [...planned.outcomes].flatMap(([name, outcome]) => (outcome === "dropped" ? [name] : []));
      const knew = [...held(target)].filter((name) => !dropped.includes(name));
      const namesIn = (secret: Target["agentsSecret"]) => entriesOf(secret).map(({ name }) => name);
      const initial = namesIn(target.agentsSecret);
      for (let count = 1; count <= planned.changes.length; count++) {
        const then = applyPlan(target, planned, count);
        const after = brief(planned.changes[count - 1] as Change);
        for (const name of knew) assert.ok(held(then).has(name), `${name} after ${after}`);
        for (const name of initial.filter((one) => !dropped.includes(one))) {
          assert.ok(then.agentsSecret?.data?.[name] !== undefined, `${name} after ${after}`);
          checked++;
        }
        // A peer is removed from the agents' config before its copy.
        const fetched = namesIn(then.kvstoremeshSecret);
        const known = namesIn(then.agentsSecret);
        for (const name of dropped.filter((one) => namesIn(target.kvstoremeshSecret).includes(one))) {
          assert.ok(fetched.includes(name) || !known.includes(name), `${name} is fetched no more after ${after}`);
        }
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(checked > 50, `only ${checked} keys were looked at`);
});

/** A target before 1.20 whose agents reach peers by themselves, and whose KVStoreMesh was turned on then. */
const turnedOn = fc
  .tuple(anyTarget, anyPeers, fc.constantFrom("1.15", "1.16", "1.18", "1.19"))
  .map(([{ agentsSecret }, peers, version]) => {
    const before = targetOf("1.15", { agentsSecret });
    const then = applyPlan(before, plan(before, peers, { ...OPTIONS, restarts: "all" }));
    return targetOf(version, { kvstoreMesh: true, agentsSecret: then.agentsSecret });
  });

test("agents read a copy only if the workload that fetches it resolves the host names", () => {
  let led = 0;
  fc.assert(
    fc.property(turnedOn, anyPeers, anyOptions, (target, peers, options) => {
      const planned = plan(target, peers, { ...options, prune: false });
      if (hasErrors(planned.findings)) return;
      const after = applyPlan(target, planned);
      const direct = (one: Target) =>
        entriesOf(one.agentsSecret)
          .filter(({ config }) => config && !isOwnCache(config.endpoints))
          .map(({ name }) => name);
      const resolved = new Set(
        after.resolvers.flatMap(({ hostAliases }) => hostAliases ?? []).flatMap((one) => one.hostnames ?? []),
      );
      const stays = direct(after);
      for (const name of direct(target).filter((one) => !stays.includes(one))) {
        const { config } = entriesOf(after.kvstoremeshSecret).find((entry) => entry.name === name) ?? {};
        const used = endpointHostnames(config?.endpoints ?? []);
        for (const { hostname } of config?.hostAliases ?? []) {
          if (used.includes(hostname)) assert.ok(resolved.has(hostname), `${name}: ${hostname}`);
        }
        led++;
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(led > 10, `only ${led} peers were led to a copy`);
});

test("pruning and migrating keep files that no config references", () => {
  fc.assert(
    fc.property(anyTarget, anyPeers, anyOptions, (target, peers, options) => {
      const after = applyPlan(target, plan(target, peers, options));
      for (const [before, now] of [
        [target.agentsSecret, after.agentsSecret],
        [target.kvstoremeshSecret, after.kvstoremeshSecret],
      ]) {
        const named = new Set(
          readEntries({ files: filesOf(before) }, {}, "").flatMap(({ name, keys }) => [
            name,
            keys.ca,
            keys.cert,
            keys.key,
          ]),
        );
        for (const [key, value] of Object.entries(before?.data ?? {})) {
          if (!named.has(key)) assert.equal(now?.data?.[key], value, key);
        }
      }
    }),
    { numRuns: 100 },
  );
});
