# What zsh would be handed: complete.zsh WORD..., outside of its line editor.
compdef() {}
compset() {}
_files() { print files }
_describe() { print -rl -- "${(@P)4}" }
source <(clustermesh-secrets completion zsh)
words=("$@") CURRENT=$#
_clustermesh_secrets
