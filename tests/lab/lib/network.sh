# shellcheck shell=bash
# The lab's bridge in the root namespace: 10.213.0.1, where coordinator and registry listen.

# Call through `locked`.
bridge_up() {
    if [ -e "$LAB/net" ] && [ "$(cat "$LAB/net")" != "$NET" ]; then
        fail "the lab in $LAB uses network $(cat "$LAB/net"), not $NET" "set WINDLASS_LAB and WINDLASS_LAB_NET together"
    fi
    if ip link show "$BRIDGE" >/dev/null 2>&1; then
        [ -e "$LAB/net" ] && return
        bridge_is_deserted || fail "network $NET is used by a lab in another folder" \
            "set WINDLASS_LAB_NET to another one; if no lab is left: ip link delete $BRIDGE"
        say "removes bridge $BRIDGE, which a lab that is gone has left" >&2
        ip link delete "$BRIDGE"
        iptables -w 10 -D FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT 2>/dev/null || true
    fi
    # A fixed MAC: a bridge otherwise takes that of a port, and changes it as hosts come and go.
    ip link add "$BRIDGE" address "$(printf '02:00:%02x:%02x:%02x:01' "$NET_A" "$NET_B" "$NET_C")" type bridge 2>/dev/null ||
        fail "this machine does not permit network bridges" "the lab needs CAP_NET_ADMIN" 3
    echo "$NET" >"$LAB/net"
    ip address add "$GATEWAY/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
    # Where an engine of the machine's own runs, it drops what is forwarded, and bridged frames count.
    if forward_drops; then
        iptables -w 10 -I FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT
    fi
}

# A lab whose folder was removed before it was taken down leaves its bridge. Nothing is plugged into it, and nothing
# listens on its address, where a registry or a coordinator would.
bridge_is_deserted() {
    local plugged listening
    plugged=$(ls -A "/sys/class/net/$BRIDGE/brif") && [ -z "$plugged" ] &&
        ! ip netns list | grep -q "^$BRIDGE-" &&
        listening=$(ss -Hltun "src $GATEWAY") && [ -z "$listening" ]
}

forward_drops() {
    [ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || echo 0)" = 1 ] &&
        iptables -w 10 -S FORWARD 2>/dev/null | grep -qx -e '-P FORWARD DROP'
}

# Removes the bridge when neither a host nor a registry is left, and then the empty lab. Call through `locked`.
bridge_down_if_unused() {
    local used
    used=$(find "$LAB/hosts" "$LAB/registry" -mindepth 1 -maxdepth 1 2>/dev/null | head -n 1 || true)
    [ -z "$used" ] || return 0
    if [ -e "$LAB/net" ]; then
        ip link delete "$BRIDGE" 2>/dev/null || true
        iptables -w 10 -D FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT 2>/dev/null || true
        rm -f "$LAB/net"
    fi
    rmdir "$LAB/hosts" "$LAB/registry" 2>/dev/null || true
    [ -n "$(find "$LAB" -mindepth 1 ! -name .lock | head -n 1)" ] || rm -rf "$LAB"
}
