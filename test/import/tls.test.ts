import assert from "node:assert/strict";
import { test } from "node:test";
import { plan } from "../../lib/import/plan/plan.ts";
import type { Target } from "../../lib/import/plan/target.ts";
import { chooseTls, type TlsMode } from "../../lib/import/plan/tls.ts";
import type { FindingCode } from "../../lib/peer/finding-codes.ts";
import type { AuthMode, ClusterFacts, Peer } from "../../lib/peer/peer.ts";
import { caOf, clientOf, type Issuer, intermediateOf } from "../support/material.ts";
import { COMMON, configText, OPTIONS, peerOf, secretOf, targetOf } from "../support/targets.ts";

const MODES: TlsMode[] = ["auto", "peer", "common"];

/** What is chosen: the file's material, the target's own, its own with the file's CA; or why none will do. */
type Choice = "peer" | "common" | "common with the file's CA" | FindingCode;

function choose(overrides: Partial<Peer>, target: Target, mode: TlsMode): Choice {
  const candidate = peerOf("c2", 2, overrides);
  const choice = chooseTls(candidate, target, mode);
  if ("findings" in choice) {
    const [one, ...others] = choice.findings;
    assert.deepEqual([others.length, one?.severity, one?.source, one?.key], [0, "error", "c2-secret.json", "c2"]);
    return one?.code as FindingCode;
  }
  const { ca, client, ...rest } = choice.peer;
  const { ca: theirCa, client: theirClient, ...theirs } = candidate.peer;
  assert.deepEqual(rest, theirs, "nothing but the TLS material is chosen");
  if (client === "importer") {
    if (ca === "importer") return "common";
    assert.deepEqual(ca, theirCa);
    return "common with the file's CA";
  }
  assert.deepEqual([ca, client], [theirCa, theirClient]);
  return "peer";
}

const [shared, other] = [caOf("shared"), caOf("other")];

/** A target of 1.18 that shows a certificate of this CA with this name. */
function target(ca: Issuer, cn = "remote", overrides: Partial<Target> = {}): Target {
  const { facts: _, ...rest } = overrides;
  return targetOf("1.18", { common: { ca: ca.cert }, clientCertificate: clientOf(ca, cn).cert, ...rest });
}

/** The files of a target by a CSI volume, and the CA that a ConfigMap adds. */
const fromCsi = (ca?: Issuer): Target["common"] => ({
  ...(ca && { ca: ca.cert }),
  external: { kind: "external", volume: "certs", type: "CSI driver csi.example" },
  listed: true,
});

const pem = (...authorities: Issuer[]) => ({ pem: authorities.map(({ cert }) => cert).join("") });
const facts = (authMode?: AuthMode, more: ClusterFacts = {}): ClusterFacts => ({
  id: 2,
  ...(authMode && { authMode }),
  ...more,
});

