#!/usr/bin/env bash
# The real-engine scenarios, three at a time, each in a lab of its own, against the release binaries. Says what it
# installs, and what it leaves out and why. Arguments go to the test runner (a name selects scenarios).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export WINDLASS_LAB=${WINDLASS_LAB:-/var/tmp/windlass-tests} WINDLASS_LAB_NET=${WINDLASS_LAB_NET:-10.214.0}
export WINDLASS_LAB_LANES=${WINDLASS_LAB_LANES:-3} # a scenario mostly waits; with more, two processors are all taken

left_out() {
    echo "LEFT OUT: the real-engine scenarios (tests/tests), $(grep -rc '^#\[test\]' tests/tests | awk -F: '{n += $2} END {print n}') of them, because $1"
    exit 0
}

[ "$(uname)" = Linux ] || left_out "this is not Linux"
[ "$(id -u)" = 0 ] || left_out "this is not root: they make network namespaces and start engines (sudo make test-engine)"
tests/lab/install.sh

clean() {
    local lane folder=$WINDLASS_LAB net=$WINDLASS_LAB_NET
    for lane in $(seq 0 $((WINDLASS_LAB_LANES - 1))); do
        [ "$lane" = 0 ] || folder=$WINDLASS_LAB-$lane net=${WINDLASS_LAB_NET%.*}.$((${WINDLASS_LAB_NET##*.} + lane))
        WINDLASS_LAB=$folder WINDLASS_LAB_NET=$net tests/lab/lab.sh down >/dev/null && rm -rf "$folder/fleets"
    done
}
trap clean EXIT
trap 'exit 130' INT TERM
code=0
tests/lab/host.sh up probe 200 >/dev/null || code=$?
[ "$code" != 3 ] || left_out "this machine does not permit them, as said above"
[ "$code" = 0 ] || exit "$code"
tests/lab/host.sh down probe

features=windlass-tests/crash-points tests='package(windlass-tests)'
if [ -n "${WINDLASS_LONG:-}" ]; then
    features+=,windlass-tests/long tests='binary(long)'
fi
# With what dies at named points (`tests/tests/crash`), a feature of the tests alone, beside the programs that are shipped.
# Selected and built like the unit tests, see TESTED in the Makefile.
if command -v cargo-nextest >/dev/null; then
    cargo nextest run --locked --workspace --features "$features" --test-threads "$WINDLASS_LAB_LANES" -E "$tests" "$@"
else
    cargo test --locked -p windlass-tests --features "$features" --tests -- --test-threads="$WINDLASS_LAB_LANES" "$@"
fi
