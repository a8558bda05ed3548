# shellcheck shell=bash disable=SC2154,SC2004
# Requests through an ingress, two clients with 250 a second each, and a count of those that were lost. Needs `folder`,
# `pids` and `say` of the demo.

load_begin() { # ADDRESS:PORT
    local client
    for client in load-1 load-2; do
        rm -f "$folder/$client.answers"
        curl --silent --max-time 600 --rate 250/s --header 'Host: web.demo' --write-out ' %{http_code}\n' \
            "http://$1/version?[1-1000000]" >"$folder/$client.answers" 2>/dev/null &
        pids[$client]=$!
    done
}

# The answers so far: how many of each version, and how many requests were lost.
load_count() {
    local client
    # The request under way is no answer yet.
    for client in load-1 load-2; do head -n -1 "$folder/$client.answers"; done | awk '
        / 200$/ { if (match($0, /"v[0-9]+"/)) seen[substr($0, RSTART + 1, RLENGTH - 2)]++; all++; next }
        { lost++ }
        END { for (version in seen) printf "%s %d, ", version, seen[version]; printf "%d in all, %d lost\n", all, lost }'
}

load_kill() {
    local client
    for client in load-1 load-2; do
        kill "${pids[$client]}" 2>/dev/null || true
        wait "${pids[$client]}" 2>/dev/null || true
        unset "pids[$client]"
    done
}

# Ends the load, and says how many answers had which status.
load_stop() {
    load_kill
    say "answers by status: $(cat "$folder"/load-?.answers | awk '/ [0-9][0-9][0-9]$/ { seen[$NF]++ } END { for (status in seen) printf "%s: %d  ", status, seen[status] }')"
}

# Ends the load, says what it saw, and fails if a request was lost.
load_end() {
    load_kill
    say "requests: $(load_count)"
    load_count | grep -q ' 0 lost$'
}
