#!/usr/bin/env bash
# Windlass in four minutes: `make demo`.
#
# Three hosts (network namespaces, each with a Docker Engine of its own), a real registry, an ingress, a service of six
# instances in three versions. v1 is deployed and rolled to v2, with 500 requests a second through the ingress, of which
# none may be lost, while every instance is asked for its version. v3 is never ready: in the middle of its rollout the
# coordinator is killed with SIGKILL, the hosts roll back by themselves, and the coordinator, once back, ends the rollout
# as rolled back, with the evidence. Then the traffic moves from one set of instances to another and back. At the end, a
# canary fails a tenth of its requests and is stopped by its gate.
#
# Where network namespaces are not permitted, or with --one-engine, three agents share one engine. Everything is
# taken down at the end, also on Ctrl-C. Its lab is its own (/var/tmp/windlass-demo, network 10.215.0).
set -euo pipefail
option=${1:-}
[[ $# -le 1 && $option =~ ^(--one-engine)?$ ]] || { echo "usage: demo.sh [--one-engine]" >&2; exit 2; }
here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$here/../..")
lab=$root/tests/lab
export WINDLASS_LAB=/var/tmp/windlass-demo WINDLASS_LAB_NET=10.215.0
folder=$WINDLASS_LAB/fleet port=27443
programs=${WINDLASS_BIN:-${CARGO_TARGET_DIR:-$root/target}/release}
export PATH="$programs:$PATH" WINDLASS_HOME=$folder/home DOCKER_CONFIG=$folder/docker
unset "${!WINDLASS_CONTEXT@}" "${!WINDLASS_SERVER@}" "${!WINDLASS_ENV@}" # the caller's own fleet is none of ours
# shellcheck source=narrate.sh
. "$here/narrate.sh"
# shellcheck source=watch.sh
. "$here/watch.sh"
# shellcheck source=load.sh
. "$here/load.sh"

began=$SECONDS
declare -A pids=()

# Runs a program of the demo in the background, and notes its pid.
start() { # NAME COMMAND...
    local name=$1
    shift
    "$@" </dev/null >>"$folder/$name.log" 2>&1 &
    pids[$name]=$!
}

end() { # NAME SIGNAL
    local pid=${pids[$1]:-}
    [ -n "$pid" ] || return 0
    kill "-$2" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    unset "pids[$1]"
}

clean() {
    local code=$? name
    trap '' INT TERM
    if [ "$code" != 0 ] && [ "$code" != 130 ]; then
        say "the demo failed (exit code $code); the ends of its logs:"
        tail -n 5 "$folder"/*.log 2>/dev/null || true
    fi
    section "Cleaning up"
    for name in "${!pids[@]}"; do end "$name" KILL; done
    "$lab/lab.sh" down
    rm -rf "$WINDLASS_LAB"
    exit "$code"
}

# Waits until a command succeeds.
wait_for() { # SECONDS WHAT COMMAND...
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$limit" ] || { say "waited in vain: $what"; return 1; }
        sleep 0.2
    done
}

# Makes hosts, or where that is not permitted one engine; sets hosts, address, registry.
make_hosts() {
    local code=0
    [ "$option" = --one-engine ] && code=3 || "$lab/host.sh" up h1 1 h2 2 h3 3 >/dev/null || code=$?
    case $code in
        0)
            gateway=$WINDLASS_LAB_NET.1
            say "three hosts, each a network namespace with its own Docker Engine:"
            "$lab/host.sh" list | sed 's/^/    /'
            ;;
        3)
            gateway=127.0.0.1
            say "no network namespaces here, so three agents share one engine, each with ports of its own:"
            "$lab/engine.sh" up | sed 's/^/    /'
            ;;
        *) return "$code" ;;
    esac
    "$lab/registry.sh" up --listen "$gateway" >/dev/null
    registry=$gateway:5000
    say "a registry at $registry, with the sample service in three versions:"
    "$lab/images.sh" --registry "$registry" | grep -E '^web:v[123] ' | sed 's/^/    /'
}

# Sets what is different from host to host.
use_host() { # NAME
    local env=$WINDLASS_LAB/hosts/$1/host.env
    prefix=() address=127.0.0.1
    if [ -e "$env" ]; then
        # shellcheck source=/dev/null
        . "$env"
        prefix=(nsenter --net="$HOST_NETNS_PATH") address=$HOST_ADDRESS socket=$DOCKER_SOCKET
    else
        socket=$(sed -n 's/^DOCKER_SOCKET=//p' "$WINDLASS_LAB/engine/engine.env")
    fi
}

start_server() {
    start server windlass-server --data "$folder/server" --listen "$gateway:$port"
    wait_for 20 "the coordinator is ready" windlass host ls
}

make_fleet() {
    local host token n=0
    run windlass init --fleet demo --server "$gateway:$port" --server-dir "$folder/server" --insecure-registry "$registry"
    show windlass-server --data "$folder/server" --listen "$gateway:$port" '&'
    start_server
    for host in h1 h2 h3; do
        use_host "$host"
        token=$(windlass host token "$host" --label role=app)
        # The policy of a host: what may run there at all. `join` writes a starter where there is none.
        printf 'registries = ["%s"]\ninsecure_registries = ["%s"]\nport_range = "%d-%d"\n' \
            "$registry" "$registry" $((20000 + n * 1000)) $((20999 + n * 1000)) >"$folder/policy-$host.toml"
        n=$((n + 1))
        "${prefix[@]}" windlass-agent join --server "$gateway:$port" --token "$token" --address "$address" \
            --data "$folder/agent-$host" --policy "$folder/policy-$host.toml" >>"$folder/join.log" 2>&1
        start "agent-$host" "${prefix[@]}" windlass-agent run --data "$folder/agent-$host" \
            --engine "unix://$socket" --policy "$folder/policy-$host.toml"
    done
    show windlass-agent join '…' '&&' windlass-agent run '…' '&' "   # on each host, with its token"
    wait_for 30 "three hosts are connected" all_connected
    run windlass host ls
}

all_connected() { [ "$(windlass host ls -o json | jq '[.[] | select(.state == "connected")] | length')" = 3 ]; }

deploy() { # TAG
    run windlass deploy -f "$here/web.yaml" --set "image=$registry/web:$1" --timeout 1m
}

trap clean EXIT
trap 'exit 130' INT TERM

section "1. A fleet of three hosts"
[ "$(id -u)" = 0 ] || { say "the demo makes network namespaces and engines, so it needs root: sudo make demo"; exit 1; }
"$lab/install.sh"
"$lab/lab.sh" down >/dev/null # what an earlier demo may have left
rm -rf "$WINDLASS_LAB"
mkdir -p "$folder"
make_hosts
make_fleet

section "2. v1, six instances behind an ingress"
use_host h1
edge=$address:27080
show windlass-agent ingress --http "$edge" '&'
start ingress "${prefix[@]}" windlass-agent ingress --data "$folder/agent-h1" --http "$edge"
deploy v1
wait_for 20 "the name is answered" curl --silent --fail --header 'Host: web.demo' "http://$edge/version"
run windlass status web

section "3. From v1 to v2, three at a time, at 500 requests a second, while every instance is asked for its version"
load_begin "$edge"
watch_begin
deploy v2
watch_end 6 'v1 v2' ''
load_end

section "4. v3 is never ready, and the coordinator dies in the middle; the requests go on"
load_begin "$edge"
watch_begin
show windlass deploy -f web.yaml --set "image=$registry/web:v3" '&'
start deploy windlass deploy -f "$here/web.yaml" --set "image=$registry/web:v3" --timeout 1m
wait_for 30 "containers of r3 run" has_running r3
say "three containers of r3 run beside six of r2, and none is ready:"
containers
end server KILL
say "coordinator killed with SIGKILL; from here on nobody tells the hosts what to do"
wait_for 60 "the hosts rolled back" lacks_running r3
say "the hosts gave r3 up by themselves; what their engines say now, without a coordinator:"
containers

section "5. The coordinator comes back"
start_server
code=0
run windlass rollout watch web --timeout 1m || code=$?
say "exit code $code: the old release serves again"
[ "$code" = 3 ]
end deploy KILL
run windlass rollout show web
watch_end 6 v2 v3
load_end
run windlass status web

section "6. Blue/green, at 500 requests a second"
blue_green() { # TAG
    run windlass deploy -f "$here/blue-green.yaml" --set "image=$registry/web:$1" --timeout 1m
}
blue_green v2
load_begin "$edge"
say "the other set: all of it starts without traffic, then gets a tenth, then everything; the old set stays warm"
blue_green v1
windlass explain web | grep -E 'of the traffic|every ingress' | sed 's/^/    /'
say "so far: $(load_count)"
say "and back, which is a change of weights:"
run windlass rollback web --timeout 1m
load_end
run windlass routes web

section "7. A canary that fails a tenth of its requests, and the gate that stops it"
load_begin "$edge"
say "one new instance with a tenth of the traffic; every tenth of its answers is an error, although its probes are content:"
code=0
run windlass deploy -f "$here/canary.yaml" --set "image=$registry/web:errors" --set env.FAIL_PERCENT=10 --timeout 3m || code=$?
say "exit code $code: the traffic is back where it was, and this is the evidence:"
[ "$code" = 3 ]
windlass explain web | grep -E 'of the traffic|errors|traffic back' | sed 's/^/    /'
load_stop
run windlass status web

section "Done in $((SECONDS - began)) s"
