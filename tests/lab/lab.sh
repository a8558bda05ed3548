#!/usr/bin/env bash
# The whole lab in one go: registry, images, hosts h1 to hN.
#
#   lab.sh up [N]     N hosts (default 3); prints what runs where
#   lab.sh status     one line per host and registry
#   lab.sh down       everything away
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=lib/base.sh
. "$here/lib/base.sh"

up() { # N
    local hosts=() index
    for index in $(seq 1 "$1"); do hosts+=("h$index" "$index"); done
    "$here/install.sh"
    "$here/registry.sh" up
    "$here/images.sh"
    "$here/host.sh" up "${hosts[@]}" >/dev/null
    "$here/host.sh" list
}

case ${1:-} in
    up)
        [[ ${2:-3} =~ ^[1-9][0-9]?$ ]] || usage 'up [N]'
        up "${2:-3}"
        ;;
    status)
        "$here/host.sh" list
        cat "$LAB"/registry/*/registry.env 2>/dev/null || true
        ;;
    down)
        "$here/host.sh" down-all
        [ ! -d "$LAB/engine" ] || "$here/engine.sh" down
        "$here/registry.sh" down
        # A mount that a killed scenario left outlives its server, and its folder cannot be removed before it is gone.
        awk -v below="$LAB/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | xargs -r -n 1 umount --lazy
        say "nothing is left"
        ;;
    *) usage 'up [N] | status | down' ;;
esac
