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

# QEMU and passt are started by this process, and have the same from it.
step_back() {
    if [ -n "$cpu_weight" ]; then say "warning: --cpu-weight is for a service of systemd only"; fi
    # Only root may step forward again: who is further back already stays there.
    if [ -n "$nice" ] && [ "$(nice)" -lt "$nice" ]; then
        renice -n "$nice" -p $$ >/dev/null || die "cannot have --nice $nice"
    fi
    case $io_class in
        idle) ionice -c 3 -p $$ || die "cannot have --io-class idle" ;;
        best-effort) ionice -c 2 -p $$ || die "cannot have --io-class best-effort" ;;
    esac
    read -r score <"/proc/$$/oom_score_adj"
    if [ "${oom_score:-0}" -gt "$score" ]; then printf '%s\n' "$oom_score" >/proc/$$/oom_score_adj; fi
}

# A node that was taken out of its cluster must never come back with its old disk.
check_not_retired() {
    if [ -e retired ] || [ -L retired ]; then
        die "$name was retired: a node that was taken out of its cluster must never come back" \
            "with its old disk. To make a new machine of this name: pvecm delnode $name on a member" \
            "of the cluster, then remove this folder ($PWD) and run: imgbuild seed $name"
    fi
}

# A PC whose directory service does not answer has no name for its user.
find_user() {
    user=$(id -un 2>/dev/null) || user=$(id -u)
}

# What this machine writes here, it must be able to.
check_folder() {
    for file in qemu.pid run.lock run.log passt.log sockets console.log status.jsonl \
        "$overlay" "$overlay_base" "$base_seen"; do
        if [ -d "$file" ]; then
            die "$file is a folder, where $name needs a file of that name. Move it elsewhere:" \
                "mv $PWD/$file $PWD/$file.away"
        fi
    done
    if [ ! -w . ]; then
        find_user
        die "$user cannot write to this folder, $PWD (a disk that is mounted read-only?), and $name needs its" \
            "disk and its logs here. Copy the lab to a disk where you can write, and start it there"
    fi
}

# Whether the file system of this folder has no modes, as those of most sticks (exFAT, NTFS).
lacks_modes() {
    probe=.modes.$$
    : >"$probe"
    probe_mode=$(stat -c %a "$probe")
    rm -f "$probe"
    case $probe_mode in *00) return 1 ;; esac
}

check_tools() {
    command -v qemu-img >/dev/null ||
        die "qemu-img is not installed. On Debian: sudo apt install qemu-utils"
    command -v qemu-system-x86_64 >/dev/null ||
        die "qemu-system-x86_64 is not installed. On Debian: sudo apt install qemu-system-x86"
    command -v perl >/dev/null || die "perl is not installed. On Debian: sudo apt install perl-base"
}

check_seed() {
    [ -f seed.img ] || die "seed.img is not there. Make it with: imgbuild seed $name"
    if [ ! -r seed.img ] || [ ! -w seed.img ]; then
        die "no permission to read and write seed.img: it belongs to $(stat -c %U seed.img)"
    fi
    # Two files never change at one moment, and one of them is easily copied alone. A seed that imgbuild
    # has not made is its owner's affair.
    if made=$(LC_ALL=C grep -aoE 'instance-id: [a-z0-9-]+-[0-9a-f]{16}' seed.img) &&
        [ "${made#*"$instance_id"}" = "$made" ]; then
        die "seed.img and this run.sh are not of the same imgbuild seed: it was cut off, or only one of them" \
            "was copied here. Copy both, or make both again: imgbuild seed $name"
    fi
    mode=$(stat -L -c %a seed.img)
    case $mode in
        *00) ;;
        *)
            if lacks_modes; then
                say "warning: seed.img holds secrets, and the file system of this folder knows no modes:" \
                    "whoever reaches $PWD on this PC may read and change them (mode $mode)"
                return
            fi
            die "seed.img holds secrets, and others than you may read or change it (mode $mode)." \
                "If it was so while others could reach this folder, its passwords and keys are not" \
                "secret any more. To go on: chmod 600 $PWD/seed.img"
            ;;
    esac
}

# Whether the machine runs, as process $pid. A pid file can be older than the last power cut, and
# its number another program's by now.
running() {
    [ -r qemu.pid ] || return 1
    read -r pid <qemu.pid || return 1
    [ -r "/proc/${pid:-none}/comm" ] || return 1
    read -r comm <"/proc/$pid/comm" || return 1
    # The kernel keeps 15 characters of the name.
    [ "$comm" = qemu-system-x86 ] || return 1
    # One that has ended keeps its number until its parent asks how (not every container has a
    # process 1 that does); while another thread than the first is there, it holds its files.
    read -r _ _ process_state _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ threads _ <"/proc/$pid/stat" || return 1
    [ "$process_state:$threads" != Z:1 ] || return 1
    cwd=$(readlink "/proc/$pid/cwd" 2>/dev/null) || cwd=$PWD
    [ "$cwd" = "$PWD" ]
}

