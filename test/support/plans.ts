/** Arbitraries of targets, peers and options for property tests of plans, and readers of planned targets. */
import fc from "fast-check";
import { parse } from "yaml";
import type { PlanOptions } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import type { Form } from "../../lib/manifests/render.ts";
import { readPeerRecords } from "../../lib/peer/annotations.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET, type Peer, versionAtLeast } from "../../lib/peer/peer.ts";
import { decodeFiles, readEntries } from "../../lib/peer/secret.ts";
import { aliasesOf } from "./apply-plan.ts";
import { peer as anyPeer, existingSecret } from "./arbitraries.ts";
import { OPTIONS, targetOf, VERSIONS } from "./targets.ts";

/** Returns a ConfigMap `clustermesh-remote-users`. */
export const usersConfigMap = (content: string | undefined) => ({
  metadata: { name: "clustermesh-remote-users", resourceVersion: "9" },
  ...(content !== undefined && { data: { "users.yaml": content } }),
});

export const NAMES = ["c2", "c3", "c4"];
const anyWorkload = fc.record(
  {
    kind: fc.constantFrom("Deployment" as const, "DaemonSet" as const),
    hostAliases: fc.option(
      fc.uniqueArray(
        fc.record(
          {
            ip: fc.constantFrom("10.0.0.1", "10.0.0.2", "fd00::1"),
            hostnames: fc.subarray(["a.b", "c2.mesh.cilium.io", "c3.mesh.cilium.io"], { minLength: 1 }),
          },
          { noNullPrototype: true },
        ),
        { selector: ({ ip }) => ip, maxLength: 3 },
      ),
      { nil: undefined },
    ),
  },
  { noNullPrototype: true },
);
export const anyTarget: fc.Arbitrary<Target> = fc
  .record({
    version: fc.constantFrom(...VERSIONS),
    kvstoreMesh: fc.boolean(),
    agentsSecret: existingSecret(NAMES, AGENTS_SECRET),
    kvstoremeshSecret: existingSecret(NAMES, KVSTOREMESH_SECRET),
    users: fc.option(
      fc
        .constantFrom(
          "users:\n- name: remote-own\n  role: remote\n",
          "# x\nusers: []\n",
          "users: [{name: remote-c3, role: x}]\n",
        )
        .map(usersConfigMap),
      { nil: undefined },
    ),
    workload: anyWorkload,
  })
  .map(({ version, kvstoreMesh, workload, ...existing }) =>
    targetOf(version, {
      kvstoreMesh: kvstoreMesh && versionAtLeast(version, "1.14") === true,
      ...existing,
      resolvers: [{ name: "w", object: {}, ...workload }],
      aliases: aliasesOf([workload]),
    }),
  );
/** Peers with distinct names; half of them have their mesh hostname as endpoint, with or without host aliases. */
export const anyPeers: fc.Arbitrary<SourcedPeer[]> = fc
  .tuple(fc.subarray(NAMES, { minLength: 1 }), fc.array(fc.tuple(anyPeer, fc.nat(3)), { minLength: 3, maxLength: 3 }))
  .map(([names, generated]) =>
    names.map((name, i) => {
      const [one, form] = generated[i] as [Peer, number];
      const hostname = `${name}.mesh.cilium.io`;
      const config =
        form > 1
          ? {}
          : {
              endpoints: [`https://${hostname}:2379`],
              hostAliases: form === 1 ? [{ hostname, ips: [`10.1.0.${i}`] }] : [],
            };
      const facts = [{}, { name, id: i + 2 }, { name }, { ...one.facts, name }][form] ?? {};
      return { peer: { ...one, name, ...config, facts }, source: `${name}.json` };
    }),
  );
export const anyForm = fc.constantFrom<Form>("manifests", "kustomize", "helm-values");
export const anyOptions: fc.Arbitrary<PlanOptions> = fc
  .record({
    tls: fc.constantFrom("auto", "peer", "common"),
    users: fc.boolean(),
    restarts: fc.constantFrom("none", "deployments", "all"),
    // Mutually exclusive flags.
    mode: fc.constantFrom("merge", "prune", "migrate"),
  })
  .map(({ mode, ...options }) => ({
    ...options,
    prune: mode === "prune",
    migrate: mode === "migrate",
    now: OPTIONS.now,
  }));
/** Returns the etcd users of a target, as `name: role`. */
export const usersOf = (target: Target) =>
  (
    (parse(target.users?.data?.["users.yaml"] ?? "users: []") as { users: { name: string; role: string }[] }).users ??
    []
  ).map(({ name, role }) => `${name}: ${role}`);
/** Returns the annotation with the peers of a Secret. */
export const recordsOf = (secret: Target["agentsSecret"]) =>
  secret?.metadata?.annotations?.["clustermesh-secrets/peers"];

export const filesOf = (secret: Target["agentsSecret"]) => decodeFiles(secret ?? {}, { source: "t" }).files;
export const entriesOf = (secret: Target["agentsSecret"]) => readEntries({ files: filesOf(secret) }, {}, "t");
/** Returns the Secret with the configs of remote clusters. */
export const remoteSecretOf = (target: Target) =>
  target.facts.kvstoreMesh ? target.kvstoremeshSecret : target.agentsSecret;

/** Returns the content of a target, independent of its encoding. */
export function contentOf(target: Target) {
  const pairs = target.resolvers
    .flatMap(({ hostAliases }) => hostAliases ?? [])
    .flatMap(({ ip, hostnames }) => (hostnames ?? []).map((name) => `${name} ${ip}`));
  return {
    agents: entriesOf(target.agentsSecret).map(({ name, peer }) => [name, peer]),
    kvstoremesh: entriesOf(target.kvstoremeshSecret).map(({ name, peer }) => [name, peer]),
    records: [recordsOf(target.agentsSecret), recordsOf(target.kvstoremeshSecret)].map((text) =>
      [...readPeerRecords(text)].sort(),
    ),
    users: usersOf(target).sort(),
    noted: target.users?.metadata?.annotations?.["clustermesh-secrets/users"],
    aliases: pairs.sort(),
  };
}
