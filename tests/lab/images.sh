#!/usr/bin/env bash
# Builds the sample service as a static binary, makes one image per case of it, and pushes them.
#
#   images.sh [--registry HOST:PORT] [--auth USER:PASSWORD] [--socket SOCKET]... [--pad MIB] [--only TAG,...] [--tree TAG=FOLDER]
#
# Needs no engine and no base image: an image is a tarball, a configuration and a manifest, all written
# here, so that digests are the same on every run. All images share one layer. Without --registry, the
# lab's own is used; --socket also loads them into an engine as web:v1 and so on. --pad adds a layer of
# random bytes as `web:padded`, for pulls that take their time; --only makes some of the images; --tree pushes one image alone: the sample
# service, and over it what lies in a folder.
# Prints one line per image: `web:v1 sha256:<digest of its manifest>`.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=lib/base.sh
. "$here/lib/base.sh"
root=$(readlink -f "$here/../..")

# tag, then what its environment says; the variables are explained in README.md
images() {
    awk -v only="$only" 'only == "" || index("," only ",", "," $1 ",")' <<'TABLE'
v1 VERSION=v1
v2 VERSION=v2
v3 VERSION=v3 NEVER_READY=1
v4 VERSION=v4
crash VERSION=crash EXIT_AT_START=1
crash20 VERSION=crash20 EXIT_AFTER_MS=20000
oom VERSION=oom HOG_MEMORY_MB=4096 HOG_AFTER_MS=1000
unready20 VERSION=unready20 UNREADY_AFTER_MS=20000
errors VERSION=errors FAIL_PERCENT=30
slow VERSION=slow LATENCY_MS=700
stubborn VERSION=stubborn IGNORE_SIGTERM=1
checked VERSION=checked
TABLE
}

SYNOPSIS='[--registry HOST:PORT] [--auth USER:PASSWORD] [--socket SOCKET]... [--pad MIB] [--only TAG,...] [--tree TAG=FOLDER]'
registry='' pad='' only='' tree='' sockets=() login=()
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage "$SYNOPSIS"
    case $1 in
        --registry) registry=$2 ;;
        --auth) login=(--user "$2") ;;
        --socket) sockets+=("$2") ;;
        --pad) pad=$2 ;;
        --only) only=$2 ;;
        --tree) tree=$2 ;;
        *) usage "$SYNOPSIS" ;;
    esac
    shift 2
done
if [ -z "$registry" ]; then
    registry=$(sed -n 's/^REGISTRY=//p' "$LAB"/registry/5000/registry.env 2>/dev/null || true)
    [ -n "$registry" ] || [ ${#sockets[@]} -gt 0 ] || fail "no registry runs in the lab" "start it with tests/lab/registry.sh up"
fi
require_programs curl jq tar gzip sha256sum

work=$(mktemp -d -t windlass-images.XXXXXX)
trap 'rm -rf "$work"' EXIT

digest() { sha256sum "$1" | cut -d' ' -f1; }

build() {
    local triple target
    require_programs cargo
    triple=$(rustc --version --verbose | sed -n 's/^host: //p')
    target=${CARGO_TARGET_DIR:-$root/target}/sample
    # --target keeps the flag away from build scripts, and the flag makes the binary need no libc.
    (cd "$root/tests/sample" && RUSTFLAGS='-C target-feature=+crt-static' timeout 300 \
        cargo build --quiet --release --locked --target "$triple" --target-dir "$target")
    mkdir -p "$work/root/tmp"
    cp "$target/$triple/release/web" "$work/root/web"
    chmod 755 "$work/root/web"
    ln -s web "$work/root/python" # a model's image is asked to run `python -m app.test_prediction`
    chmod 1777 "$work/root/tmp"
}

# Packs a folder as a layer NAME.tar and NAME.tar.gz, the same bytes for the same content.
layer() { # NAME FOLDER
    tar --create --file "$work/$1.tar" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$2" .
    gzip --no-name --keep -1 "$work/$1.tar"
}

# Writes TAG.json, the image's configuration, over the layers given.
configuration() { # TAG VARIABLES LAYER...
    local tag=$1 variables=$2 architecture layers one
    shift 2
    case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
    layers=$(for one in "$@"; do echo "sha256:$(digest "$work/$one.tar")"; done)
    jq --null-input --compact-output --arg architecture "$architecture" --arg variables "PATH=/ PORT=8080 $variables" --arg layers "$layers" '{
        architecture: $architecture, os: "linux", created: "1970-01-01T00:00:00Z",
        config: { Env: ($variables | split(" ")), Entrypoint: ["/web"], ExposedPorts: { "8080/tcp": {} }, WorkingDir: "/" },
        rootfs: { type: "layers", diff_ids: ($layers | split("\n")) }
    }' >"$work/$tag.json"
    # The one image that says itself how it does.
    if [ "$tag" = checked ]; then
        jq --compact-output '.config.Healthcheck = { Test: ["CMD", "/web", "probe", "/health/live"],
            Interval: 1000000000, Timeout: 3000000000, Retries: 1 }' "$work/$tag.json" >"$work/$tag.new"
        mv "$work/$tag.new" "$work/$tag.json"
    fi
}

