#!/usr/bin/env bash
# The ingress beside HAProxy, nginx and Caddy, each before the same upstream (nginx with a file of 1 KiB), in turn:
#   - requests per second and latency of keep-alive GETs, plain and over TLS 1.3, by `wrk -t1 -c64`;
#   - what one hop adds to a request when nothing else is under way (`wrk -t1 -c1`);
#   - memory with 1,000 idle connections of clients, and of the ingress with 1,000 idle WebSockets.
# Needs Debian's wrk, haproxy, nginx, caddy, openssl and python3, and says which one is missing. SECONDS_EACH=4 ROUNDS=3 by default:
# under four minutes in all.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
for program in wrk haproxy nginx caddy openssl python3; do
    command -v "$program" >/dev/null || { echo "missing: $program (apt-get install wrk haproxy nginx-light caddy openssl python3)" >&2; exit 1; }
done
# PROFILE=dev is for a try of this script.
profile=${PROFILE:-release}
cargo build --locked --profile "$profile" --quiet -p windlass-ingress --example one
one=target/${profile/#dev/debug}/examples/one
work=$(mktemp -d)
chmod 755 "$work" # the workers of nginx are another user
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
mkdir "$work/www"
head -c 1024 /dev/zero | tr '\0' x >"$work/www/1k"
mkdir "$work/certs"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=web.example \
    -addext subjectAltName=DNS:web.example -keyout "$work/certs/web.key" -out "$work/certs/web.crt" 2>/dev/null
# wrk asks for no name but the address.
cp "$work/certs/web.key" "$work/certs/default.key"
cp "$work/certs/web.crt" "$work/certs/default.crt"
cat "$work/certs/web.crt" "$work/certs/web.key" >"$work/haproxy.pem"

nginx_with() { # name, the ports to listen at, the location's content
    cat >"$work/$1.conf" <<CONF
daemon off; worker_processes auto; pid $work/$1.pid; error_log /dev/null;
events { worker_connections 4096; }
http {
    access_log off; keepalive_requests 1000000000; client_body_temp_path $work/$1-body; proxy_temp_path $work/$1-proxy;
    fastcgi_temp_path $work/$1-f; uwsgi_temp_path $work/$1-u; scgi_temp_path $work/$1-s;
    upstream one { server 127.0.0.1:18080; keepalive 128; keepalive_requests 1000000000; }
    ssl_certificate $work/certs/web.crt; ssl_certificate_key $work/certs/web.key; ssl_protocols TLSv1.3;
    server { $2 location / { $3 } }
}
CONF
    nginx -c "$work/$1.conf" & pids+=($!)
}
nginx_with upstream "listen 127.0.0.1:18080;" "root $work/www;"
# shellcheck disable=SC2016 # $host is nginx' own
nginx_with proxy "listen 127.0.0.1:18082; listen 127.0.0.1:18442 ssl;" 'proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;'
declare -A processes=([nginx]=$!)
cat >"$work/haproxy.cfg" <<CONF
global
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
listen web
    bind 127.0.0.1:18083
    bind 127.0.0.1:18443 ssl crt $work/haproxy.pem ssl-min-ver TLSv1.3
    server one 127.0.0.1:18080
CONF
haproxy -f "$work/haproxy.cfg" & pids+=($!)
processes[haproxy]=$!
cat >"$work/Caddyfile" <<CONF
{
    admin off
    auto_https off
}
http://web.example:18084 {
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:18080
}
https://:18444 {
    bind 127.0.0.1
    tls $work/certs/web.crt $work/certs/web.key {
        protocols tls1.3
    }
    reverse_proxy 127.0.0.1:18080
}
CONF
HOME=$work caddy run --config "$work/Caddyfile" --adapter caddyfile 2>/dev/null & pids+=($!)
processes[caddy]=$!
"$one" 127.0.0.1:18081 127.0.0.1:18080 127.0.0.1:18441 "$work/certs" 2>/dev/null & pids+=($!)
processes[windlass]=$!
python3 tests/bench/idle.py serve 127.0.0.1:18090 & pids+=($!)
"$one" 127.0.0.1:18091 127.0.0.1:18090 2>/dev/null & pids+=($!)
processes[websockets]=$!

