#!/usr/bin/env bash
# Usage: import.sh CONTEXT FILE …
# Secrets into a cluster by kubectl, step for step as Cilium's contrib/k8s had it: each file is read by jq, the namespace
# asked for, and what they hold together applied.
set -euo pipefail
context=$1
shift
data=
for file in "$@"; do
  entries=$(jq -c .data "$file")
  entries=${entries#\{}
  data+=,${entries%\}}
done
namespace=$(kubectl --context "$context" get pods --all-namespaces -l k8s-app=clustermesh-apiserver \
  -o jsonpath='{.items[0].metadata.namespace}')
kubectl --context "$context" -n "$namespace" apply -f - <<END
{
  "apiVersion": "v1",
  "kind": "Secret",
  "metadata": {"name": "cilium-clustermesh"},
  "data": {${data#,}}
}
END
