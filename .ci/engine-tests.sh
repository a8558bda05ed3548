#!/usr/bin/env bash
# The real-engine scenarios, one at a time, against the release binaries. Says what it installs, and what it
# leaves out and why. Arguments go to the test runner (a name selects scenarios).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export WINDLASS_LAB=${WINDLASS_LAB:-/var/tmp/windlass-tests} WINDLASS_LAB_NET=${WINDLASS_LAB_NET:-10.214.0}

left_out() {
    echo "LEFT OUT: the real-engine scenarios (tests/tests), $(grep -rc '^#\[test\]' tests/tests | awk -F: '{n += $2} END {print n}') of them, because $1"
    exit 0
}

[ "$(uname)" = Linux ] || left_out "this is not Linux"
[ "$(id -u)" = 0 ] || left_out "this is not root: they make network namespaces and start engines (sudo make test-engine)"
tests/lab/install.sh

clean() { tests/lab/lab.sh down >/dev/null && rm -rf "$WINDLASS_LAB/fleets"; }
trap clean EXIT
trap 'exit 130' INT TERM
code=0
tests/lab/host.sh up probe 200 >/dev/null || code=$?
[ "$code" != 3 ] || left_out "this machine does not permit them, as said above"
[ "$code" = 0 ] || exit "$code"
tests/lab/host.sh down probe

if command -v cargo-nextest >/dev/null; then
    cargo nextest run --locked -p windlass-tests --tests "$@"
else
    cargo test --locked -p windlass-tests --tests -- --test-threads=1 "$@"
fi
