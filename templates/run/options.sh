usage() {
    cat <<END
Usage: run.sh [OPTIONS]                           boots $name here, in the foreground
       run.sh start [OPTIONS]                     in the background; it outlives the login
       run.sh stop [--limit SECONDS]              the power button; after the limit (120) power off
       run.sh console                             its serial console, here; Ctrl-] leaves it
       run.sh status [--json]                     how it is
       run.sh service install|remove [OPTIONS]    starts with this PC, or not any more

The disk $overlay is made beside this script when it is not there.

  --user-net        QEMU's own network instead of the bridge $bridge: no helper, no libvirt
  --forward RULE    with --user-net: a port of this PC, such as tcp:2222-:22. It is open to
                    this PC alone unless the rule has an address: tcp:192.0.2.7:2222-:22
  --host-loopback   with --user-net: $name may reach what listens on this PC's 127.0.0.1.
                    Without it passt keeps it from there, where a new enough one is installed
  --accel HOW       auto: KVM when it is usable, else software emulation (the default)
  --console WHERE   terminal: the serial console is here, and in console.log
                    log: in console.log, and open to "run.sh console"; chosen when there is no
                    terminal, or this is in its background
  --nice N          how far it steps back for other programs: 0 to 19 (a service: 10)
  --io-class CLASS  idle: it reads and writes when nobody else does (a service); or best-effort
  --oom-score N     0 to 1000: when memory runs out, it goes before others (a service: 500)
  --cpu-weight N    of a service of systemd: its part of a busy processor; others have 100 (20)
  --log             what this script and QEMU say goes to run.log
END
}

say() {
    printf '%s/run.sh: %s\n' "$name" "$*" >&2
}

die() {
    say "error: $*"
    exit 1
}

usage_error() {
    say "error: $*"
    usage >&2
    exit 2
}

# A rule as QEMU wants it: PROTOCOL:ADDRESS:PORT-[ADDRESS]:PORT. QEMU takes no address for all of
# this PC's, and anybody in the room could try the VM's password; here it is this PC's own.
rule() {
    protocol=${1%%:*}
    rest=${1#*:}
    case ${rest%%-*} in
        :*) rest=127.0.0.1$rest ;;
        *:*) ;;
        *) rest=127.0.0.1:$rest ;;
    esac
    printf '%s:%s\n' "$protocol" "$rest"
}

# One such rule, for QEMU and for passt.
forward() {
    forwards="$forwards,hostfwd=$1"
    rest=${1#*:}
    host=${rest%%-*}
    guest=${rest#*-}
    case ${guest%:*} in
        "" | "$address") ;;
        *) other_guest=$1 ;;
    esac
    case $1 in
        tcp:*) option=-t ;;
        *) option=-u ;;
    esac
    passt_rules="$passt_rules $option ${host%:*}/${host##*:}:${guest##*:}"
}

parse() {
    network=bridge
    other_guest=
    forwards=
    passt_rules=
    host_loopback=
    accel=auto
    console=
    # The options that were given, for a service: as they are, and how it yields to others.
    words=
    polite_words=
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) usage; exit 0 ;;
            --user-net) network=user; words="$words $1"; shift; continue ;;
            --host-loopback) host_loopback=yes; words="$words $1"; shift; continue ;;
            --log) log=yes; shift; continue ;;
            --forward=* | --accel=* | --console=* | --nice=* | --io-class=* | --oom-score=* | --cpu-weight=*)
                option=${1%%=*}
                value=${1#*=}
                shift
                set -- "$option" "$value" "$@"
                ;;
        esac
        case $1 in
            --forward | --accel | --console | --nice | --io-class | --oom-score | --cpu-weight)
                [ $# -ge 2 ] || usage_error "$1 needs a value"
                ;;
            *) usage_error "unknown argument: $1" ;;
        esac
        case $1:$2 in
            --forward:*,*) usage_error "--forward takes one rule without a comma: $2" ;;
            --forward:*[!A-Za-z0-9.:-]*) usage_error "$1 does not take this value: $2" ;;
            --forward:tcp:*-*:* | --forward:udp:*-*:*) forward "$(rule "$2")" ;;
            --accel:auto | --accel:kvm | --accel:tcg) accel=$2 ;;
            --console:terminal | --console:log) console=$2 ;;
            --nice:[0-9] | --nice:1[0-9]) nice=$2 ;;
            --io-class:idle | --io-class:best-effort) io_class=$2 ;;
            --oom-score:[0-9] | --oom-score:[1-9][0-9] | --oom-score:[1-9][0-9][0-9] | --oom-score:1000)
                oom_score=$2
                ;;
            --cpu-weight:[1-9] | --cpu-weight:[1-9][0-9] | --cpu-weight:[1-9][0-9][0-9]) cpu_weight=$2 ;;
            *) usage_error "$1 does not take this value: $2" ;;
        esac
        case $1 in
            --forward | --accel) words="$words $1=$2" ;;
        esac
        shift 2
    done
    if [ "$network" != user ]; then
        [ -z "$forwards" ] || usage_error "--forward needs --user-net"
        [ -z "$host_loopback" ] || usage_error "--host-loopback needs --user-net"
    fi
    polite_words="${nice:+ --nice=$nice}${io_class:+ --io-class=$io_class}${oom_score:+ --oom-score=$oom_score}"
    if [ "$action" = run ]; then choose_console; return; fi
    [ "$console" != terminal ] || usage_error "$action has no terminal: leave out --console"
    console=log
}

# Of a terminal: a program in its background that changes it is stopped (SIGTTOU), and QEMU would.
in_background() {
    read -r stat </proc/self/stat
    # After the name: state, parent, process group, session, terminal, the terminal's foreground
    # group (-1 without a terminal), proc_pid_stat(5).
    read -r _ _ group _ _ foreground _ <<END
${stat##*) }
END
    [ "$foreground" != -1 ] && [ "$foreground" != "$group" ]
}

choose_console() {
    background=
    if [ -t 0 ] && in_background; then background=yes; fi
    if [ -n "$background" ] && [ "$console" = terminal ]; then
        die "a console on the terminal needs the foreground. In the background: $name/run.sh start"
    fi
    if [ -z "$console" ]; then
        console=log
        if [ -z "$background" ] && [ -t 0 ] && [ -t 1 ]; then console=terminal; fi
    fi
}
