/** The meshes in which every pair of values that Cilium allows occurs, each judged by Cilium's own programs. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { type MeshSpec, startMesh } from "../support/mesh.ts";
import { withoutRealServers } from "../support/real.ts";

type Factors = Omit<MeshSpec, "clusters">;

const VALUES: { [K in keyof Factors]: readonly Factors[K][] } = {
  version: ["1.20", "1.18"],
  kvstoremesh: [true, false],
  ca: ["own", "shared"],
  authMode: ["legacy", "migration", "cluster"],
  service: ["NodePort", "LoadBalancer"],
  deadAddress: [false, true],
  key: ["rsa", "ec"],
};

/** Pairs that no mesh can have, and why. */
const IMPOSSIBLE: [Partial<Factors>, string][] = [
  [{ authMode: "cluster", ca: "own" }, "in authMode cluster peers use their own certificate, so they share a CA"],
];

const MESHES: Factors[] = [
  ["1.20", true, "own", "migration", "NodePort", false, "rsa"],
  ["1.20", true, "shared", "cluster", "LoadBalancer", true, "ec"],
  ["1.20", false, "own", "legacy", "LoadBalancer", false, "ec"],
  ["1.20", false, "shared", "migration", "NodePort", true, "rsa"],
  ["1.20", false, "shared", "cluster", "NodePort", false, "rsa"],
  ["1.20", true, "shared", "legacy", "NodePort", true, "ec"],
  ["1.18", true, "own", "legacy", "NodePort", false, "rsa"],
  ["1.18", true, "shared", "cluster", "LoadBalancer", false, "rsa"],
  ["1.18", false, "own", "migration", "LoadBalancer", true, "ec"],
  ["1.18", false, "shared", "legacy", "LoadBalancer", true, "rsa"],
  ["1.18", false, "shared", "cluster", "NodePort", true, "ec"],
  ["1.18", true, "own", "migration", "NodePort", true, "rsa"],
].map(([version, kvstoremesh, ca, authMode, service, deadAddress, key]) => {
  return { version, kvstoremesh, ca, authMode, service, deadAddress, key } as Factors;
});

function nameOf({ version, kvstoremesh, ca, authMode, service, deadAddress, key }: Factors): string {
  const parts = [
    version,
    kvstoremesh ? "KVStoreMesh" : "no KVStoreMesh",
    `${ca} CA`,
    authMode,
    service,
    key === "ec" ? "ECDSA" : "RSA",
    ...(deadAddress ? ["one address dead"] : []),
  ];
  return parts.join(", ");
}

function* pairs(): Generator<Partial<Factors>> {
  const factors = Object.keys(VALUES) as (keyof Factors)[];
  for (const [i, a] of factors.entries()) {
    for (const b of factors.slice(i + 1)) {
      for (const x of VALUES[a]) for (const y of VALUES[b]) yield { [a]: x, [b]: y };
    }
  }
}

const has = (mesh: Factors, pair: Partial<Factors>) =>
  Object.entries(pair).every(([factor, value]) => mesh[factor as keyof Factors] === value);

test("every pair of values that is possible occurs, and no impossible one", () => {
  const impossible = (pair: Partial<Factors>) => IMPOSSIBLE.some(([one]) => has(pair as Factors, one));
  const missing = [...pairs()].filter((pair) => !impossible(pair) && !MESHES.some((mesh) => has(mesh, pair)));
  assert.deepEqual(missing, []);
  for (const [pair, why] of IMPOSSIBLE) assert.ok(!MESHES.some((mesh) => has(mesh, pair)), why);
});

describe("meshes, judged by Cilium's kvstoremesh", { skip: withoutRealServers() }, () => {
  const verdicts: string[] = [];
  after(() => {
    console.log(["", "| mesh | peers ready | agents' entries |", "| --- | --- | --- |", ...verdicts, ""].join("\n"));
  });

  for (const factors of MESHES) {
    test(nameOf(factors), async () => {
      const mesh = await startMesh({ ...factors, clusters: 2 });
      try {
        const files = await mesh.extract();
        const { code, stderr } = await mesh.import(files, ...(factors.version === "1.18" ? ["--restart-agents"] : []));
        assert.equal(code, 0, stderr);
        const { ready, agents } = await mesh.judge();
        const count = (peers: Map<string, string[]>) => [...peers.values()].flat().length;
        verdicts.push(
          `| ${nameOf(factors)} | ${count(ready)} of 2 | ${factors.kvstoremesh ? `${count(agents)} of 2 connect` : "–"} |`,
        );
      } finally {
        await mesh.stop();
      }
    });
  }
});
