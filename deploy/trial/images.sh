#!/usr/bin/env bash
# Makes the images of docker-compose.yml on this machine's engine (or that of DOCKER_HOST). Pulls nothing: an image is a
# folder with programs of this machine and the libraries that they name.
#
#   deploy/trial/images.sh      from target/release, which `make release` fills; WINDLASS_BIN=FOLDER for other programs
#
#   localhost/windlass-base         busybox and the libraries of our programs; what deploy/Dockerfile builds upon
#   localhost/windlass              deploy/Dockerfile: windlass, windlass-server, windlass-agent
#   localhost/windlass-host         a host of the trial: Docker Engine and windlass-agent, with host.sh
#   localhost/windlass-registry     Debian's docker-registry
#   localhost/windlass-prometheus   Debian's prometheus
#
# May be repeated: an image whose programs have not changed stays as it is. Prints one line per image.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$here/../..")
bin=$(readlink -f "${WINDLASS_BIN:-$root/target/release}")
PATH=$PATH:/usr/sbin:/sbin

fail() { # MESSAGE HINT
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

# program, Debian package
while read -r program package; do
    command -v "$program" >/dev/null || fail "\`$program\` is not installed" "apt-get install $package"
done <<'TABLE'
docker docker.io
dockerd docker.io
containerd containerd
runc runc
iptables iptables
docker-registry docker-registry
prometheus prometheus
busybox busybox-static
tar tar
TABLE
for program in windlass windlass-server windlass-agent; do
    [ -x "$bin/$program" ] || fail "$bin/$program is not there" "\`make release\` builds it"
done
docker version >/dev/null 2>&1 || fail "no Docker Engine answers" "start one, or name it with DOCKER_HOST"

work=$(mktemp -d -t windlass-trial.XXXXXX)
trap 'rm -rf "$work"' EXIT

# Copies the libraries that programs name, each to where it is on this machine; a static one names none.
pack_libraries() { # FOLDER PROGRAM...
    local folder=$1 libraries
    shift
    mapfile -t libraries < <({ ldd "$@" 2>/dev/null || true; } |
        awk '$2 == "=>" && $3 ~ "^/" { print $3 } NF == 2 && $1 ~ "^/" { print $1 }' | sort -u)
    copy "$folder" "${libraries[@]}"
}

# The same for files themselves, with what they need.
pack() { # FOLDER FILE...
    copy "$@"
    pack_libraries "$@"
}

copy() { # FOLDER FILE...
    local folder=$1
    shift
    [ $# = 0 ] || cp --parents --dereference --preserve=timestamps "$@" "$folder"
}

# Every image begins as a folder with a shell, and with what libc asks for names and certificates.
empty=$work/empty
mkdir -p "$empty"/{bin,etc/ssl/certs,root,run,tmp,usr/local/bin,var/lib,var/tmp}
chmod 1777 "$empty/tmp" "$empty/var/tmp"
ln -s ../run "$empty/var/run"
cp --dereference "$(command -v busybox)" "$empty/bin/busybox"
pack_libraries "$empty" "$(command -v busybox)" # of the one that is not static
for applet in $("$empty/bin/busybox" --list); do
    [ -e "$empty/bin/$applet" ] || ln -s busybox "$empty/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$empty/etc/passwd"
printf 'root:x:0:\ndocker:x:999:\n' >"$empty/etc/group"
echo 'hosts: files dns' >"$empty/etc/nsswitch.conf"
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp --dereference /etc/ssl/certs/ca-certificates.crt "$empty/etc/ssl/certs/"
find "$empty" -type f -exec touch --date=@0 {} + # the same each time

new_root() { # NAME
    cp --archive "$empty" "$work/$1"
    echo "$work/$1"
}

# What tells one version of a folder from another: names, sizes and times, as reading half a gigabyte takes long.
fingerprint() { (cd "$1" && find -L . -type f -printf '%P %s %T@\n' | sort | sha256sum | cut -d' ' -f1); }

is_there() { # NAME FINGERPRINT
    [ "$(docker image inspect --format '{{index .Config.Labels "windlass.fingerprint"}}' "$1" 2>/dev/null)" = "$2" ]
}

# Makes an image of a folder, unless the engine has it.
image() { # NAME FOLDER INSTRUCTION...
    local name=$1 folder=$2 print changes=() one
    shift 2
    print=$(fingerprint "$folder")
    if is_there "$name" "$print"; then
        echo "$name: unchanged"
        return
    fi
    for one in "$@" "LABEL windlass.fingerprint=$print" \
        'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'; do changes+=(--change "$one"); done
    tar --create --sort=name --owner=0 --group=0 --numeric-owner -C "$folder" . | docker import "${changes[@]}" - "$name" >/dev/null
    echo "$name: made, $(du -sm "$folder" | cut -f1) MiB"
}

base=$(new_root base)
pack_libraries "$base" "$bin/windlass" "$bin/windlass-server" "$bin/windlass-agent"
image localhost/windlass-base "$base" 'CMD ["sh"]'

# The Dockerfile, as a person would build it with another base; its context is made of what it copies.
context=$work/context
mkdir -p "$context/deploy" "$context/target/release"
ln -s "$root/deploy/Dockerfile" "$context/deploy/"
for program in windlass windlass-server windlass-agent; do
    ln -s "$bin/$program" "$context/target/release/"
done
print=$(fingerprint "$context")-$(fingerprint "$base")
if is_there localhost/windlass "$print"; then
    echo "localhost/windlass: unchanged"
else
    tar --create --dereference -C "$context" . | docker build --quiet --file deploy/Dockerfile --build-arg BASE=localhost/windlass-base \
        --label "windlass.fingerprint=$print" --tag localhost/windlass - >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        fail "deploy/Dockerfile does not build" "see above"
    }
    echo "localhost/windlass: made from deploy/Dockerfile"
fi

host=$(new_root host)
# What an engine runs, and what iptables loads.
programs=()
for program in dockerd docker-init docker-proxy containerd containerd-shim-runc-v2 runc iptables ip6tables; do
    programs+=("$(command -v "$program")")
done
pack "$host" "${programs[@]}" /usr/lib/*/xtables/*.so
pack_libraries "$host" "$bin/windlass-agent"
cp --preserve=timestamps "$bin/windlass-agent" "$host/usr/local/bin/"
copy "$host" /etc/os-release # which the engine reports
cp --preserve=timestamps "$here/host.sh" "$host/usr/local/bin/windlass-host"
image localhost/windlass-host "$host" 'CMD ["windlass-host"]'

registry=$(new_root registry)
pack "$registry" "$(command -v docker-registry)"
image localhost/windlass-registry "$registry" 'CMD ["docker-registry", "serve", "/etc/registry.yml"]'

prometheus=$(new_root prometheus)
pack "$prometheus" "$(command -v prometheus)"
image localhost/windlass-prometheus "$prometheus" \
    'CMD ["prometheus", "--config.file=/etc/prometheus.yml", "--storage.tsdb.path=/prometheus"]'