test("the target's own certificate is preferred to the file's, and each mode is respected", () => {
  const withKey = (client: Issuer, authMode?: AuthMode, cn = "remote"): Partial<Peer> => ({
    ca: pem(client),
    client: clientOf(client, cn),
    facts: facts(authMode),
  });
  const keyless = (ca?: Issuer, authMode?: AuthMode): Partial<Peer> => ({
    ca: "importer",
    client: "importer",
    facts: facts(authMode, ca && { ca: ca.cert }),
  });
  const unread = { common: {}, clientCertificate: undefined };
  const mounted = (ca?: Issuer) => target(shared, "remote", { common: fromCsi(ca), clientCertificate: undefined });
  const table: [what: string, overrides: Partial<Peer>, target: Target, auto: Choice, peer: Choice, common: Choice][] =
    [
      // While a CA changes, the bundle to verify the peer with has more CAs than the peer accepts.
      [
        "one CA, which the peer no longer accepts",
        { ca: pem(shared, other), client: clientOf(other), facts: facts(undefined, { ca: other.cert }) },
        target(shared, "remote", { common: { ca: pem(shared, other).pem } }),
        "peer",
        "peer",
        "ca-differs",
      ],
      // A file with a key.
      ["own CAs", withKey(other), target(shared), "peer", "peer", "ca-differs"],
      ["one CA, CN remote", withKey(shared), target(shared), "common", "peer", "common"],
      ["one CA, CN remote, legacy", withKey(shared, "legacy"), target(shared), "common", "peer", "common"],
      [
        "one CA, target in authMode cluster, peer legacy",
        withKey(shared, "legacy"),
        target(shared, "remote-own"),
        "peer",
        "peer",
        "user-not-accepted",
      ],
      [
        "one CA, target in authMode cluster, peer migration",
        withKey(shared, "migration"),
        target(shared, "remote-own"),
        "common",
        "peer",
        "common",
      ],
      [
        "one CA, target in authMode cluster, peer not known",
        withKey(shared),
        target(shared, "remote-own"),
        "peer",
        "peer",
        "user-not-accepted",
      ],
      [
        "one CA, target authenticates as somebody else",
        withKey(shared, "cluster"),
        target(shared, "remote-c9"),
        "peer",
        "peer",
        "user-not-accepted",
      ],
      [
        "one CA, target authenticates as admin",
        withKey(shared, "cluster"),
        target(shared, "admin-own"),
        "peer",
        "peer",
        "user-not-accepted",
      ],
      [
        "one CA, target's certificate has no name",
        withKey(shared, "migration"),
        target(shared, ""),
        "peer",
        "peer",
        "user-not-accepted",
      ],
      [
        "the peer's own identity, one CA",
        withKey(shared, "cluster", "remote-c2"),
        target(shared, "remote-own"),
        "common",
        "peer",
        "common",
      ],
      [
        "the peer's own identity, own CAs",
        withKey(other, "cluster", "remote-c2"),
        target(shared, "remote-own"),
        "user-not-accepted",
        "peer",
        "ca-differs",
      ],
      ["no CA in the file", { ...withKey(shared), ca: "system" }, target(shared), "peer", "peer", "ca-differs"],
      [
        "one CA, target's certificate of another",
        withKey(shared),
        target(shared, "remote", { clientCertificate: clientOf(other).cert }),
        "peer",
        "peer",
        "ca-differs",
      ],
      [
        "one CA, target's certificate by an intermediate",
        withKey(shared),
        target(shared, "remote", { clientCertificate: clientOf(intermediateOf("shared")).cert }),
        "common",
        "peer",
        "common",
      ],
      ["one CA, target's not read", withKey(shared), target(shared, "remote", unread), "peer", "peer", "ca-differs"],
      [
        "one CA, target's certificate not read",
        withKey(shared),
        target(shared, "remote", { clientCertificate: undefined }),
        "peer",
        "peer",
        "ca-differs",
      ],
      [
        "one CA, target's certificate is invalid",
        withKey(shared),
        target(shared, "remote", { clientCertificate: "x" }),
        "peer",
        "peer",
        "ca-differs",
      ],
      [
        "target's bundle holds the peer's CA",
        withKey(shared),
        target(shared, "remote", { common: { ca: pem(other, shared).pem } }),
        "common",
        "peer",
        "common",
      ],
      [
        "the peer's bundle holds more than the target's",
        { ...withKey(shared), ca: pem(shared, other) },
        target(shared),
        "peer",
        "peer",
        "ca-differs",
      ],
      [
        "the target's CA file is empty",
        withKey(shared),
        target(shared, "remote", { common: { ca: "" } }),
        "peer",
        "peer",
        "ca-differs",
      ],
      ["nothing mounted (up to 1.13)", withKey(shared), targetOf("1.13"), "peer", "peer", "common-not-mounted"],
      // The mixture: a key, and the CA that each cluster has.
      ["mixture", { ...withKey(shared), ca: "importer" }, target(shared), "peer", "peer", "ca-differs"],
      [
        "mixture, its CA known",
        { ...withKey(shared), ca: "importer", facts: facts(undefined, { ca: shared.cert }) },
        target(shared),
        "common",
        "peer",
        "common",
      ],
      [
        "mixture, nothing mounted",
        { ...withKey(shared), ca: "importer" },
        targetOf("1.13"),
        "common-not-mounted",
        "common-not-mounted",
        "common-not-mounted",
      ],
      // A file without a key.
      ["keyless, CA unknown", keyless(), target(shared), "common", "peer-without-key", "common"],
      [
        "keyless, CA unknown, target's not read",
        keyless(),
        target(shared, "remote", unread),
        "common",
        "peer-without-key",
        "common",
      ],
      [
        "keyless, nothing mounted",
        keyless(shared),
        targetOf("1.13"),
        "common-not-mounted",
        "peer-without-key",
        "common-not-mounted",
      ],
      [
        "keyless, one CA, CN remote",
        keyless(shared, "cluster"),
        target(shared),
        "common",
        "peer-without-key",
        "common",
      ],
      [
        "keyless, one CA, authMode cluster both",
        keyless(shared, "cluster"),
        target(shared, "remote-own"),
        "common",
        "peer-without-key",
        "common",
      ],
      [
        "keyless, one CA, authMode unknown",
        keyless(shared),
        target(shared, "remote-own"),
        "common",
        "peer-without-key",
        "common",
      ],
      [
        "keyless, one CA, target in authMode cluster, peer legacy",
        keyless(shared, "legacy"),
        target(shared, "remote-own"),
        "user-not-accepted",
        "peer-without-key",
        "user-not-accepted",
      ],
      ["keyless, own CAs", keyless(other, "cluster"), target(shared), "ca-differs", "peer-without-key", "ca-differs"],
      [
        "keyless, one CA, target's certificate of another",
        keyless(shared, "cluster"),
        target(shared, "remote", { clientCertificate: clientOf(other).cert }),
        "ca-differs",
        "peer-without-key",
        "ca-differs",
      ],
      [
        "keyless, one CA, target's not read",
        keyless(shared, "cluster"),
        target(shared, "remote", unread),
        "common",
        "peer-without-key",
        "common",
      ],
      // A target whose certificate is in no Secret: it is used unchecked if there is no alternative.
      ["one CA, target's by CSI", withKey(shared), mounted(), "peer", "peer", "common"],
      ["one CA, target's by CSI, its CA known", withKey(shared), mounted(shared), "peer", "peer", "common"],
      ["own CAs, target's by CSI, its CA known", withKey(other), mounted(shared), "peer", "peer", "ca-differs"],
      [
        "the peer's own identity, target's by CSI",
        withKey(other, "cluster", "remote-c2"),
        mounted(),
        "common",
        "peer",
        "common",
      ],
      [
        "the peer's own identity, target's by CSI, its CA known",
        withKey(other, "cluster", "remote-c2"),
        mounted(shared),
        "user-not-accepted",
        "peer",
        "ca-differs",
      ],
      ["keyless, CA unknown, target's by CSI", keyless(), mounted(), "common", "peer-without-key", "common"],
      ["keyless, target's by CSI", keyless(other, "legacy"), mounted(), "common", "peer-without-key", "common"],
      ["keyless, target's by CSI, one CA", keyless(shared), mounted(shared), "common", "peer-without-key", "common"],
      [
        "keyless, target's by CSI, own CAs",
        keyless(other),
        mounted(shared),
        "ca-differs",
        "peer-without-key",
        "ca-differs",
      ],
      [
        "keyless with its own CA",
        { ...keyless(), ca: pem(shared) },
        target(shared),
        "common with the file's CA",
        "peer-without-key",
        "common with the file's CA",
      ],
      [
        "keyless with its own CA, target trusts another",
        { ...keyless(), ca: pem(shared) },
        target(shared, "remote", { common: { ca: other.cert } }),
        "common with the file's CA",
        "peer-without-key",
        "common with the file's CA",
      ],
      [
        "keyless with a CA that did not sign the target's",
        { ...keyless(), ca: pem(other) },
        target(shared),
        "ca-differs",
        "peer-without-key",
        "ca-differs",
      ],
    ];
  for (const [what, overrides, where, ...expected] of table) {
    assert.deepEqual(
      MODES.map((mode) => choose(overrides, where, mode)),
      expected,
      what,
    );
  }
});

