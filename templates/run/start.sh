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
