#!/usr/bin/env bash
# One Docker Engine in the root namespace, for machines that permit no network namespaces (host.sh exits 3).
#
#   engine.sh up      prints DOCKER_HOST=..., also in $WINDLASS_LAB/engine/engine.env
#   engine.sh down
#
# It touches neither iptables nor forwarding nor docker0, so it stands beside any other engine: its
# containers are reached at the ports they publish on 127.0.0.1, and reach nothing but this machine.
# Its registry: registry.sh up --listen 127.0.0.1.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=lib/base.sh
. "$here/lib/base.sh"
# shellcheck source=lib/network.sh
. "$here/lib/network.sh"
# shellcheck source=lib/engine.sh
. "$here/lib/engine.sh"

folder=$LAB/engine
group=$BRIDGE-engine
link=$BRIDGE-e
subnet=$NET_A.$NET_B.$((NET_C ^ 128)) # beside the lab's own: 10.213.128 for 10.213.0

up() {
    require_programs ip flock curl jq dockerd containerd
    if ! ip link show "$link" >/dev/null 2>&1; then
        ip link add "$link" type bridge 2>/dev/null || fail "this machine does not permit network bridges" "use an engine that is there" 3
        ip address add "$subnet.1/24" dev "$link"
        ip link set "$link" up
    fi
    engine_configure "$folder" "$group" "{\"bridge\": \"$link\", \"iptables\": false, \"ip-masq\": false, \"ip-forward\": false}"
    engine_start "$folder" "$group" env
    engine_wait "$folder"
    printf 'DOCKER_SOCKET=%s\nDOCKER_HOST=unix://%s\n' "$folder/docker.sock" "$folder/docker.sock" | tee "$folder/engine.env"
}

down() {
    engine_wipe "$folder" "$group"
    ip link delete "$link" 2>/dev/null || true
    [ ! -d "$LAB" ] || locked bridge_down_if_unused
}

require_root
case ${1:-} in
    up) up ;;
    down) down ;;
    *) usage 'up | down' ;;
esac
