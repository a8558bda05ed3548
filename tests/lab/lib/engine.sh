# shellcheck shell=bash
# One Docker Engine with everything of its own: data, sockets, containerd, and a control group that holds
# every process of it (engine, shims, proxies, containers). The group is how `engine_wipe` finds them all
# without ever naming a stranger.
#
# A system containerd would be picked up by dockerd by itself, and the engines would see each other's
# containers: hence the own one, which also outlives a killed dockerd, as on a real host.

# The hierarchy in which processes are tracked: the only one of cgroup v2, `pids` of v1.
cgroup_root() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/pids; fi
}

# Writes the configuration; extra settings of daemon.json as a JSON object, and more of them from the caller's
# WINDLASS_LAB_ENGINE, for example '{"live-restore": true}'.
engine_configure() { # FOLDER GROUP EXTRA_JSON
    local folder=$1 wish=${WINDLASS_LAB_ENGINE:-}
    wish=${wish:-'{}'}
    jq --exit-status 'type == "object"' <<<"$wish" >/dev/null 2>&1 || fail "WINDLASS_LAB_ENGINE is not a JSON object" "" 2
    mkdir -p "$folder"
    cat >"$folder/containerd.toml" <<TOML
version = 2
root = "$folder/containerd"
state = "$folder/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
address = "$folder/containerd.sock"
TOML
    # In a file of our own, because /etc/docker/daemon.json may configure an engine of the machine's.
    jq --null-input --arg folder "$folder" --arg group "$2" --arg net "$NET.0/24" --argjson extra "$3" \
        --argjson wish "$wish" '{
        "hosts": ["unix://\($folder)/docker.sock"],
        "data-root": "\($folder)/data", "exec-root": "\($folder)/run/docker", "pidfile": "\($folder)/dockerd.lock",
        "containerd": "\($folder)/containerd.sock",
        "cgroup-parent": "/\($group)", "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "insecure-registries": [$net], "log-level": "warn"
    } + $extra + $wish' >"$folder/daemon.json"
}

# Starts containerd and dockerd, if they do not run; PREFIX enters the host's namespace.
engine_start() { # FOLDER GROUP PREFIX...
    local folder=$1 members
    members=$(cgroup_root)/$2/engine
    shift 2
    mkdir -p "$members" 2>/dev/null || fail "this machine does not permit control groups" "the lab needs a writable /sys/fs/cgroup" 3
    # The shell joins the group and becomes the engine, so that no process of it is ever outside.
    # shellcheck disable=SC2016 # expanded by the inner shell
    local join='echo $$ >"$0/cgroup.procs" && exec "$@"'
    is_running "$folder/containerd.pid" ||
        start_process "$folder/containerd.pid" "$folder/containerd.log" \
            "$@" sh -c "$join" "$members" containerd --config "$folder/containerd.toml" --log-level warn
    if ! is_running "$folder/dockerd.pid"; then
        rm -f "$folder/dockerd.lock" # of a killed engine; its pid may have been given away since
        start_process "$folder/dockerd.pid" "$folder/dockerd.log" \
            "$@" sh -c "$join" "$members" dockerd --config-file "$folder/daemon.json" --oom-score-adjust 0
    fi
}

engine_answers() { # FOLDER
    curl --silent --fail --max-time 5 --output /dev/null --unix-socket "$1/docker.sock" http://engine/_ping
}

# Waits until the engine answers; else shows why it does not.
engine_wait() { # FOLDER
    local deadline=$((SECONDS + 90))
    until engine_answers "$1"; do
        if [ "$SECONDS" -ge "$deadline" ] || ! is_running "$1/dockerd.pid"; then
            tail -n 20 "$1/containerd.log" "$1/dockerd.log" >&2
            if grep -qi 'operation not permitted\|permission denied' "$1/dockerd.log"; then
                fail "this machine does not permit a Docker Engine" "it needs root with all capabilities" 3
            fi
            fail "the engine in $1 did not come up" "its logs end as shown above"
        fi
        sleep 0.05
    done
}

# A power cut: every process of the engine and its containers dies, and what a reboot clears is cleared.
# The data stays, and so does the configuration.
engine_cut_power() { # FOLDER GROUP
    local folder=$1 group socket
    group=$(cgroup_root)/$2
    if [ -d "$group" ]; then
        wait_until 20 group_is_killed "$group" || fail "processes of $2 do not end: $(group_members "$group" | paste -sd' ')"
    fi
    # The sockets of shims lie in a folder that all containerds share; each task names its own.
    for socket in "$folder"/run/containerd/io.containerd.runtime.v2.task/*/*/address; do
        [ ! -e "$socket" ] || rm -f "$(sed 's,^unix://,,' "$socket")"
    done
    engine_unmount "$folder"
    rm -rf --one-file-system "$folder/run" "$folder"/*.pid "$folder"/*.sock "$folder"/*.ttrpc
}

group_members() { find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null; }

# Kills whoever is in the group; true when nobody was left to kill.
group_is_killed() {
    local members
    members=$(group_members "$1")
    [ -n "$members" ] || return 0
    # shellcheck disable=SC2086 # one word per process
    kill -KILL $members 2>/dev/null || true
    return 1
}

# Ends the engine for good: processes, mounts, control groups, data.
engine_wipe() { # FOLDER GROUP
    engine_cut_power "$1" "$2"
    # None may be left, which grep counts as a failure; and groups of others go meanwhile, which find does.
    { find /sys/fs/cgroup -depth -type d -path "*/$2*" -print 2>/dev/null || true; } |
        { grep -E "^/sys/fs/cgroup(/[^/]+)?/$2(/|\$)" || true; } |
        while read -r group; do rmdir "$group" 2>/dev/null || true; done
    rm -rf --one-file-system "${1:?}"
}

# Newest mount first. Lazily, as a file of it may still be open somewhere.
engine_unmount() { # FOLDER
    awk -v below="$1/" 'index($5, below) == 1 {print $5}' /proc/self/mountinfo | tac | while read -r target; do
        umount --lazy "$target" 2>/dev/null || true
    done
}
