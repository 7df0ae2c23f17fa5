# Completion of clustermesh-secrets, extract-secret and import-secrets: source <(clustermesh-secrets completion bash)
# Works with bash 3.2, the version of macOS, and without the bash-completion package.
_clustermesh_secrets() {
  local line=${COMP_LINE:0:COMP_POINT} words word lines typed prefix value rest
  IFS=$' \t' read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  word=${words[${#words[@]} - 1]}
  case ${words[0]##*/} in
    extract-secret) words[0]=extract ;;
    import-secrets) words[0]=import ;;
    *) words=("${words[@]:1}") ;;
  esac
  COMPREPLY=()
  lines=$(clustermesh-secrets __complete "${words[@]}" 2> /dev/null) || return 0
  # bash splits words after = : and @, and replaces only the last part.
  typed=${COMP_WORDS[COMP_CWORD]}
  [[ $typed == [=:@] ]] && typed=
  prefix=${word%"$typed"}
  while IFS=$'\t' read -r value rest; do
    [[ $value == :[04] ]] || COMPREPLY+=("${value#"$prefix"}")
  done <<< "$lines"
  [[ $lines == *:0 ]] || compopt +o default 2> /dev/null
  return 0
}
complete -o default -F _clustermesh_secrets clustermesh-secrets extract-secret import-secrets
