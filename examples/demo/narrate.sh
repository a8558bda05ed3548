# shellcheck shell=bash
# How the demo speaks: sections, sentences, the commands it runs. Colour only on a terminal.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' blue=$'\e[34m' off=$'\e[0m'
else
    bold='' dim='' blue='' off=''
fi

section() { printf '\n%s== %s%s\n' "$bold$blue" "$1" "$off"; }

say() { printf '%s\n' "-- $1"; }

# Shows a command line as a person would type it.
show() { printf '%s$ %s%s\n' "$dim" "$*" "$off"; }

# Shows a command and runs it.
run() {
    show "$@"
    "$@"
}
