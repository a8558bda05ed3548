#!/usr/bin/env bash
# Never run on a real NVIDIA GPU yet: none was at hand. It runs with the stand-ins of this folder in `agent/tests/gpu/` (inventory,
# cost) and in the scenario `gpus_of_two_hosts_are_filled_within_bounds` (a hang, under an agent that runs). The memory of
# a program that allocates has been tried with neither.
#
# On a host with real NVIDIA GPUs: the probe of the agent sees the GPUs that nvidia-smi lists, a look costs little, a hang is
# noticed, memory is accounted for. Builds nothing, changes nothing, ends what it starts; at most ten minutes.
#
#   tests/gpu/real.sh [PATH/windlass-agent]
#
# With an agent that runs on this host (give its folder in WINDLASS_DATA, default /var/lib/windlass/agent) also: its probe is stopped
# by SIGSTOP, and it has to say so, replace it, and be right again. With PyTorch also: 1 GiB is allocated and has to be seen.
# Exit codes: 0 all that could be checked holds, 1 something does not, 2 wrong usage, 3 no GPU here.
set -euo pipefail

agent=${1:-windlass-agent}
data=${WINDLASS_DATA:-/var/lib/windlass/agent}
deadline=$((SECONDS + 570))
failed=0

say() { printf '%-6s %s\n' "$1" "$2"; }
ok() { say ok "$1"; }
skip() { say skip "$1"; }
bad() {
    say FAIL "$1"
    failed=1
}

command -v jq >/dev/null || { echo "jq is missing" >&2; exit 2; }
command -v "$agent" >/dev/null || { echo "usage: $0 [PATH/windlass-agent]: \`$agent\` is no program" >&2; exit 2; }
command -v nvidia-smi >/dev/null || { echo "there is no nvidia-smi here, so no GPU" >&2; exit 3; }

# So many looks by one probe process, a line of JSON each.
looks() { # COUNT
    for _ in $(seq "$1"); do echo '"look"'; done | timeout 120 "$agent" gpu-probe
}

# --- inventory against nvidia-smi
smi=$(nvidia-smi --query-gpu=uuid,memory.total --format=csv,noheader,nounits | tr -d ' ' | sort)
[ -n "$smi" ] || { echo "nvidia-smi lists no GPU" >&2; exit 3; }
first=$(looks 1)
divided=$(jq -r '.seen.divided[]' <<<"$first")
seen=$(jq -r '.seen.gpus[] | select(.parent == null) | "\(.uuid),\(.memory / 1048576 | floor)"' <<<"$first" | sort)
wanted=$(while IFS=, read -r uuid memory; do
    grep -qxF "$uuid" <<<"$divided" || echo "$uuid,$memory"
done <<<"$smi")
if [ "$seen" = "$wanted" ]; then
    ok "inventory: $(wc -l <<<"$smi") GPUs as nvidia-smi lists them"
else
    bad "inventory: the probe sees [$(tr '\n' ' ' <<<"$seen")], nvidia-smi lists [$(tr '\n' ' ' <<<"$wanted")]"
fi
if [ -n "$divided" ]; then
    mig=$(nvidia-smi -L | grep -o 'MIG-[^)]*' | sort)
    ours=$(jq -r '.seen.gpus[] | select(.parent != null) | .uuid' <<<"$first" | sort)
    if [ "$mig" = "$ours" ]; then ok "inventory: MIG instances as nvidia-smi lists them"; else bad "inventory: MIG [$ours], nvidia-smi [$mig]"; fi
else
    skip "inventory: no GPU is in MIG mode"
fi

