# Completion of clustermesh-secrets, extract-secret and import-secrets: clustermesh-secrets completion fish | source
function __clustermesh_secrets
    set -l asked (commandline -opc)
    switch (basename $asked[1])
        case extract-secret
            set asked[1] extract
        case import-secrets
            set asked[1] import
        case '*'
            set -e asked[1]
    end
    set -l word (commandline -ct)
    set -l lines (clustermesh-secrets __complete $asked "$word" 2> /dev/null)
    if test (count $lines) -gt 1
        printf '%s\n' $lines[1..-2]
    else if test "$lines" = :0
        set -l flag (string match -r '^--[^=]+=' -- "$word")
        printf '%s\n' "$flag"(__fish_complete_path (string replace -r '^--[^=]+=' '' -- "$word"))
    end
end
for program in clustermesh-secrets extract-secret import-secrets
    complete -c $program -f -a '(__clustermesh_secrets)'
end