test("an existing peer keeps an unreadable certificate unless it is known to fail", () => {
  const withKey = (ca: Issuer) => peerOf("c2", 2, { ca: pem(ca), client: clientOf(ca) });
  const where = (ca?: Issuer) => targetOf("1.20", { common: fromCsi(ca), clientCertificate: undefined });
  const byOwn = (ca: Issuer, target: Target, mode: TlsMode = "auto") => {
    const choice = chooseTls(withKey(ca), target, mode, true);
    return "peer" in choice && choice.peer.client === "importer";
  };
  assert.equal(byOwn(shared, where()), true);
  assert.equal(byOwn(shared, where(shared)), true);
  assert.equal(byOwn(other, where(shared)), false);
  assert.equal(byOwn(shared, where(), "peer"), false);
  // What can be read is judged as ever.
  assert.equal(byOwn(other, target(shared)), false);
  const existing = secretOf({ c2: configText("https://c2.mesh.cilium.io:1", COMMON) });
  const planned = plan({ ...where(), agentsSecret: existing }, [withKey(shared)], OPTIONS);
  assert.deepEqual([...planned.outcomes], [["c2", "changed"]]);
  const [change] = planned.changes;
  assert.ok(change?.verb === "merge-patch");
  assert.deepEqual(Object.keys(change.patch.data ?? {}), ["c2"], "no key is added");
});

