import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openCluster } from "../../lib/kube/open.ts";
import { type Member, readMember } from "../../lib/mesh/member.ts";
import { expiryRemedy } from "../../lib/mesh/own-certificates.ts";
import { FIELD_MANAGER } from "../../lib/peer/annotations.ts";
import { fillTemplate } from "../../lib/peer/findings.ts";
import { renewalRemedy } from "../../lib/peer/renewal.ts";
import type { PkiOptions } from "../../lib/sandbox/chart.ts";
import type { CertificateFact, CertificateUse } from "../../lib/x509/expiry.ts";
import { startJoinedMesh } from "../support/joined-mesh.ts";

const NOW = new Date();
const inDays = (days: number) => new Date(NOW.getTime() + days * 86_400_000 + 3_600_000);
/** A certificate that the cluster has replaced. */
const old = (use: CertificateUse): CertificateFact => ({
  use,
  expires: "2026-01-01",
  expiresAt: "2026-01-01T00:00:00Z",
  daysLeft: 3,
  fingerprint: "0".repeat(64),
});

async function memberOf(t: TestContext, pki: PkiOptions): Promise<Member> {
  const { sandbox } = await startJoinedMesh(t, [{ pki }], { apart: true });
  const { api } = await openCluster({ clientName: FIELD_MANAGER, kubeconfig: sandbox.kubeconfig, context: "c1" });
  try {
    return await readMember({ source: "c1", api }, { forExtract: true });
  } finally {
    api.close();
  }
}

test("for a cluster with a new certificate the remedy is rotate for a client, and a restart for a server", async (t) => {
  const owner = await memberOf(t, { key: "ec" });
  const remedy = (use: CertificateUse) => fillTemplate(expiryRemedy(old(use), { owner, importers: ["c2"], now: NOW }));
  assert.equal(remedy("client"), "clustermesh-secrets rotate c1 --context c2");
  assert.equal(remedy("ca"), "clustermesh-secrets rotate c1 --context c2");
  assert.equal(
    remedy("server"),
    "kubectl --context c1 --namespace kube-system rollout restart deployment/clustermesh-apiserver",
  );
});

test("a cluster whose new certificate expires soon too has to renew it", async (t) => {
  const owner = await memberOf(t, { key: "ec", notAfter: inDays(20) });
  for (const use of ["client", "server"] as const) {
    assert.match(fillTemplate(expiryRemedy(old(use), { owner, now: NOW })), /^renew it in c1, /, use);
    const within = { owner, now: NOW, expiresWithin: 20 * 86_400_000 };
    assert.doesNotMatch(fillTemplate(expiryRemedy(old(use), within)), /renew it/, use);
  }
});

test("a cluster without a context is in the command by name", () => {
  const ownership = { owner: undefined, cluster: "c9", importers: ["c1"], now: NOW };
  assert.match(
    fillTemplate(expiryRemedy(old("client"), ownership)),
    /^renew it in c9, .*: clustermesh-secrets rotate c9 --context c1$/,
  );
});

test("a CronJob that charts before 1.20 make only with a schedule is named with that condition", () => {
  const method = { kind: "cronJob", name: "generate", namespace: "kube-system" } as const;
  const renewal = { cluster: "c1", context: "c1", expires: "2026-12-16", method };
  const remedy = (version: string | undefined) => fillTemplate(renewalRemedy("client", { ...renewal, version }));
  const command =
    "kubectl --context c1 --namespace kube-system create job renew-certificates-2026-12-16 --from=cronjob/generate && ";
  assert.ok(remedy("1.20.2").startsWith(command), remedy("1.20.2"));
  for (const version of ["1.19.6", "1.14", undefined]) {
    const condition = "if clustermesh.apiserver.tls.auto.schedule is set, run: ";
    assert.ok(remedy(version).startsWith(condition + command), remedy(version));
  }
});
