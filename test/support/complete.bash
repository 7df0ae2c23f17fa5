# Prints bash's completions: complete.bash LINE WORD..., with the words as bash splits the line.
source <(clustermesh-secrets completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_clustermesh_secrets
printf '%s|' "${COMPREPLY[@]}"