test("a peer with the common certificate has no private key", () => {
  const choice = chooseTls(peerOf("c2", 2, { ca: pem(shared), client: clientOf(shared) }), target(shared), "auto");
  assert.doesNotMatch(JSON.stringify(choice), /PRIVATE KEY/);
});

test("a finding explains why the target's own certificate cannot be used, with a remedy", () => {
  const explain = (overrides: Partial<Peer>, where: Target, mode: TlsMode) => {
    const choice = chooseTls(peerOf("c2", 2, overrides), where, mode);
    return "findings" in choice ? `${choice.findings[0]?.message}; ${choice.findings[0]?.remedy}` : "";
  };
  const identity = { ca: pem(other), client: clientOf(other, "remote-c2") };
  assert.match(explain(identity, target(shared), "auto"), /that of c2 itself \(CN remote-c2\).*one CA/);
  assert.match(
    explain({ ca: pem(shared), facts: facts("legacy") }, target(shared, "remote-own"), "common"),
    /authenticates as remote-own.*authMode legacy.*migration/,
  );
  assert.match(explain({ ca: pem(other) }, target(shared), "common"), /CA of c2 differs from the CA of the target/);
  assert.match(explain({}, targetOf("1.13"), "common"), /requires Cilium 1\.14/);
});

test("unverifiable properties of the target's own certificate are one warning per target", () => {
  const candidates = [3, 2].map((id) =>
    peerOf(`c${id}`, id, { ca: "importer", client: "importer", facts: { name: `c${id}`, id, authMode: "migration" } }),
  );
  const planned = (where: Target, peers = candidates) => {
    const { findings, outcomes } = plan(where, peers, OPTIONS);
    assert.deepEqual(
      [...outcomes.values()],
      peers.map(() => "added"),
    );
    return findings.map(({ code, severity, source, key, message, remedy }) => ({
      what: [code, severity, source, key],
      text: `${message}; ${remedy}`,
    }));
  };
  const csi = (overrides: Partial<Target["common"]> = {}) => ({
    common: { ...fromCsi(), ...overrides },
    clientCertificate: undefined,
  });
  const [one, ...others] = planned(targetOf("1.20", { kvstoreMesh: true, ...csi() }));
  assert.deepEqual([one?.what, others], [["common-unverified", "warning", "own", undefined], []]);
  assert.match(
    one?.text ?? "",
    /volume "certs" \(CSI driver csi\.example\) and cannot be read; not checked: whether peers accept it/,
  );
  assert.match(
    one?.text ?? "",
    /kubectl --context own --namespace kube-system exec deploy\/clustermesh-apiserver -c kvstoremesh -- /,
  );
  const [agents] = planned(targetOf("1.18", csi({ listed: false })));
  assert.match(agents?.text ?? "", /whether the volume contains common-etcd-client-ca\.crt, common-etcd-client\.crt/);
  assert.match(agents?.text ?? "", /exec ds\/cilium -c cilium-agent -- /);
  // With the file's key nothing of the target's own is used.
  assert.deepEqual(planned(targetOf("1.20", csi()), [peerOf("c2")]), []);

  // A target whose certificate is known, and files without CA facts: of extract-secret, and of a chart.
  assert.deepEqual(
    planned(target(shared)).map(({ what }) => what),
    [
      ["common-unverified", "warning", "c3-secret.json", "c3"],
      ["common-unverified", "warning", "c2-secret.json", "c2"],
    ],
  );
  const peerWithCa = (ca: string | undefined, name?: string) =>
    peerOf("c2", 2, { ca: "importer", client: "importer", facts: { id: 2, ...(name && { name }), ...(ca && { ca }) } });
  assert.deepEqual(planned(target(shared), [peerWithCa(shared.cert, "c2")]), []);
  assert.deepEqual(planned(target(shared), [peerWithCa(undefined)]), []);
});
