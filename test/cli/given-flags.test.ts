import assert from "node:assert/strict";
import { test } from "node:test";
import { splitCommands } from "../../scripts/cli/find-commands.ts";
import { addGivenFlags } from "../../scripts/cli/given-flags.ts";
import { completePublicRemedy, setGivenFlags } from "../../scripts/cli/streams.ts";

const ALL = { kubeconfig: "my config", namespace: "cilium", as: "ci", "as-group": ["a", "b"], "as-uid": "7" };
const OURS = "--kubeconfig='my config' --namespace=cilium --as=ci --as-group=a --as-group=b --as-uid=7";
const KUBECTL = "--kubeconfig='my config' --as=ci --as-group=a --as-group=b --as-uid=7";

test("the connection flags of a call are added to each command that lacks them", () => {
  for (const [line, expected] of [
    [
      "  extract-secret --context a | import-secrets --context b -",
      `  extract-secret ${OURS} --context a | import-secrets ${OURS} --context b -`,
    ],
    ["  to reset it: clustermesh-secrets rotate a", `  to reset it: clustermesh-secrets rotate ${OURS} a`],
    ["    kubectl clustermesh-secrets status a", `    kubectl clustermesh-secrets status ${OURS} a`],
    ["  check with: kubectl auth can-i get pods", `  check with: kubectl ${KUBECTL} auth can-i get pods`],
    [
      "  kubectl --as=ci get pods && kubectl wait x; then run: import-secrets FILE",
      `  kubectl --kubeconfig='my config' --as-group=a --as-group=b --as-uid=7 --as=ci get pods && kubectl ${KUBECTL} wait x; then run: import-secrets ${OURS} FILE`,
    ],
    [
      "  extract-secret --kubeconfig x --namespace=y --context c > FILE",
      "  extract-secret --as=ci --as-group=a --as-group=b --as-uid=7 --kubeconfig x --namespace=y --context c > FILE",
    ],
    [
      "  extract-secret -nkube-system --context c > FILE",
      "  extract-secret --kubeconfig='my config' --as=ci --as-group=a --as-group=b --as-uid=7 -nkube-system --context c > FILE",
    ],
    ["  helm upgrade r c -n x", "  helm --kubeconfig='my config' upgrade r c -n x"],
  ] as const) {
    assert.equal(addGivenFlags(line, ALL), expected);
  }
});

test("a command for users of other clusters shows neither the kubeconfig nor the user of the call", () => {
  setGivenFlags({ ...ALL, "clusters-from": "argocd" });
  assert.equal(
    completePublicRemedy("clustermesh-secrets connect a\nkubectl get x"),
    "clustermesh-secrets connect --clusters-from=argocd --namespace=cilium a\nkubectl get x",
  );
  setGivenFlags({});
});

test("other text is not changed, nor is anything without flags", () => {
  for (const line of [
    "error: run import-secrets FILE",
    "  re-extract with extract-secret, then import the new file",
    "  see 'import-secrets --help'",
    "  the kubectl plugin",
    "  age --decrypt FILE",
  ]) {
    assert.equal(addGivenFlags(line, ALL), line);
  }
  for (const line of ["  extract-secret --context a | import-secrets -", "  kubectl get pods"]) {
    assert.equal(addGivenFlags(line, { "as-group": [] }), line);
  }
});

test("a line is split into prose and commands", () => {
  for (const parts of [
    ["", "kubectl get pods"],
    ["to connect them: ", "extract-secret --context a | import-secrets -"],
    ["re-extract with extract-secret, then import the new file"],
    [""],
    ["renew it: ", "cmctl renew c && kubectl wait c", "; then run: ", "clustermesh-secrets rotate c --all-contexts"],
    ["", "clustermesh-secrets rotate c --trust CA.crt", "; then install the new CA"],
  ]) {
    assert.deepEqual(splitCommands(parts.join("")), parts);
  }
});

test("flags of clusters from Secrets are added to the commands that have them", () => {
  const flags = {
    "clusters-from": "argocd",
    "clusters-namespace": "argo cd",
    "allow-exec": ["aws", "az"],
    "allow-insecure-members": true,
  };
  const given = "--clusters-from=argocd --clusters-namespace='argo cd' --allow-exec=aws --allow-exec=az";
  const added = `${given} --allow-insecure-members`;
  assert.equal(addGivenFlags("  clustermesh-secrets connect a b", flags), `  clustermesh-secrets connect ${added} a b`);
  assert.equal(
    addGivenFlags("  kubectl clustermesh-secrets status a", { ...flags, "allow-insecure-members": false }),
    `  kubectl clustermesh-secrets status ${given} a`,
  );
  for (const line of ["  extract-secret --context a", "  clustermesh-secrets extract a", "  kubectl get pods"]) {
    assert.equal(addGivenFlags(line, flags), line);
  }
});

test("a cluster of a Secret is not a context: commands get the flags of the Secrets, or a kubeconfig of the reader", () => {
  const flags = { "clusters-from": "argocd", kubeconfig: "hub", as: "ci" };
  const members = new Set(["a", "'my c'", "'it'\\''s'", "$'b\\'c\\012'"]);
  const secrets = "--clusters-from=argocd --kubeconfig=hub --as=ci";
  for (const [line, expected] of [
    [
      "  to connect: extract-secret --context a | import-secrets --context 'my c' -",
      `  to connect: extract-secret ${secrets} --context a | import-secrets ${secrets} --context 'my c' -`,
    ],
    [
      "  extract-secret --context PEER | kubectl clustermesh-secrets import --context hub -",
      `  extract-secret ${secrets} --context PEER | kubectl clustermesh-secrets import --kubeconfig=hub --as=ci --context hub -`,
    ],
    [
      "  extract-secret --kubeconfig FILE --context CONTEXT | import-secrets --context a -",
      `  extract-secret --kubeconfig FILE --context CONTEXT | import-secrets ${secrets} --context a -`,
    ],
    ["  kubectl --context hub get secrets", "  kubectl --kubeconfig=hub --as=ci --context hub get secrets"],
    [
      "  kubectl --context 'it'\\''s' --namespace x get pods",
      "  with a kubeconfig of 'it'\\''s' as FILE: kubectl --kubeconfig FILE --namespace x get pods",
    ],
    [
      "  check in its pods: kubectl --context $'b\\'c\\012' exec x",
      "  check in its pods, with a kubeconfig of $'b\\'c\\012' as FILE: kubectl --kubeconfig FILE exec x",
    ],
    [
      "    helm upgrade r c -n x --kube-context a && clustermesh-secrets rotate a --all-contexts",
      `    with a kubeconfig of a as FILE: helm upgrade r c -n x --kubeconfig FILE && clustermesh-secrets rotate ${secrets} a`,
    ],
    [
      "  cmctl renew c --context a && while kubectl --context a get x | grep -q y; do sleep 2; done",
      "  with a kubeconfig of a as FILE: cmctl renew c --kubeconfig FILE && while kubectl --kubeconfig FILE get x | grep -q y; do sleep 2; done",
    ],
    ["  check with: kubectl auth can-i get x --kubeconfig FILE", undefined],
  ] as const) {
    assert.equal(addGivenFlags(line, flags, members), expected ?? line);
  }
  const parts = splitCommands(addGivenFlags("renew it: kubectl --context a get x", flags, members));
  assert.deepEqual(parts, ["renew it, with a kubeconfig of a as FILE: ", "kubectl --kubeconfig FILE get x"]);
});
