problem() {
    say "error: $*"
    problems=yes
}

bridge_allowed() {
    # Its helper can read it even when this user cannot.
    if [ -e "$bridge_conf" ] && [ ! -r "$bridge_conf" ]; then return 0; fi
    if [ ! -e "$bridge_conf" ]; then return 1; fi
    while read -r word value _ || [ -n "$word" ]; do
        case $word:$value in
            "allow:$bridge" | allow:all | include:*) return 0 ;;
        esac
        word=
    done <"$bridge_conf"
    return 1
}

helper_may() {
    if [ -u "$helper" ] || [ "$(id -u)" = 0 ]; then return 0; fi
    case $(PATH=$PATH:/usr/sbin:/sbin getcap "$helper" 2>/dev/null) in
        *cap_net_admin*) return 0 ;;
    esac
    return 1
}

check_bridge() {
    problems=
    if [ ! -e "$net_folder/$bridge" ]; then
        problem "this PC has no bridge $bridge." \
            "An administrator can start it: sudo virsh net-start default"
    fi
    helper=
    for file in "$helper_second" "$helper_first"; do
        if [ -x "$file" ]; then helper=$file; fi
    done
    if [ -z "$helper" ]; then
        problem "qemu-bridge-helper is neither $helper_first nor $helper_second." \
            "On Debian: sudo apt install qemu-system-common"
    elif ! helper_may; then
        problem "$helper may not open a bridge: it is not setuid root. An administrator can" \
            "change that: sudo dpkg-statoverride --update --add root root 4755 $helper"
    fi
    if ! bridge_allowed; then
        problem "$bridge_conf does not allow $bridge." \
            "An administrator can add the line: allow $bridge"
    fi
    [ -z "$problems" ] || die "the bridge is not usable. The other way: $name/run.sh --user-net"
}

# QEMU's own network takes a guest to what listens on this PC's 127.0.0.1, be it by QEMU's address,
# be it by 127.0.0.1 itself, and has no option against it. passt does not, unless it is older than
# the option --map-host-loopback (August 2024): then it does by 127.0.0.1. (Seen with QEMU 7.2, and
# passt of March 2023 and May 2025.)
keeps_from_loopback() {
    if [ -n "$host_loopback" ]; then
        why=
        return 1
    fi
    if ! command -v passt >/dev/null; then
        why="passt is not installed (Debian 13: sudo apt install passt)"
        return 1
    fi
    case $(passt --help 2>&1) in
        *--map-host-loopback*) ;;
        *) why="passt is older than August 2024"; return 1 ;;
    esac
    case $(qemu-system-x86_64 -netdev help 2>/dev/null) in
        *stream*) ;;
        *) why="QEMU is older than 7.2, and does not know passt"; return 1 ;;
    esac
    if [ -n "$other_guest" ]; then
        why="passt has no way to another address than $address ($other_guest)"
        return 1
    fi
    start_passt
}

start_passt() {
    rm -f "${sockets}passt.sock"
    # QEMU takes the place of this process, and passt ends when QEMU does. Root's would become
    # nobody, who may not look into this folder.
    set -- --foreground --one-off --ipv4-only --socket "${sockets}passt.sock" --address "$address" \
        --netmask "$prefix" --gateway "$gateway" --dns-forward "$gateway" --mtu 1500 \
        --no-map-gw --map-host-loopback none
    if [ "$(id -u)" = 0 ]; then set -- "$@" --runas 0; fi
    case $passt_rules in *-t*) ;; *) set -- "$@" -t none ;; esac
    case $passt_rules in *-u*) ;; *) set -- "$@" -u none ;; esac
    # Words of letters, digits, dots and colons.
    # shellcheck disable=SC2086
    setsid passt "$@" $passt_rules </dev/null >passt.log 2>&1 9>&- &
    passt=$!
    tries=0
    while [ ! -S "${sockets}passt.sock" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 50 ] || ! kill -0 "$passt" 2>/dev/null; then
            kill "$passt" 2>/dev/null || :
            why="passt did not start: see $PWD/passt.log"
            return 1
        fi
        sleep 0.1
    done
    # One that QEMU never came to is not left behind.
    [ "$action" = run ] || return 0
    (
        sleep 30
        kill -0 $$ || kill "$passt"
    ) </dev/null >/dev/null 2>&1 9>&- &
}
