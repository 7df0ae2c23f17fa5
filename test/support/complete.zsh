# Prints zsh's completions without its line editor: complete.zsh WORD...
compdef() {}
compset() {}
_files() { print files }
_describe() { print -rl -- "${(@P)4}" }
source <(clustermesh-secrets completion zsh)
words=("$@") CURRENT=$#
_clustermesh_secrets