# --- what a look costs: 200 of them by one process
coproc PROBE { exec "$agent" gpu-probe; }
probe=$PROBE_PID
trap 'kill "$probe" 2>/dev/null || true' EXIT
ask() {
    echo '"look"' >&"${PROBE[1]}"
    IFS= read -r -t 60 answer <&"${PROBE[0]}"
}
ticks() { awk '{ print $14 + $15 }' "/proc/$probe/stat"; }
ask
before=$(ticks)
begun=$(date +%s%N)
for _ in $(seq 200); do ask; done
each=$((($(date +%s%N) - begun) / 200000))
cpu=$((($(ticks) - before) * 1000000 / $(getconf CLK_TCK) / 200))
memory=$(awk '/^VmRSS/ { print $2 }' "/proc/$probe/status")
say figure "a look takes $each us, of that $cpu us of processor; the probe has $((memory / 1024)) MiB"
# Every 5 s: a tenth of a percent of a core is 5 ms.
if [ "$cpu" -le 50000 ]; then ok "cost: at most 1 % of a core at a look every 5 s"; else bad "cost: $cpu us of processor for a look"; fi

# --- memory while a program allocates
if command -v python3 >/dev/null && timeout 60 python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    uuid=$(head -n 1 <<<"$seen" | cut -d, -f1)
    used() { jq --arg uuid "$uuid" '.seen.stats[] | select(.uuid == $uuid) | .memory_used' <<<"$answer"; }
    ask
    idle=$(used)
    CUDA_VISIBLE_DEVICES=$uuid timeout 120 python3 -c '
import time, torch
held = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
time.sleep(60)' &
    allocates=$!
    trap 'kill "$probe" "$allocates" 2>/dev/null || true' EXIT
    grown=no
    until [ $grown = yes ] || [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$allocates" 2>/dev/null; do
        ask
        if [ $(($(used) - idle)) -ge $((1 << 30)) ]; then grown=yes; fi
        sleep 0.5
    done
    if [ $grown = yes ]; then ok "memory: 1 GiB that a program allocates is seen"; else bad "memory: 1 GiB was allocated, and $(($(used) - idle)) bytes are seen"; fi
    pids=$(jq -r --arg uuid "$uuid" '.seen.stats[] | select(.uuid == $uuid) | .processes[]?.pid' <<<"$answer")
    if [ -n "$pids" ]; then ok "memory: its process is listed"; else bad "memory: no process is listed"; fi
    kill "$allocates" 2>/dev/null || true
    wait "$allocates" 2>/dev/null || true
else
    skip "memory: there is no PyTorch with CUDA here"
fi

# --- a probe that hangs, under an agent that runs
# shellcheck disable=SC2317 # called by `within`
silences() { "$agent" inventory --data "$data" -o json | jq -e "[.facts.silent[]? | select(.what == \"GPUs\")] | length $1" >/dev/null; }
child() { # of the agent: its probe; any of the agent's threads may have begun it
    local pid
    # shellcheck disable=SC2013 # words, not lines
    for pid in $(cat "/proc/$1"/task/*/children 2>/dev/null); do
        if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q ' gpu-probe'; then echo "$pid"; fi
    done
}
within() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    [ "$end" -le "$deadline" ] || end=$deadline
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 1
    done
}
running=$(jq -r '.pid // empty' "$data/status.json" 2>/dev/null || true)
hung=$(if [ -n "$running" ]; then child "$running" | head -n 1; fi)
if [ -n "$hung" ] && ! "$agent" inventory --data "$data" -o json >/dev/null; then
    bad "hang: \`$agent inventory\` does not say how the agent is, see above"
elif [ -n "$hung" ]; then
    # shellcheck disable=SC2317 # called by `within`
    replaced() { [ -n "$(child "$running")" ] && [ "$(child "$running" | head -n 1)" != "$hung" ]; }
    # A probe that is replaced at once leaves no time to read that the GPUs are silent.
    # shellcheck disable=SC2317 # called by `within`
    noticed() { silences '> 0' || replaced; }
    kill -STOP "$hung"
    if within 40 noticed; then ok "hang: the agent notices"; else bad "hang: nothing comes of it for 40 s"; fi
    if within 90 replaced; then ok "hang: the probe is replaced"; else bad "hang: the probe is not replaced"; fi
    if within 90 silences '== 0'; then ok "hang: it is right again"; else bad "hang: the GPUs stay silent"; fi
    kill -CONT "$hung" 2>/dev/null || true
else
    skip "hang: no agent with GPUs runs here with its folder $data"
fi
exit $failed
