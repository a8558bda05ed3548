# shellcheck shell=bash disable=SC2154
# Looks at the service without asking any part of Windlass: the engines say which containers run, and the
# containers say who they are. Needs `use_host`, `folder` and `say` of the demo.

# Every container of the service on a host: "RELEASE INSTANCE STATE ADDRESS:PORT". With one engine for all
# hosts, the label says whose it is.
containers_of() { # HOST
    use_host "$1"
    local filter='{"label":["windlass.service=web","windlass.host='$1'"]}'
    curl --silent --max-time 5 --unix-socket "$socket" --get --data-urlencode "filters=$filter" \
        'http://engine/containers/json?all=1' |
        jq -r --arg address "$address" '.[] | "\(.Labels["windlass.release"]) \(.Labels["windlass.instance"]) \(.State) \($address):\(
            [.Ports[].PublicPort // empty] | first // "-")"' | sort
}

containers() {
    local host
    for host in h1 h2 h3; do
        containers_of "$host" | while read -r release instance state endpoint; do
            printf '    %s  %s  %-28s %-8s %s\n' "$host" "$release" "$instance" "$state" \
                "$([ "$state" != running ] || version "$endpoint")"
        done
    done
}

running() { # RELEASE
    local host
    for host in h1 h2 h3; do containers_of "$host"; done | grep -c "^$1 [^ ]* running"
}

has_running() { [ "$(running "$1")" -ge 3 ]; }
lacks_running() { [ "$(running "$1")" = 0 ]; }

version() { curl --silent --fail --max-time 2 "http://$1/version" | jq -r .version; }

# Asks all instances at once, again and again, until the file is gone. One line per round, a word per answer.
watch_rounds() { # FILE
    local host state endpoint urls
    while [ -e "$1" ]; do
        urls=()
        while read -r _ _ state endpoint; do
            [ "$state" != running ] || urls+=("http://$endpoint/version")
        done < <(for host in h1 h2 h3; do containers_of "$host"; done)
        curl --silent --fail --max-time 2 --parallel "${urls[@]}" 2>/dev/null | jq -r .version | paste -sd' ' >>"$1.rounds" || true
        sleep 0.1
    done
}

watch_begin() {
    rm -f "$folder/watch.rounds"
    touch "$folder/watch"
    watch_rounds "$folder/watch" &
    pids[watch]=$!
}

# Ends the watch and says what it saw. Fails where in some round fewer than so many answered with a wanted
# version, or where anybody answered with a version that is neither wanted nor tolerated.
watch_end() { # FEWEST WANTED TOLERATED
    local rounds answers fewest said version
    rm -f "$folder/watch"
    wait "${pids[watch]}" 2>/dev/null || true
    unset 'pids[watch]'
    read -r rounds answers fewest < <(awk -v wanted=" $2 " '
        { n = 0; for (i = 1; i <= NF; i++) if (index(wanted, " " $i " ")) n++; all += n; if (NR == 1 || n < least) least = n }
        END { print NR, all + 0, least + 0 }' "$folder/watch.rounds")
    said=$(tr ' ' '\n' <"$folder/watch.rounds" | sort -u | grep . | paste -sd' ')
    say "asked all along: $rounds rounds, $answers answers of $2; at least $fewest of 6 answered in every round"
    [ "$fewest" -ge "$1" ] || { say "that is fewer than $1"; return 1; }
    for version in $said; do
        [[ " $2 $3 " == *" $version "* ]] || { say "nobody expected $version"; return 1; }
    done
}
