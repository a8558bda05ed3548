#!/usr/bin/env bash
# Installs from Debian what the lab needs and this machine lacks. Idempotent, asks nothing, starts no
# service. Usage: install.sh [--check]   (--check only says what is missing, exit code 1 if anything)
set -euo pipefail

# program, Debian package, why
needs() {
    cat <<'TABLE'
dockerd docker.io the Docker Engine that each lab host runs
containerd containerd the container runtime below each engine
docker-registry docker-registry a real registry that hosts pull from
ip iproute2 network namespaces and links, one per lab host
iptables iptables published ports and NAT of each engine
nsenter util-linux starts engines and agents inside a lab host
flock util-linux lets several labs and tests run side by side
pgrep procps finds what an engine left running
curl curl talks to the registry and to the sample service
docker docker.io makes the images of the trial
docker-compose docker-compose brings the trial up
prometheus prometheus reads the metrics of the trial, answers gates in tests
busybox busybox-static the shell in the images of the trial
shellcheck shellcheck reads the shell scripts, in `make lint`
pg_ctlcluster postgresql a real database that hosts are asked to reach
redis-server redis-server a real cache that hosts are asked to reach
jq jq writes image manifests, reads answers
faketime faketime sets the clock of one program, so that nobody else's is touched
wrk wrk loads an ingress, in tests and benchmarks
h2load nghttp2-client loads an ingress over HTTP/2
python3 python3-venv runs clients and servers of others
openssl openssl hashes and certificates in tests
htpasswd apache2-utils passwords for the registry with authentication
TABLE
}

missing() {
    local program package why
    while read -r program package why; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || echo "$program $package $why"
    done < <(needs)
}

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

lacking=$(missing)
[ -n "$lacking" ] || { echo "lab: nothing to install"; exit 0; }
while read -r program package why; do
    echo "lab: needs $program (package $package): $why"
done <<<"$lacking"
[ "${1:-}" != --check ] || exit 1

[ "$(id -u)" = 0 ] || fail "installing packages needs root" "run it with sudo, or install the packages above yourself"
command -v apt-get >/dev/null || fail "no apt-get here" "install the programs above with this system's package manager"

# Debian starts a service when its package is installed; an engine or registry of the system's would
# be in the lab's way. A policy of our own refuses that; an existing one is put back afterwards.
policy=/usr/sbin/policy-rc.d
saved=$(mktemp -d)
[ ! -e "$policy" ] || cp -p "$policy" "$saved/policy-rc.d"
restore_policy() {
    if [ -e "$saved/policy-rc.d" ]; then cp -p "$saved/policy-rc.d" "$policy"; else rm -f "$policy"; fi
    rm -rf "$saved"
}
trap restore_policy EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp -t windlass-lab-install.XXXXXX)
mapfile -t packages < <(awk '{print $2}' <<<"$lacking" | sort -u)
apt() {
    timeout 600 apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" >>"$log" 2>&1 ||
        { tail -n 15 "$log" >&2; fail "apt-get $1 failed, see $log" "check the network and /etc/apt/sources.list"; }
}
apt update
apt install --yes --no-install-recommends "${packages[@]}"
rm -f "$log"

still=$(missing)
[ -z "$still" ] || fail "still missing after the installation: $(awk '{print $1}' <<<"$still" | paste -sd' ')" \
    "the packages are installed but their programs are not in PATH"
echo "lab: installed ${packages[*]}"
