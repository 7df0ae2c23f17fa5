#!/usr/bin/env bash
# Usage: extract.sh CONTEXT > FILE
# Extracts a cluster's Secret with kubectl, as the scripts in Cilium's contrib/k8s did: eight requests in sequence.
set -euo pipefail
context=$1
ask() { kubectl --context "$context" get "$@"; }

namespace=$(ask pods --all-namespaces -l k8s-app=clustermesh-apiserver -o jsonpath='{.items[0].metadata.namespace}')
node=$(ask -n "$namespace" pods -l k8s-app=clustermesh-apiserver -o jsonpath='{.items[0].spec.nodeName}')
address=$(ask node "$node" -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
port=$(ask -n "$namespace" service clustermesh-apiserver -o jsonpath='{.spec.ports[0].nodePort}')
name=$(ask -n "$namespace" configmap cilium-config -o jsonpath='{.data.cluster-name}')
# The original reads the CA from secret/clustermesh-apiserver-ca-cert, which Cilium 1.15 removed.
ca=$(ask -n "$namespace" secret clustermesh-apiserver-remote-cert -o jsonpath='{.data.ca\.crt}')
cert=$(ask -n "$namespace" secret clustermesh-apiserver-remote-cert -o jsonpath='{.data.tls\.crt}')
key=$(ask -n "$namespace" secret clustermesh-apiserver-remote-cert -o jsonpath='{.data.tls\.key}')

prefix=/var/lib/cilium/clustermesh/$name
config=$(base64 <<END | tr -d '\n'
endpoints:
- https://$address:$port
trusted-ca-file: $prefix-ca.crt
cert-file: $prefix.crt
key-file: $prefix.key
END
)
cat <<END
{
  "apiVersion": "v1",
  "kind": "Secret",
  "metadata": {"name": "cilium-clustermesh"},
  "data": {"$name": "$config", "$name-ca.crt": "$ca", "$name.crt": "$cert", "$name.key": "$key"}
}
END