# From here to QEMU's end, which keeps descriptor 9: nobody else starts this machine, or begins its logs
# anew. Not every server of NFS has locks.
take_lock() {
    check_not_running
    exec 9>>run.lock
    flock -w 2 9 || [ $? -ne 1 ] ||
        die "$name is being started already: somebody holds $PWD/run.lock, on another PC if that has this" \
            "folder, too"
    check_not_running
    # What a start that was cut off, by the power perhaps, has left.
    for left in ".$overlay".* .modes.* .sock.*; do
        if [ -e "$left" ] || [ -L "$left" ]; then rm -f -- "$left"; fi
    done
}

check_not_running() {
    running || return 0
    case $process_state in
        T | t)
            die "$name was started already, as process $pid, and is stopped: by its terminal, or by a" \
                "signal. To let it go on: kill -CONT $pid. To end it: $name/run.sh stop"
            ;;
    esac
    die "$name is running already, as process $pid"
}

has_overlay() {
    [ -e "$overlay" ] || [ -L "$overlay" ]
}

# Limits what follows in this shell, where it is not limited more already.
limit() {
    if (ulimit "$1" "$2") 2>/dev/null; then ulimit "$1" "$2"; fi
}

# The disk that is there, as QEMU sees it.
check_overlay() {
    # Of a disk that somebody has made for that, it must not take all of this PC.
    if ! said=$(limit -t 60 && limit -v 1048576 && qemu-img info -f qcow2 -- "$overlay" 2>&1); then
        case $said in
            *"Failed to get "*lock*)
                die "$overlay is in use: another QEMU or qemu-img has it open, on this PC or on one that" \
                    "has this folder, too. End that one first. qemu-img says: $said"
                ;;
        esac
        die "$overlay is no disk that QEMU can use: $said. To start afresh, without what is on it:" \
            "rm $PWD/$overlay*"
    fi
    [ ! -s "$overlay_base" ] || return 0
    found=
    case $said in
        *"backing file: "*bases/*)
            found=${said#*"backing file: "}
            found=${found#*bases/}
            found=${found%%.qcow2*}
            ;;
    esac
    case $found in
        "" | *[!0-9a-f]*) ;;
        *)
            say "warning: $overlay_base was not there; the disk itself says that it stands on $found"
            write_whole "$overlay_base" "$found"
            return
            ;;
    esac
    die "$overlay_base is not there, and nothing else says which base $overlay stands on; on another one" \
        "it is ruined. If it is the one of this seed: echo $base_sha256 >$PWD/$overlay_base." \
        "To start afresh, without what is on it: rm $PWD/$overlay"
}

# A small file with this line, whole even after a power cut.
write_whole() {
    printf '%s\n' "$2" >".$1.$$"
    sync -- ".$1.$$"
    mv -f -- ".$1.$$" "$1"
}

# $looks is what changes with a file's content: inode, size, times. A base that others may write to is
# theirs. A user's own group has the number of the user, mostly.
look_at_base() {
    read -r base_mode owner group looks <<END
$(stat -L -c '%a %u %g %i %s %.9Y %.9Z' -- "$1")
END
    case $base_mode in
        *[2367]) ;;
        *[2367]?) [ "$owner" != "$group" ] || return 0 ;;
        *) return 0 ;;
    esac
    if lacks_modes; then return 0; fi
    die "others than its owner may write to $1 (mode $base_mode), and with it to the disk of every machine" \
        "that stands on it. To go on: chmod go-w $1"
}

# The SHA-256 digest of a file is $found. openssl takes a fifth of the time where the processor has
# instructions for it, and is not on every PC.
digest() {
    if command -v openssl >/dev/null; then
        found=$(openssl dgst -sha256 -r <"$1") && found=${found%% *}
        case $found in *[!0-9a-f]*) ;; ????????????????????????????????????????????????????????????????) return ;; esac
    fi
    found=$(sha256sum <"$1")
    found=${found%% *}
}

# A QEMU that was built without zstd does not read a base, such as Debian 11's (5.2).
check_base_reader() {
    said=$(qemu-img info -f qcow2 -- "$1" 2>&1) ||
        die "this PC's QEMU cannot read $1: $said. A base is compressed with zstd, which Debian's" \
            "QEMU knows from 6.1 on (Debian 12, bullseye-backports), and Ubuntu's from 22.04 on"
}

# The digest takes seconds. It is compared again when the file is not as it was then: $base_seen.
check_base() {
    look_at_base "$backing"
    seen=
    if [ -r "$base_seen" ]; then read -r seen <"$base_seen" || :; fi
    [ "$seen" != "$wanted $looks" ] || return 0
    say "checking $backing, which is not known as it is now"
    digest "$backing"
    if [ "$found" != "$wanted" ]; then
        die "$backing was changed: found SHA-256 $found, expected $wanted. $overlay stands on it, and is" \
            "ruined by another one. Copy the right one there"
    fi
    check_base_reader "$backing"
    write_whole "$base_seen" "$wanted $looks"
}

# The image under the disk that is there, or that is to be made: by its digest, so that a new base
# is no concern of a disk that stands on an old one. ../bases has what the disks beside it stand on.
find_base() {
    wanted=$base_sha256
    if has_overlay; then read -r wanted _ <"$overlay_base" || :; fi
    case $wanted in
        "" | *[!0-9a-f]*) die "$overlay_base holds no SHA-256 digest: $wanted" ;;
    esac
    kept=../bases/$wanted.qcow2
    case $base in
        */*) beside=${base%/*}/bases/$wanted.qcow2 ;;
        *) beside=bases/$wanted.qcow2 ;;
    esac
    if [ -f "$kept" ]; then
        backing=$kept
    elif [ -f "$beside" ]; then
        backing=$beside
    elif [ "$wanted" != "$base_sha256" ]; then
        die "$overlay was made on another base than $base, and that one is not there: $kept." \
            "Copy it there, or start afresh: rm $overlay $overlay_base"
    elif [ -f "$base" ]; then
        backing=$base
    else
        die "neither $kept nor $base is there, and $overlay is nothing without it." \
            "Copy it there, or make it with: imgbuild base"
    fi
    [ "$wanted" = "$base_sha256" ] || return 0
    found=$(stat -L -c %s -- "$backing")
    if [ "$found" != "$base_bytes" ]; then
        die "$backing is not the image that this seed was made for:" \
            "found $found bytes, expected $base_bytes." \
            "Copy the right one there, or run: imgbuild seed $name"
    fi
}

# A second name for the file, or a copy where that cannot be (another file system, another owner).
link_or_copy() {
    ln -L -- "$1" "$2" 2>/dev/null || { cp -- "$1" "$2" && sync -- "$2"; }
}

make_overlay() {
    new=.$overlay.$$
    part=../bases/.$base_sha256.$$
    trap 'rm -f -- "$new" "$new.base" "$part" "$part.manifest"; rmdir ../bases 2>/dev/null || :' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    remove_old_parts
    look_at_base "$backing"
    say "checking $backing, only this once"
    checked=$backing
    if [ "$backing" = "$base" ]; then
        # What is compared is what the disk will stand on, whatever becomes of the base meanwhile.
        # It is no secret.
        (umask 022 && mkdir -p ../bases && link_or_copy "$base" "$part") ||
            die "cannot keep $base as $kept, where $overlay needs it"
        checked=$part
    fi
    digest "$checked"
    if [ "$found" != "$base_sha256" ]; then
        die "$backing is not the image that this seed was made for:" \
            "found SHA-256 $found, expected $base_sha256." \
            "Copy the right one there, or run: imgbuild seed $name"
    fi
    check_base_reader "$checked"
    if [ "$checked" != "$backing" ]; then keep_base; fi
    qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k -F qcow2 -b "$backing" "$new" "$disk_bytes" ||
        die "cannot make $overlay"
    printf '%s\n' "$base_sha256" >"$new.base"
    # This PC may lose its power at any moment, and a file without its bytes is no disk.
    sync -- "$new" "$new.base" || die "cannot write $overlay to the disk"
    mv -f -- "$new.base" "$overlay_base"
    look_at_base "$backing"
    write_whole "$base_seen" "$base_sha256 $looks"
    mv -n -- "$new" "$overlay"
    if [ -e "$new" ]; then die "$overlay appeared meanwhile; it was left as it is"; fi
    # The names as well, before a guest relies on what it has written. Not every file system can.
    sync -- . ../bases .. 2>/dev/null || :
    trap - EXIT HUP INT TERM
}

# Of starts that were cut off while they brought this base here.
remove_old_parts() {
    for old in ../bases/."$base_sha256".[0-9]*; do
        starter=${old##*/."$base_sha256".}
        if [ ! -e "/proc/${starter%%.*}" ]; then rm -f -- "$old"; fi
    done
}

