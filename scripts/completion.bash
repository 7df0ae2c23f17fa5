# Completion of clustermesh-secrets, extract-secret and import-secrets: source <(clustermesh-secrets completion bash)
# From version 3.2 on, which macOS has, and without the package bash-completion.
_clustermesh_secrets() {
  local line=${COMP_LINE:0:COMP_POINT} words word lines typed stands value rest
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
  # To the shell a word begins anew after = : and @, and only what comes after is put in.
  typed=${COMP_WORDS[COMP_CWORD]}
  [[ $typed == [=:@] ]] && typed=
  stands=${word%"$typed"}
  while IFS=$'\t' read -r value rest; do
    [[ $value == :[04] ]] || COMPREPLY+=("${value#"$stands"}")
  done <<< "$lines"
  [[ $lines == *:0 ]] || compopt +o default 2> /dev/null
  return 0
}
complete -o default -F _clustermesh_secrets clustermesh-secrets extract-secret import-secrets
