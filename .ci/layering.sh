#!/usr/bin/env bash
# Checks the rules about who may know whom that the compiler does not check by itself:
#   - a crate depends on no crate of ours beyond its layer
#   - only server::store::sled names sled, only agent::runtime::docker names bollard
#   - core has neither tokio nor any other way to do I/O
#   - no crash point (process/src/crash.rs) stands where something is verified or a policy applied, and no program that
#     is shipped has any
#   - main.rs has at most 60 lines, and no source file more than 500 (tests excluded)
#   - no function's name has more than 60 characters, and the tests that the documents name exist
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

failed=0
bad() {
    echo "layering: $1" >&2
    failed=1
}

# crate, then which of ours it may depend on; tests of a crate may use the testkit beside these
layers() {
    cat <<'TABLE'
windlass-core
windlass-process
windlass-proto windlass-core
windlass-certs windlass-core
windlass-ingress windlass-core windlass-process
windlass-server windlass-core windlass-proto windlass-certs windlass-process
windlass-agent windlass-core windlass-proto windlass-certs windlass-ingress windlass-process
windlass-ctl windlass-core windlass-proto windlass-certs windlass-process
windlass-testkit windlass-core windlass-certs
windlass-sim windlass-core windlass-certs windlass-proto windlass-server windlass-agent windlass-testkit
windlass-tests windlass-core windlass-proto windlass-certs windlass-process windlass-server windlass-agent windlass-ctl windlass-testkit
TABLE
}

metadata=$(cargo metadata --no-deps --format-version 1 --locked)
while read -r crate; do
    allowed=$(layers | awk -v crate="$crate" '$1 == crate { $1 = ""; print }')
    layers | grep -q "^$crate\b" || bad "crate $crate is not in the table of .ci/layering.sh"
    for other in $(jq -r --arg crate "$crate" '.packages[] | select(.name == $crate) | .dependencies[]
        | select(.name | startswith("windlass-")) | select(.kind != "dev" or .name != "windlass-testkit") | .name' <<<"$metadata"); do
        [[ " $allowed " == *" $other "* ]] || bad "$crate depends on $other"
    done
done < <(jq -r '.packages[].name' <<<"$metadata")

# Who names a library, whatever the spelling of the path.
names() { # LIBRARY FILES-THAT-MAY
    local found
    found=$(grep -rlE "(^|[^a-z_:\"])$1::|^ *(pub )?use $1\b" --include='*.rs' ./*/src | grep -vE "$2" || true)
    [ -z "$found" ] || bad "only ${2//[\\^]/} may name $1, but: $found"
}
names sled '^\./server/src/store/sled(\.rs|/)'
names bollard '^\./agent/src/runtime/docker(\.rs|/)'

tree=$(cargo tree --locked --quiet -p windlass-core --edges normal --prefix none --format '{p}')
for library in tokio tonic hyper reqwest; do
    ! grep -q "^$library " <<<"$tree" || bad "core can do I/O: it depends on $library"
done

# Crash points: in no crate that verifies, in no module that verifies or applies a policy.
verifying=(core/src certs/src proto/src agent/src/verify* agent/src/policy* agent/src/guard*
    server/src/authority.rs server/src/trust.rs server/src/releases* server/src/grpc/access*
    server/src/enrolment/*.rs ctl/src)
found=$(grep -rlE 'crash_points!|crash::|crash-points' --include='*.rs' "${verifying[@]}" || true)
[ -z "$found" ] || bad "crash points have no place in: $found"
# Only the tests' own feature asks for them, by nobody's default.
asked=$(jq -r '.packages[] | .name as $crate | .features | to_entries[] | .key as $feature
    | select(any(.value[]; test("crash-points|rustix/process"))) | "\($crate)/\($feature)"' <<<"$metadata" | sort | tr '\n' ' ')
wanted="windlass-agent/crash-points windlass-process/crash-points windlass-server/crash-points windlass-tests/crash-points "
[ "$asked" = "$wanted" ] || bad "features that ask for crash points: $asked"
asked=$(jq -r '.packages[] | .name as $crate | .dependencies[] | select(any(.features[]; test("crash-points"))) | $crate' <<<"$metadata")
[ -z "$asked" ] || bad "a dependency asks for crash points in: $asked"
found=$(grep -rl 'crash-points' --exclude-dir=target --exclude-dir=.git . |
    grep -vE '^\./(\.ci/(layering|engine-tests)\.sh|Makefile|(agent|process|server|tests)/|docs/|ARCHITECTURE\.md)' || true)
[ -z "$found" ] || bad "crash points are asked for in: $found"
# One room asks which strategy a release has, and one file writes a slot.
found=$(grep -rl 'Strategy::' core/src/rollout --include='*.rs' | grep -vE '/(strategy\.rs|tests/)' || true)
[ -z "$found" ] || bad "a match on the strategy outside of core/src/rollout/strategy.rs: $found"
found=$(grep -rlE '&mut (crate::slot::)?Slot\b|(target|other)\.(run|release|generation|gpus|until) = ' core/src --include='*.rs' |
    grep -vE '^core/src/(slot/(change|model|stored|tests)\.rs|recovery/service\.rs|.*/tests(/|\.rs))' || true)
[ -z "$found" ] || bad "a second writer of a slot: $found"
for program in windlass windlass-server windlass-agent; do
    built=${CARGO_TARGET_DIR:-target}/release/$program # those in debug/ are built with the tests, points and all
    if [ -f "$built" ] && grep -q WINDLASS_CRASH_AT "$built"; then bad "$built has crash points"; fi
done

while read -r lines file; do
    case $file in
        total | */tests.rs | */tests/*) ;;
        */main.rs) [ "$lines" -le 60 ] || bad "$file has $lines lines, more than 60" ;;
        *) [ "$lines" -le 500 ] || bad "$file has $lines lines, more than 500" ;;
    esac
done < <(find ./*/src -name '*.rs' -exec wc -l {} +)

long=$(git grep -hoE '\bfn [a-z0-9_]{61,}' -- '*.rs' || true)
[ -z "$long" ] || bad "names of more than 60 characters: $long"
functions=$(git grep -hoE '\bfn [a-z0-9_]+' -- '*.rs' | sed 's/^fn //' | sort -u)
for document in docs/reliability.md docs/simulation.md docs/formats.md; do
    # shellcheck disable=SC2016 # the backquotes are those of the document
    named=$(grep -oE '`([a-z_]+::)*[a-z0-9]+(_[a-z0-9]+){4,}`' "$document" | tr -d '`' | sed 's/.*:://' | sort -u)
    gone=$(comm -23 <(echo "$named") <(echo "$functions"))
    [ -z "$gone" ] || bad "$document names what is no function: $gone"
done

[ "$failed" = 0 ] || exit 1
echo "layering: every rule holds"
