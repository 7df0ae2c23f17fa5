#compdef clustermesh-secrets extract-secret import-secrets
# Completion of these programs: source <(clustermesh-secrets completion zsh), or as the file _clustermesh_secrets in fpath
_clustermesh_secrets() {
  local -a asked lines offers
  local colon='\:' tab=$'\t'
  asked=("${(@)words[2,CURRENT]}")
  case ${words[1]:t} in
    extract-secret) asked=(extract "${(@)asked}") ;;
    import-secrets) asked=(import "${(@)asked}") ;;
  esac
  lines=("${(@f)$(clustermesh-secrets __complete "${(@)asked}" 2> /dev/null)}")
  # _describe treats the text after the first colon as the description.
  offers=("${(@)lines[1,-2]//:/$colon}")
  offers=("${(@)offers/$tab/:}")
  if (( ${#offers} )); then
    _describe -t values value offers
  elif [[ $lines[-1] == :0 ]]; then
    compset -P '--*='
    _files
  fi
}
if [[ $funcstack[1] == _clustermesh_secrets ]]; then
  _clustermesh_secrets
else
  compdef _clustermesh_secrets clustermesh-secrets extract-secret import-secrets
fi
