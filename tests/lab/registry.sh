#!/usr/bin/env bash
# A real registry (Debian's docker-registry), plain HTTP, its storage in the lab's folder.
#
#   registry.sh up [--port P] [--listen ADDRESS] [--auth USER:PASSWORD] [--storage FOLDER]
#   registry.sh down [--port P]      without a port: all of them
#   registry.sh stop --port P        end it, keep its storage: `up` brings it back (a registry outage)
#
# It listens on the lab's bridge (10.213.0.1:5000), where hosts and this machine reach it; on a machine
# without network namespaces, use --listen 127.0.0.1. Prints REGISTRY=ADDRESS:PORT, which also stands in
# $WINDLASS_LAB/registry/PORT/registry.env. Registries with different ports stand side by side.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=lib/base.sh
. "$here/lib/base.sh"
# shellcheck source=lib/network.sh
. "$here/lib/network.sh"

SYNOPSIS='up [--port P] [--listen ADDRESS] [--auth USER:PASSWORD] [--storage FOLDER] | down [--port P] | stop --port P'

configure() {
    mkdir -p "$folder"
    cat >"$folder/config.yml" <<YAML
version: 0.1
log: { level: warn, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: ${storage:-$folder/storage} }
  delete: { enabled: true }
http: { addr: "$listen:$port", secret: lab }
YAML
    [ -z "$auth" ] && return
    require_programs htpasswd
    htpasswd -Bbn -C 5 "${auth%%:*}" "${auth#*:}" >"$folder/htpasswd"
    echo "auth: { htpasswd: { realm: lab, path: $folder/htpasswd } }" >>"$folder/config.yml"
}

answers() {
    local status
    status=$(curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "http://$listen:$port/v2/") || return 1
    [ "$status" = "$([ -z "$auth" ] && echo 200 || echo 401)" ]
}

up() {
    require_programs docker-registry curl flock
    if [ "$listen" = "$GATEWAY" ]; then
        require_root
        locked bridge_up
    fi
    if is_running "$folder/pid" && ! answers; then
        stop_process "$folder/pid" TERM 10 # it ran with other settings
    fi
    if ! is_running "$folder/pid"; then
        ! answers || fail "port $port of $listen is taken by another registry" "choose another --port"
        configure
        start_process "$folder/pid" "$folder/log" docker-registry serve "$folder/config.yml"
        wait_until 20 answers || {
            tail -n 10 "$folder/log" >&2
            stop_process "$folder/pid" KILL 5
            fail "the registry did not come up on $listen:$port" "its log ends as shown above"
        }
    fi
    echo "REGISTRY=$listen:$port" | tee "$folder/registry.env"
}

down() { # FOLDER
    stop_process "$1/pid" TERM 10
    rm -rf "${1:?}"
}

[ $# -ge 1 ] || usage "$SYNOPSIS"
command=$1
shift
port='' listen=$GATEWAY auth='' storage=''
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage "$SYNOPSIS"
    case $1 in
        --port) port=$2 ;;
        --listen) listen=$2 ;;
        --auth) auth=$2 ;;
        --storage) storage=$2 ;;
        *) usage "$SYNOPSIS" ;;
    esac
    shift 2
done
[[ $port =~ ^[0-9]*$ ]] || fail "port \`$port\` is not a number" "" 2
[[ -z $auth || $auth == ?*:?* ]] || fail "--auth takes USER:PASSWORD" "" 2
all=$([ -n "$port" ] || echo yes)
port=${port:-5000}
folder=$LAB/registry/$port

case $command in
    up) up ;;
    stop) stop_process "$folder/pid" TERM 10 ;;
    down)
        if [ "$all" = yes ]; then
            for folder in "$LAB"/registry/*/; do [ ! -d "$folder" ] || down "${folder%/}"; done
        else
            down "$folder"
        fi
        [ ! -d "$LAB" ] || locked bridge_down_if_unused
        ;;
    *) usage "$SYNOPSIS" ;;
esac