# The base gets its name in ../bases, and a copy of its manifest, where there is one, its own. Another
# start may do the same at this moment.
keep_base() {
    manifest=${base%.*}.manifest.json
    if [ -f "$manifest" ]; then
        (umask 022 && cp -- "$manifest" "$part.manifest" && sync -- "$part.manifest") || :
        mv -f -- "$part.manifest" "${kept%.qcow2}.manifest.json" 2>/dev/null || :
    fi
    mv -f -- "$part" "$kept" 2>/dev/null || [ -f "$kept" ] || die "cannot make $kept"
    rm -f -- "$part" "$part.manifest"
    backing=$kept
}

# A value in a list of QEMU's, where a comma ends it unless there are two.
doubled() {
    rest=$1
    while [ "$rest" != "${rest#*,}" ]; do
        printf '%s,,' "${rest%%,*}"
        rest=${rest#*,}
    done
    printf '%s\n' "$rest"
}

kvm_refused_before() {
    # A relative path counts as none (XDG Base Directory Specification).
    case ${XDG_STATE_HOME:-} in
        /*) state=$XDG_STATE_HOME/imgbuild/no-kvm ;;
        *) state=${HOME:-}/.local/state/imgbuild/no-kvm ;;
    esac
    if [ ! -r "$state" ] || [ ! -r "$boot_id_file" ]; then return 1; fi
    read -r boot <"$boot_id_file" || return 1
    while read -r line; do
        if [ "$line" = "$boot" ]; then return 0; fi
    done <"$state"
    return 1
}

choose_accelerator() {
    why=
    if [ ! -e "$kvm" ]; then
        why="$kvm is not there (virtualisation is switched off in the firmware setup?)"
    elif [ ! -r "$kvm" ] || [ ! -w "$kvm" ]; then
        find_user
        why="no permission for $kvm (sudo adduser $user kvm, then log in again)"
    fi
    case $accel in
        kvm) [ -z "$why" ] || die "KVM is not usable: $why" ;;
        auto)
            accel=kvm
            if [ -z "$why" ] && kvm_refused_before; then
                why="no guest ran under it since this PC was started"
            fi
            if [ -n "$why" ]; then
                accel=tcg
                say "warning: KVM is not usable: $why"
            fi
            ;;
    esac
    if [ "$accel" = tcg ]; then
        # Emulation with several threads makes guest kernels panic now and then (QEMU 7).
        say "warning: software emulation: about ten times slower, and one CPU only"
    fi
}

# Where the sockets of this machine are, with a slash at the end; in this folder, where that can be.
place_sockets() {
    sockets=
    if [ -e sockets ]; then rm -f sockets; fi
    # Those of a PC's own disks have sockets; whether another one has is tried.
    case $file_system in
        btrfs | ext2/ext3 | f2fs | overlayfs | tmpfs | xfs | zfs) return ;;
    esac
    if control can-listen 2>/dev/null; then return; fi
    runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
    if [ ! -d "$runtime" ] || [ ! -w "$runtime" ]; then
        die "the file system of this folder ($PWD) has no sockets, and XDG_RUNTIME_DIR, where they could be" \
            "instead, is not there ($runtime). Copy the lab to a disk of this PC, and start it there"
    fi
    sockets=$runtime/imgbuild-$name.$$/
    mkdir -m 700 -- "$sockets" || die "cannot make $sockets"
    printf '%s\n' "$sockets" >sockets
    say "the file system of this folder has no sockets: they are in $sockets"
}

# A disk that is full holds the machine until there is space; better to know it before. What kind of file system it is,
# $file_system, place_sockets asks.
check_space() {
    bytes_of "$overlay"
    needed=$((disk_bytes - bytes))
    if [ "$needed" -gt 1073741824 ]; then needed=1073741824; fi
    read -r free block file_system <<END
$(stat -f -c '%a %S %T' .)
END
    free=$((free * block))
    if [ "$free" -lt "$needed" ]; then
        say "warning: only $((free / 1000000)) MB are free where $overlay grows ($PWD). When they are used up," \
            "$name is held until there is space"
    fi
}

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

# Whether QEMU has begun its work: from then on it is orders that end it.
answers() {
    running && control qmp query-status 5 >/dev/null 2>&1
}

has_ended() {
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
    case ${stat##*) } in Z*) return 0 ;; esac
    return 1
}

# What QEMU said, unless this goes to the same file.
show_log() {
    if [ -z "$log" ] && [ -s run.log ]; then cat run.log >&2; fi
}

# QEMU in a session of its own: nothing that happens to this terminal ends it.
start_in_background() {
    passt=${passt:-}
    [ -n "$log" ] || : >run.log
    setsid perl -e "$(keeper_program)" -- "$name" qemu-system-x86_64 "$@" </dev/null >>run.log 2>&1 &
    qemu=$!
    trap 'kill "$qemu" $passt 2>/dev/null' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    now
    end=$((seconds + 60))
    until answers; do
        now
        if has_ended "$qemu"; then
            show_log
            die "$name did not start"
        fi
        [ "$seconds" -lt "$end" ] || die "$name did not start: QEMU says nothing on qmp.sock"
        sleep 0.1
    done
    trap - EXIT HUP INT TERM
}

started() {
    running || die "$name ended at once; its last words are in $PWD/console.log"
    echo "$name: started, as process $pid"
    say "run.sh console attaches to its console, of which console.log has a copy"
}
