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
