#!/usr/bin/env bash
# Usage: import.sh CONTEXT FILE …
# Imports Secrets into a cluster with kubectl, as the scripts in Cilium's contrib/k8s did: reads each file with jq, looks up
# the namespace, and applies the merged Secret.
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
