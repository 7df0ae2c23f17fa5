#!/usr/bin/env bash
# Usage: mesh.sh FOLDER CONTEXT …
# Connects clusters with the two other scripts; writes the files to FOLDER.
set -euo pipefail
folder=$1
shift
here=$(dirname "$0")
for context in "$@"; do "$here/extract.sh" "$context" > "$folder/$context-mesh.json"; done
for context in "$@"; do
  others=()
  for other in "$@"; do [[ "$other" == "$context" ]] || others+=("$folder/$other-mesh.json"); done
  "$here/import.sh" "$context" "${others[@]}"
done