v2() { curl --silent --show-error --fail --max-time 120 "${login[@]}" "$@"; }

push_blob() { # FILE
    local url=http://$registry/v2/web/blobs sum location
    sum=sha256:$(digest "$1")
    v2 --output /dev/null --head "$url/$sum" 2>/dev/null && return
    location=$(v2 --output /dev/null --dump-header - --request POST "$url/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    v2 --output /dev/null --request PUT --header 'Content-Type: application/octet-stream' --upload-file "$1" "$location&digest=$sum"
}

descriptor() { # FILE TYPE
    jq --null-input --compact-output --arg type "application/vnd.docker.$2" --argjson size "$(stat -c %s "$1")" \
        --arg digest "sha256:$(digest "$1")" '{ mediaType: $type, size: $size, digest: $digest }'
}

# Pushes one image, reads its digest back, and prints it.
push() { # TAG LAYER...
    local tag=$1 type=application/vnd.docker.distribution.manifest.v2+json layers='' stored one
    shift
    for one in "$@"; do layers+=$(descriptor "$work/$one.tar.gz" image.rootfs.diff.tar.gzip); done
    jq --null-input --arg type "$type" --argjson config "$(descriptor "$work/$tag.json" container.image.v1+json)" \
        --slurpfile layers <(echo "$layers") \
        '{ schemaVersion: 2, mediaType: $type, config: $config, layers: $layers }' >"$work/$tag.manifest"
    push_blob "$work/$tag.json"
    v2 --output /dev/null --request PUT --header "Content-Type: $type" --upload-file "$work/$tag.manifest" "http://$registry/v2/web/manifests/$tag"
    stored=$(v2 --head --header "Accept: $type" "http://$registry/v2/web/manifests/$tag" | tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p')
    [ "$stored" = "sha256:$(digest "$work/$tag.manifest")" ] || fail "the registry stored web:$tag as \`$stored\`" "is something between here and $registry?"
    echo "web:$tag $stored"
}

build
layer base "$work/root"
if [ -n "$tree" ]; then
    tag=${tree%%=*}
    layer tree "${tree#*=}"
    configuration "$tag" "VERSION=$tag" base tree
    push_blob "$work/base.tar.gz"
    push_blob "$work/tree.tar.gz"
    push "$tag" base tree
    exit 0
fi
while read -r tag variables; do
    configuration "$tag" "$variables" base
done < <(images)
if [ -n "$pad" ]; then
    mkdir "$work/padding"
    head -c "$((pad * 1024 * 1024))" /dev/urandom >"$work/padding/padding"
    layer padding "$work/padding"
    configuration padded VERSION=padded base padding
fi

if [ -n "$registry" ]; then
    push_blob "$work/base.tar.gz"
    while read -r tag _; do push "$tag" base; done < <(images)
    if [ -n "$pad" ]; then
        push_blob "$work/padding.tar.gz"
        push padded base padding
    fi
fi

if [ ${#sockets[@]} -gt 0 ]; then
    while read -r tag _; do
        jq --null-input --arg tag "$tag" '{ Config: "\($tag).json", RepoTags: ["web:\($tag)"], Layers: ["base.tar"] }'
    done < <(images) | jq --slurp . >"$work/manifest.json"
    mapfile -t configurations < <(images | awk '{print $1 ".json"}')
    tar --create --file "$work/images.tar" -C "$work" manifest.json base.tar "${configurations[@]}"
    for socket in "${sockets[@]}"; do
        v2 --output "$work/answer" --unix-socket "$socket" --header 'Content-Type: application/x-tar' --upload-file "$work/images.tar" \
            --request POST 'http://engine/images/load?quiet=1' || fail "the engine at $socket did not load the images" ""
        say "loaded $(images | wc -l) images into $socket"
    done
fi
