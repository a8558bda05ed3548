#!/usr/bin/env bash
# Runs one command while another one runs: scenarios wait most of the time, and the simulation never does.
#
#     .ci/beside.sh "make sim" "make test-engine"
#
# The first one gets the processors that the second leaves, and its output comes at the end. Fails if either fails.
set -uo pipefail
[ $# = 2 ] || { echo "usage: .ci/beside.sh \"BESIDE\" \"COMMAND\"" >&2; exit 2; }
said=$(mktemp)
trap 'rm -f "$said"' EXIT
nice -n 19 bash -c "$1" >"$said" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null; exit 130' INT TERM
code=0
bash -c "$2" || code=$?
echo "waiting for: $1"
wait "$beside" || { echo "failed: $1" >&2; [ "$code" != 0 ] || code=1; }
cat "$said"
exit "$code"
