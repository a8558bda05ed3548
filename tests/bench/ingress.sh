#!/usr/bin/env bash
# Requests per second and latency of the ingress beside HAProxy, nginx and Caddy: one run, the same upstream (nginx with a file
# of 1 KiB), in turn, three rounds. Keep-alive GET by `wrk -t1 -c64`. Needs Debian's wrk, haproxy, nginx and caddy, and says
# which one is missing. SECONDS_EACH=8 ROUNDS=3 by default.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
for program in wrk haproxy nginx caddy; do
    command -v "$program" >/dev/null || { echo "missing: $program (apt-get install wrk haproxy nginx-light caddy)" >&2; exit 1; }
done
cargo build --locked --release --quiet -p windlass-ingress --example one
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

nginx_with() { # name, port, the location's content, further lines of http
    cat >"$work/$1.conf" <<CONF
daemon off; worker_processes auto; pid $work/$1.pid; error_log /dev/null;
events { worker_connections 4096; }
http {
    access_log off; keepalive_requests 1000000000; client_body_temp_path $work/$1-body; proxy_temp_path $work/$1-proxy;
    fastcgi_temp_path $work/$1-f; uwsgi_temp_path $work/$1-u; scgi_temp_path $work/$1-s;
    upstream one { server 127.0.0.1:18080; keepalive 128; keepalive_requests 1000000000; }
    server { listen 127.0.0.1:$2; location / { $3 } }
}
CONF
    nginx -c "$work/$1.conf" & pids+=($!)
}
nginx_with upstream 18080 "root $work/www;"
# shellcheck disable=SC2016 # $host is nginx' own
nginx_with proxy 18082 'proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;'
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
    server one 127.0.0.1:18080
CONF
haproxy -f "$work/haproxy.cfg" & pids+=($!)
cat >"$work/Caddyfile" <<CONF
{
    admin off
    auto_https off
}
http://web.example:18084 {
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:18080
}
CONF
HOME=$work caddy run --config "$work/Caddyfile" --adapter caddyfile 2>/dev/null & pids+=($!)
target/release/examples/one 127.0.0.1:18081 127.0.0.1:18080 2>/dev/null & pids+=($!)
ours=$!

declare -A ports=([direct]=18080 [windlass]=18081 [nginx]=18082 [haproxy]=18083 [caddy]=18084) rates=() p50=() p99=()
for name in direct windlass nginx haproxy caddy; do
    for _ in $(seq 100); do
        [ "$(curl -s -H 'Host: web.example' "http://127.0.0.1:${ports[$name]}/1k" | wc -c)" = 1024 ] && continue 2
        sleep 0.1
    done
    echo "$name does not answer" >&2
    exit 1
done
echo "load $(cut -d' ' -f1 /proc/loadavg) at the start, $(nproc) processors"
for _ in $(seq "${ROUNDS:-3}"); do
    for name in direct windlass nginx haproxy caddy; do
        out=$(wrk -t1 -c64 -d"${SECONDS_EACH:-8}s" --latency -H 'Host: web.example' "http://127.0.0.1:${ports[$name]}/1k")
        grep -q 'Non-2xx\|Socket errors' <<<"$out" && echo "$name: $(grep 'Non-2xx\|Socket errors' <<<"$out")"
        rates[$name]+=" $(awk '/Requests\/sec/ { print $2 }' <<<"$out")"
        p50[$name]+=" $(awk '$1 == "50%" { print $2 }' <<<"$out")"
        p99[$name]+=" $(awk '$1 == "99%" { print $2 }' <<<"$out")"
    done
done
median() { tr ' ' '\n' <<<"$1" | grep . | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
echo "| | requests per second, median (all) | p50 | p99 | ours / its |"
echo "|---|---|---|---|---|"
mine=$(median "${rates[windlass]}")
for name in direct windlass nginx haproxy caddy; do
    rate=$(median "${rates[$name]}")
    echo "| $name | $rate (${rates[$name]# }) | ${p50[$name]# } | ${p99[$name]# } | $(awk "BEGIN { printf \"%.2f\", $mine / $rate }") |"
done
echo "memory of the ingress after that: $(awk '/VmRSS/ { print $2 }' "/proc/$ours/status") KiB"
