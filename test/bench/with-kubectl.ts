/** The exchange as one would do it by kubectl and jq, step for step as the old shell scripts did. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const EXTRACT = `#!/usr/bin/env bash
# Usage: extract.sh CONTEXT > FILE
set -euo pipefail
context=$1
ask() { kubectl --context "$context" -n kube-system get "$@"; }

name=$(ask configmap cilium-config -o jsonpath='{.data.cluster-name}')
id=$(ask configmap cilium-config -o jsonpath='{.data.cluster-id}')
[[ -n "$name" && "$id" != 0 ]] || { echo "$context: not set up for a mesh" >&2; exit 1; }
type=$(ask service clustermesh-apiserver -o jsonpath='{.spec.type}')
[[ "$type" == NodePort ]] || { echo "$context: the Service is a $type" >&2; exit 1; }
port=$(ask service clustermesh-apiserver -o jsonpath='{.spec.ports[0].nodePort}')
address=$(ask nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
ca=$(ask secret clustermesh-apiserver-remote-cert -o jsonpath='{.data.ca\\.crt}')
cert=$(ask secret clustermesh-apiserver-remote-cert -o jsonpath='{.data.tls\\.crt}')
key=$(ask secret clustermesh-apiserver-remote-cert -o jsonpath='{.data.tls\\.key}')

folder=/var/lib/cilium/clustermesh
config="endpoints:
- https://$address:$port
trusted-ca-file: $folder/$name-ca.crt
cert-file: $folder/$name.crt
key-file: $folder/$name.key
"
jq -n --arg name "$name" --arg config "$config" --arg ca "$ca" --arg cert "$cert" --arg key "$key" '{
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "cilium-clustermesh" },
  data: {
    ($name): ($config | @base64),
    ($name + "-ca.crt"): $ca,
    ($name + ".crt"): $cert,
    ($name + ".key"): $key
  }
}'
`;

const IMPORT = `#!/usr/bin/env bash
# Usage: import.sh CONTEXT FILE …
set -euo pipefail
context=$1
shift
jq -s '.[0] + { data: (map(.data) | add) }' "$@" | kubectl --context "$context" -n kube-system apply -f -
`;

const MESH = `#!/usr/bin/env bash
# Usage: mesh.sh FOLDER CONTEXT …
set -euo pipefail
folder=$1
shift
here=$(dirname "$0")
for context in "$@"; do "$here/extract.sh" "$context" > "$folder/$context-mesh.json"; done
for context in "$@"; do
  others=()
  for other in "$@"; do [[ "$other" == "$context" ]] || others+=("$folder/$other-mesh.json"); done
  "$here/import.sh" "$context" "\${others[@]}"
done
`;

/** Writes the three scripts into a folder, and gives their paths. */
export function writeScripts(folder: string): { extract: string; import: string; mesh: string } {
  const write = (name: string, text: string) => {
    const file = join(folder, name);
    writeFileSync(file, text);
    chmodSync(file, 0o755);
    return file;
  };
  return { extract: write("extract.sh", EXTRACT), import: write("import.sh", IMPORT), mesh: write("mesh.sh", MESH) };
}
