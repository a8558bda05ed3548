#!/usr/bin/env bash
# Lab hosts: each is a network namespace on the lab's bridge with a Docker Engine of its own.
#
#   host.sh up NAME INDEX [NAME INDEX]...   start hosts (in parallel); boots one that crashed
#   host.sh down NAME                       remove it with everything it ran and stored
#   host.sh partition NAME | heal NAME      pull the network cable, plug it in again
#   host.sh crash NAME                      power cut: every process dies, the disk stays; `up` boots it
#   host.sh engine-stop NAME                stop the engine in order (its containers stop)
#   host.sh engine-kill NAME                kill -9 the engine alone (its containers go on)
#   host.sh engine-start NAME               start it again
#   host.sh engine-freeze NAME              SIGSTOP the engine alone: it accepts connections and answers nothing
#   host.sh engine-thaw NAME                SIGCONT
#   host.sh list                            one line per host
#   host.sh down-all                        all of them (in parallel)
#
# Host INDEX (1 to 200) has the address 10.213.0.(10 + INDEX). What a caller needs to know stands in
# $WINDLASS_LAB/hosts/NAME/host.env, which `up` also prints. A program runs *on* a host with
# `nsenter --net=$HOST_NETNS_PATH PROGRAM`; such programs are the caller's to end.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=lib/base.sh
. "$here/lib/base.sh"
# shellcheck source=lib/network.sh
. "$here/lib/network.sh"
# shellcheck source=lib/engine.sh
. "$here/lib/engine.sh"

SYNOPSIS='up NAME INDEX [NAME INDEX]... | down|partition|heal|crash|engine-{stop,kill,start,freeze,thaw} NAME | list | down-all'

use_host() { # NAME: sets what the functions below work on
    [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] || fail "\`$1\` is not a host name" "lowercase letters, digits and -, at most 32" 2
    name=$1
    folder=$LAB/hosts/$name
    netns=$BRIDGE-$name
}

use_existing_host() {
    use_host "$1"
    [ -e "$folder/host.env" ] || fail "no host \`$name\` in $LAB" "see: host.sh list"
    # shellcheck source=/dev/null
    . "$folder/host.env"
    link=$HOST_LINK
}

up() {
    (($# >= 2 && $# % 2 == 0)) || usage "$SYNOPSIS"
    require_programs ip iptables nsenter flock curl jq dockerd containerd
    local pairs=("$@")
    while [ $# -gt 0 ]; do
        use_host "$1"
        [[ $2 =~ ^([1-9]|[1-9][0-9]|1[0-9][0-9]|200)$ ]] || fail "index $2 is not within 1 to 200" "" 2
        locked plug_in "$2"
        engine_start "$folder" "$netns" nsenter --net="/run/netns/$netns"
        shift 2
    done
    set -- "${pairs[@]}"
    while [ $# -gt 0 ]; do
        use_host "$1"
        engine_wait "$folder"
        cat "$folder/host.env"
        shift 2
    done
}

# Namespace, cable and configuration of a host, if they are not there yet.
plug_in() { # INDEX
    local address=$NET.$((10 + $1)) link=$BRIDGE-$1
    if [ -e "$folder/host.env" ]; then
        grep -qx "HOST_ADDRESS=$address" "$folder/host.env" || fail "host \`$name\` has another index" "take it down first"
        ip link set "$link" up
        return
    fi
    ! grep -qsx "HOST_ADDRESS=$address" "$LAB"/hosts/*/host.env || fail "index $1 is taken by another host" "see: host.sh list"
    bridge_up
    mkdir -p "$folder"
    ip netns delete "$netns" 2>/dev/null || true # of an `up` that was cut off
    ip link delete "$link" 2>/dev/null || true
    ip netns add "$netns" 2>"$folder/netns.log" || {
        rm -rf "$folder"
        fail "this machine does not permit network namespaces" "the lab needs CAP_SYS_ADMIN" 3
    }
    ip link add "$link" type veth peer name eth0 netns "$netns"
    ip link set "$link" master "$BRIDGE" up
    ip -n "$netns" link set lo up
    ip -n "$netns" address add "$address/24" dev eth0
    ip -n "$netns" link set eth0 up
    engine_configure "$folder" "$netns" "{\"bip\": \"172.30.$1.1/24\"}"
    cat >"$folder/host.env" <<ENV
HOST_NAME=$name
HOST_INDEX=$1
HOST_ADDRESS=$address
HOST_GATEWAY=$GATEWAY
HOST_LINK=$link
HOST_NETNS=$netns
HOST_NETNS_PATH=/run/netns/$netns
HOST_FOLDER=$folder
DOCKER_SOCKET=$folder/docker.sock
DOCKER_HOST=unix://$folder/docker.sock
ENV
}

down() {
    use_host "$1"
    engine_wipe "$folder" "$netns"
    if [ -e "/run/netns/$netns" ]; then
        local strangers
        strangers=$(ip netns pids "$netns" | paste -sd' ')
        [ -z "$strangers" ] || say "host $name: processes that the lab did not start lose their network: $strangers"
        ip -n "$netns" link delete eth0 2>/dev/null || true # at once; the namespace itself goes in its own time
        ip netns delete "$netns"
    fi
    locked bridge_down_if_unused
}

down_all() {
    local found ends=() end
    for found in $({
        find "$LAB/hosts" -mindepth 1 -maxdepth 1 -printf '%f\n'
        ip netns list | sed -n "s/^$BRIDGE-\([^ ]*\).*/\1/p"
    } 2>/dev/null | sort -u); do
        (down "$found") &
        ends+=($!)
    done
    for end in "${ends[@]}"; do wait "$end"; done
    [ ! -d "$LAB" ] || locked bridge_down_if_unused
}

list() {
    local env state
    for env in "$LAB"/hosts/*/host.env; do
        [ -e "$env" ] || continue
        # shellcheck source=/dev/null
        . "$env"
        state='engine up'
        engine_answers "$HOST_FOLDER" || state='engine down'
        ip link show "$HOST_LINK" up | grep -q . || state="$state, partitioned"
        echo "$HOST_NAME $HOST_ADDRESS $DOCKER_HOST $state"
    done
}

[ $# -ge 1 ] || usage "$SYNOPSIS"
command=$1
shift
case $command in
    list | down-all | up) ;;
    *) [ $# = 1 ] || usage "$SYNOPSIS" ;;
esac
require_root
case $command in
    up) up "$@" ;;
    down) down "$1" ;;
    down-all) down_all ;;
    list) list ;;
    partition) use_existing_host "$1" && ip link set "$link" down ;;
    heal) use_existing_host "$1" && ip link set "$link" up ;;
    crash)
        use_existing_host "$1"
        ip link set "$link" down # first: nobody hears a dying host
        engine_cut_power "$folder" "$netns"
        ;;
    engine-stop) use_existing_host "$1" && stop_process "$folder/dockerd.pid" TERM 30 ;;
    engine-kill) use_existing_host "$1" && stop_process "$folder/dockerd.pid" KILL 5 ;;
    engine-freeze) use_existing_host "$1" && signal_process "$folder/dockerd.pid" STOP ;;
    engine-thaw) use_existing_host "$1" && signal_process "$folder/dockerd.pid" CONT ;;
    engine-start)
        use_existing_host "$1"
        engine_start "$folder" "$netns" nsenter --net="/run/netns/$netns"
        engine_wait "$folder"
        ;;
    *) usage "$SYNOPSIS" ;;
esac
