# What bash would put in: complete.bash LINE WORD..., the words as bash breaks the line.
source <(clustermesh-secrets completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_clustermesh_secrets
printf '%s|' "${COMPREPLY[@]}"
