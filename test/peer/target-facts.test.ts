import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readFacts } from "../../lib/peer/annotations.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import {
  type CommonCa,
  type FilesOrigin,
  readTargetFacts,
  type TargetFacts,
  writeTargetFacts,
} from "../../lib/peer/target-facts.ts";
import { caOf } from "../support/material.ts";
import { peerOf } from "../support/targets.ts";

const P = "clustermesh-secrets/";

test("the annotations, name by name", () => {
  const facts: Required<TargetFacts> = {
    mountsUsers: true,
    configReaders: [
      { kind: "Deployment", name: "cilium-operator" },
      { kind: "DaemonSet", name: "cilium" },
    ],
    commonFiles: { name: "certs", type: "CSI driver csi.cert-manager.io", listed: true },
    commonCa: "unknown",
    agentsCommonFiles: "secret",
    agentsCommonCa: "file",
    mountsLocalFiles: false,
    clientCertificate: "-----BEGIN CERTIFICATE-----\n",
  };
  assert.deepEqual(writeTargetFacts(facts), {
    [`${P}mounts-users`]: "true",
    [`${P}config-readers`]: "deployment/cilium-operator,daemonset/cilium",
    [`${P}common-files`]: "volume,listed,certs,CSI driver csi.cert-manager.io",
    [`${P}common-ca`]: "unknown",
    [`${P}agents-common-files`]: "secret",
    [`${P}agents-common-ca`]: "file",
    [`${P}mounts-local-files`]: "false",
    [`${P}client-certificate`]: "-----BEGIN CERTIFICATE-----\n",
  });
  assert.deepEqual(readTargetFacts(writeTargetFacts(facts)), facts);
  assert.deepEqual(writeTargetFacts({}), {});
  assert.deepEqual(writeTargetFacts({ commonCa: { pem: "-----BEGIN" } }), { [`${P}common-ca`]: "-----BEGIN" });
});

const origin: fc.Arbitrary<FilesOrigin> = fc.oneof(
  fc.constantFrom("none" as const, "secret" as const, "unknown" as const),
  fc.record(
    { name: fc.stringMatching(/^[a-z0-9-]{1,9}$/), type: fc.stringMatching(/^[\w .,]{1,20}$/), listed: fc.boolean() },
    { noNullPrototype: true },
  ),
);
const ca = fc.constantFrom<CommonCa>("file", "unknown", { pem: caOf("a").cert });
const anyFacts: fc.Arbitrary<TargetFacts> = fc.record(
  {
    mountsUsers: fc.boolean(),
    configReaders: fc.array(
      fc.record(
        {
          kind: fc.constantFrom("Deployment" as const, "DaemonSet" as const),
          name: fc.stringMatching(/^[a-z0-9][-a-z0-9.]{0,9}$/),
        },
        { noNullPrototype: true },
      ),
    ),
    commonFiles: origin,
    commonCa: ca,
    agentsCommonFiles: origin,
    agentsCommonCa: ca,
    mountsLocalFiles: fc.boolean(),
    clientCertificate: fc.constant(caOf("b").cert),
  },
  { requiredKeys: [], noNullPrototype: true },
);

test("facts are read as they were written, and do not affect the peer in the file", () => {
  const { peer } = peerOf("c2");
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const file = writePeerFile(peer, facts);
      const annotations = file.metadata?.annotations ?? {};
      assert.deepEqual(readTargetFacts(annotations), facts);
      assert.deepEqual(readFacts(annotations), peer.facts);
      assert.deepEqual(readPeerFile(file, "f"), readPeerFile(writePeerFile(peer), "f"));
    }),
  );
});

test("invalid facts are absent", () => {
  const wrong: Record<string, string[]> = {
    "mounts-users": ["", "yes"],
    "config-readers": ["cilium", "pod/cilium", "constructor/x", "daemonset/", "daemonset/cilium,x", "daemonset/a b"],
    "common-files": ["", "secrets", "volume", "volume,listed,certs", "volume,maybe,certs,CSI", "volume,listed,,CSI"],
    "common-ca": [""],
    "mounts-local-files": ["1"],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) assert.deepEqual(readTargetFacts({ [P + name]: value }), {}, `${name}: ${value}`);
  }
  assert.deepEqual(readTargetFacts({ [`${P}config-readers`]: "" }), { configReaders: [] });
});