declare -A ports=([direct]=18080 [windlass]=18081 [nginx]=18082 [haproxy]=18083 [caddy]=18084)
declare -A tls=([windlass]=18441 [nginx]=18442 [haproxy]=18443 [caddy]=18444)
names=(direct windlass nginx haproxy caddy)
answers() { # url
    for _ in $(seq 100); do
        [ "$(curl -s -k -H 'Host: web.example' "$1/1k" | wc -c)" = 1024 ] && return
        sleep 0.1
    done
    echo "$1 does not answer" >&2
    exit 1
}
for name in "${names[@]}"; do
    answers "http://127.0.0.1:${ports[$name]}"
    [ "$name" = direct ] || answers "https://127.0.0.1:${tls[$name]}"
done
echo "load $(cut -d' ' -f1 /proc/loadavg) at the start, $(nproc) processors"

median() { tr ' ' '\n' <<<"$1" | grep . | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# Asks by wrk, and sets `rate`, `p50` and `p99`.
ask() { # connections, url
    local out
    out=$(wrk -t1 -c"$1" -d"${SECONDS_EACH:-4}s" --latency -H 'Host: web.example' "$2")
    grep -q 'Non-2xx\|Socket errors' <<<"$out" && echo "$2: $(grep 'Non-2xx\|Socket errors' <<<"$out")"
    rate=$(awk '/Requests\/sec/ { print $2 }' <<<"$out")
    p50=$(awk '$1 == "50%" { print $2 }' <<<"$out")
    p99=$(awk '$1 == "99%" { print $2 }' <<<"$out")
}
# Rounds of all in turn, as a table.
rounds() { # what, scheme, the ports by name
    local -n at=$3
    local -A rates=() p50s=() p99s=()
    for _ in $(seq "${ROUNDS:-3}"); do
        for name in "${names[@]}"; do
            [ -n "${at[$name]:-}" ] || continue
            ask 64 "$2://127.0.0.1:${at[$name]}/1k"
            rates[$name]+=" $rate"
            p50s[$name]+=" $p50"
            p99s[$name]+=" $p99"
        done
    done
    echo
    echo "| $1 | requests per second, median (all) | p50 | p99 | ours / its |"
    echo "|---|---|---|---|---|"
    local mine its
    mine=$(median "${rates[windlass]}")
    for name in "${names[@]}"; do
        [ -n "${at[$name]:-}" ] || continue
        its=$(median "${rates[$name]}")
        echo "| $name | $its (${rates[$name]# }) | ${p50s[$name]# } | ${p99s[$name]# } | $(awk "BEGIN { printf \"%.2f\", $mine / $its }") |"
    done
}
rounds plain http ports
rounds 'TLS 1.3' https tls

echo
echo "| one request at a time | p50 | p99 |"
echo "|---|---|---|"
for name in "${names[@]}"; do
    ask 1 "http://127.0.0.1:${ports[$name]}/1k"
    echo "| $name | $p50 | $p99 |"
done

# Memory of a process and its children that no other process shares (Pss), in KiB.
memory() { # pid
    local all=("$1") pid
    for pid in $(pgrep -P "$1" || true); do all+=("$pid"); done
    for pid in "${all[@]}"; do cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss:/ { sum += $2 } END { print sum }'
}
# Memory before and with so many connections that idle after one answer.
idle() { # name, port, kind
    local before
    before=$(memory "${processes[$1]}")
    coproc HOLD { python3 tests/bench/idle.py "$3" "127.0.0.1:$2" 1000; }
    local holder=$HOLD_PID said
    read -r said <&"${HOLD[0]}"
    [ "$said" = ready ] || { echo "$1: $said" >&2; exit 1; }
    echo "| $1, 1,000 idle $3 | $before KiB | $(memory "${processes[$1]}") KiB |"
    kill "$holder"
    wait "$holder" 2>/dev/null || true
}
echo
echo "| memory (Pss) | before | with them |"
echo "|---|---|---|"
for name in windlass nginx haproxy caddy; do idle "$name" "${ports[$name]}" connections; done
idle websockets 18091 websockets
