#!/bin/sh
# One host of the trial, in a container: a Docker Engine, and agent and ingress beside it as systemd would keep them.
# It joins with the token in /tokens/NAME, once; from then on it is that host, as its volume says.
#
# HOST_NAME, HOST_ADDRESS, SERVER and REGISTRY say who and where.
set -eu
export container=docker # which keeps the engine from setting up AppArmor, as that is the machine's

# What an engine writes to: the settings of this network, and the control groups below this container's.
awk '$2 ~ "^/(sys|proc/sys)(/|$)" { print $2 }' /proc/mounts | while read -r place; do
    mount -o remount,bind,rw "$place"
done
# With cgroup v2, a group that has groups below it may hold no process: those here go into one of their own.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p /sys/fs/cgroup/own
    while read -r pid; do
        echo "$pid" >/sys/fs/cgroup/own/cgroup.procs || true # it has ended meanwhile
    done </sys/fs/cgroup/cgroup.procs
    sed 's/^/+/; s/ / +/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
fi
rm -rf /run/docker* /run/containerd # of before a power cut

# Runs a part for ever: it is started again a second after it has ended.
keep() {
    child=
    # shellcheck disable=SC2064,SC2154 # expanded when it is caught
    trap 'trap "" TERM; kill "$child" 2>/dev/null; wait "$child"; exit 0' TERM
    while :; do
        "start_$1"
        child=$!
        wait "$child" || true
        sleep 1 &
        child=$!
        wait "$child"
    done
}

# shellcheck disable=SC2317 # `keep` calls it
start_agent() {
    if [ -e /var/lib/windlass/agent/member.json ]; then
        rm -f "/tokens/$HOST_NAME"
        windlass-agent run &
    elif [ -e "/tokens/$HOST_NAME" ]; then
        windlass-agent join --server "$SERVER" --token - --address "$HOST_ADDRESS" \
            <"/tokens/$HOST_NAME" &
    else
        echo "host $HOST_NAME: it is in no fleet and has no token, which \`up -d\` makes" >&2
        sleep 2 &
    fi
}

# shellcheck disable=SC2317 # `keep` calls it
start_ingress() {
    windlass-agent ingress --state /var/lib/windlass/ingress --http 0.0.0.0:80 --metrics 0.0.0.0:9102 &
}

# The agent first, so that it does not see its engine go; then the engine, which stops what runs, as a reboot does.
# shellcheck disable=SC2317 # it is called by a trap
stop() {
    trap '' TERM INT
    for part in "$agent" "$ingress" "$engine"; do
        kill "$part" 2>/dev/null || continue # it has ended
        wait "$part" || true
    done
    exit 0
}

dockerd --insecure-registry "$REGISTRY" --log-level warn --oom-score-adjust 0 &
engine=$!
keep agent &
agent=$!
keep ingress &
ingress=$!
trap stop TERM INT
wait "$engine" || true
echo "host $HOST_NAME: its engine has ended" >&2
exit 1
