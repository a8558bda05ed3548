#!/usr/bin/env bash
# Runs fuzz targets, each for so many seconds, from the seeds and what earlier runs found.
#
#   tests/fuzz/run.sh [SECONDS] [TARGET]...     default: 30 seconds each, every target
#
# Exit code 1 if one of them found something; its input is then in tests/fuzz/artifacts/TARGET.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

seconds=${1:-30}
shift || true
[[ $seconds =~ ^[0-9]+$ ]] || {
    echo "usage: run.sh [SECONDS] [TARGET]..." >&2
    exit 2
}
command -v cargo-fuzz >/dev/null || {
    echo "cargo-fuzz is missing; it takes some minutes: cargo install cargo-fuzz --locked" >&2
    exit 2
}
# Sanitizers are an unstable flag; this lets the toolchain that builds everything else take it.
export RUSTC_BOOTSTRAP=1

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir .)

# Seeds that lie elsewhere in the repository.
seeds_of() { # TARGET
    echo "seeds/$1"
    case $1 in
        envelope | trust_chain) echo ../../certs/tests/vectors ;;
        manifest) echo ../../examples ;;
    esac
}

failed=()
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    folders=()
    for folder in $(seeds_of "$target"); do
        [ ! -d "$folder" ] || folders+=("$folder")
    done
    echo "== $target, $seconds s"
    # 256 MiB is more than any parser of ours may need; 5 s is an eternity for one input.
    cargo fuzz run --fuzz-dir . "$target" "corpus/$target" "${folders[@]}" -- \
        -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=256 -max_len=65536 -verbosity=0 \
        -print_final_stats=1 || failed+=("$target")
done
[ ${#failed[@]} = 0 ] || {
    echo "FOUND something: ${failed[*]}; see tests/fuzz/artifacts" >&2
    exit 1
}
echo "nothing found in ${#targets[@]} targets"
