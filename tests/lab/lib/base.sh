# shellcheck shell=bash disable=SC2034
# What every script of the lab shares: where the lab is, how it speaks, how it starts and ends a process.
#
#   WINDLASS_LAB      folder of the lab (default /var/tmp/windlass-lab); short, as sockets lie in it
#   WINDLASS_LAB_NET  first three octets of its network (default 10.213.0)
#
# Labs with another folder *and* another network stand side by side.
#
# Exit codes: 0 done · 1 failed · 2 wrong usage · 3 this machine does not permit it.

LAB=${WINDLASS_LAB:-/var/tmp/windlass-lab}
NET=${WINDLASS_LAB_NET:-10.213.0}
PATH=$PATH:/usr/sbin:/sbin

say() { echo "lab: $*"; }

fail() { # MESSAGE HINT [CODE]
    echo "error: $1" >&2
    [ -z "${2:-}" ] || echo "hint: $2" >&2
    exit "${3:-1}"
}

usage() { fail "wrong usage" "usage: ${0##*/} $1" 2; }

[[ $NET =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "WINDLASS_LAB_NET=$NET is not three octets" "for example 10.213.0" 2
[[ $LAB == /* && ${#LAB} -le 50 ]] || fail "WINDLASS_LAB=$LAB must be absolute and at most 50 characters" \
    "paths of unix sockets end at 107 characters" 2

IFS=. read -r NET_A NET_B NET_C <<<"$NET"
# Names of links end at 15 characters, so the network goes into them as hex: 10.213.0 is wl0ad500.
BRIDGE=$(printf 'wl%02x%02x%02x' "$NET_A" "$NET_B" "$NET_C")
GATEWAY=$NET.1

require_root() {
    [ "$(id -u)" = 0 ] || fail "the lab needs root: it makes network namespaces and starts engines" "run it with sudo" 3
}

require_programs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "\`$program\` is not installed" "run tests/lab/install.sh"
    done
}

# Runs a command while holding the lab's lock: bridge and folders are changed by one script at a time.
locked() {
    mkdir -p "$LAB"
    exec 9>"$LAB/.lock"
    flock -w 60 9 || fail "the lab is locked for more than 60 s" "is another script of this lab hanging?"
    "$@"
    exec 9>&-
}

# Waits until a command succeeds; false when the seconds are over.
wait_until() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# When a process started, in clock ticks since boot; with the pid it names one process for ever.
started_at() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    awk '{print $20}' <<<"${stat##*) }"
}

# Starts a process of its own session with a clean environment (no proxy variables), its output in LOG,
# and notes it in PIDFILE as "pid start-time", so that nobody ever signals a stranger who got its pid.
start_process() { # PIDFILE LOG COMMAND...
    local pidfile=$1 log=$2 pid
    shift 2
    setsid env -i PATH="$PATH" HOME=/root TMPDIR=/tmp "$@" </dev/null >>"$log" 2>&1 9>&- &
    pid=$!
    echo "$pid $(started_at "$pid")" >"$pidfile"
}

is_running() { # PIDFILE
    local pid start
    read -r pid start 2>/dev/null <"$1" || return 1
    [ "$(started_at "$pid")" = "$start" ] && ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null
}

# Ends a process that `start_process` noted: SIGNAL, and SIGKILL after SECONDS.
stop_process() { # PIDFILE SIGNAL SECONDS
    local pid
    if is_running "$1"; then
        read -r pid _ <"$1"
        kill "-$2" "$pid" 2>/dev/null || true
        wait_until "$3" not is_running "$1" || kill -KILL "$pid" 2>/dev/null || true
        wait_until 5 not is_running "$1" || fail "process $pid does not end" "see /proc/$pid/stack"
    fi
    rm -f "$1"
}

# Sends a signal to a process that `start_process` noted.
signal_process() { # PIDFILE SIGNAL
    local pid
    is_running "$1" || fail "no process is noted in $1, or it has ended"
    read -r pid _ <"$1"
    kill "-$2" "$pid"
}

not() { ! "$@"; }
