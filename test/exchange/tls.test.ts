import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "../../lib/exchange/target.ts";
import { chooseTls, type TlsMode } from "../../lib/exchange/tls.ts";
import type { FindingCode } from "../../lib/peer/findings.ts";
import type { AuthMode, ClusterFacts, Peer } from "../../lib/peer/peer.ts";
import { caOf, clientOf, type Issuer, intermediateOf } from "../support/material.ts";
import { peerOf, targetOf } from "../support/targets.ts";

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

const pem = (...authorities: Issuer[]) => ({ pem: authorities.map(({ cert }) => cert).join("") });
const facts = (authMode?: AuthMode, more: ClusterFacts = {}): ClusterFacts => ({
  id: 2,
  ...(authMode && { authMode }),
  ...more,
});

test("the target's own certificate where it will do, else the file's; and each where it is asked for", () => {
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
  const table: [what: string, overrides: Partial<Peer>, target: Target, auto: Choice, peer: Choice, common: Choice][] =
    [
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
        "one CA, target comes as somebody else",
        withKey(shared, "cluster"),
        target(shared, "remote-c9"),
        "peer",
        "peer",
        "user-not-accepted",
      ],
      [
        "one CA, target comes as admin",
        withKey(shared, "cluster"),
        target(shared, "admin-own"),
        "peer",
        "peer",
        "user-not-accepted",
      ],
      [
        "one CA, target comes without a name",
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
        "one CA, target's certificate is none",
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
      ["keyless, CA not told", keyless(), target(shared), "common", "peer-without-key", "common"],
      [
        "keyless, CA not told, target's not read",
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
        "keyless, one CA, authMode not told",
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
      [
        "keyless with a CA of its own",
        { ...keyless(), ca: pem(shared) },
        target(shared),
        "common with the file's CA",
        "peer-without-key",
        "common with the file's CA",
      ],
      [
        "keyless with a CA of its own, target trusts another",
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

test("no private key stands in what is chosen as common", () => {
  const choice = chooseTls(peerOf("c2", 2, { ca: pem(shared), client: clientOf(shared) }), target(shared), "auto");
  assert.doesNotMatch(JSON.stringify(choice), /PRIVATE KEY/);
});

test("why the target's own will not do is said, with what to do", () => {
  const said = (overrides: Partial<Peer>, where: Target, mode: TlsMode) => {
    const choice = chooseTls(peerOf("c2", 2, overrides), where, mode);
    return "findings" in choice ? `${choice.findings[0]?.message}; ${choice.findings[0]?.remedy}` : "";
  };
  const identity = { ca: pem(other), client: clientOf(other, "remote-c2") };
  assert.match(said(identity, target(shared), "auto"), /c2's own identity \(CN remote-c2\).*one CA/);
  assert.match(
    said({ ca: pem(shared), facts: facts("legacy") }, target(shared, "remote-own"), "common"),
    /comes as remote-own.*authMode legacy.*migration/,
  );
  assert.match(said({ ca: pem(other) }, target(shared), "common"), /CA of c2 is not the target's/);
  assert.match(said({}, targetOf("1.13"), "common"), /1\.14\+/);
});
