# What a machine that runs can be asked: to stop, for its console, how it is.

control() {
    command -v perl >/dev/null || die "perl is not installed. On Debian: sudo apt install perl-base"
    perl -e "$(control_program)" -- "$@"
}

# Seconds since this PC was started; its clock may be set meanwhile.
now() {
    read -r seconds _ </proc/uptime
    seconds=${seconds%%.*}
}

# Whether the machine is off within so many seconds.
is_off_within() {
    now
    deadline=$((seconds + $1))
    while running; do
        now
        [ "$seconds" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# The state of QEMU as QMP says it, such as running, paused or io-error; else why there is none.
ask_state() {
    why=
    if [ "$process_state" = T ] || [ "$process_state" = t ]; then
        state=paused
        why="the process is stopped: kill -CONT $pid lets it go on"
        return
    fi
    if ! answer=$(control qmp query-status 5 2>&1); then
        state=running
        why=$answer
        return
    fi
    state=${answer#*\"status\": \"}
    state=${state%%\"*}
    case $state in
        running) ;;
        *[!a-z-]*) state=running; why="QEMU's answer is not understood" ;;
        *) why=$state; state=paused ;;
    esac
}

# The same in words.
why_paused() {
    case $why in
        io-error) printf '%s' "QEMU could not write to a disk of it (is this PC's disk full, or your quota?)" ;;
        *) printf '%s' "$why" ;;
    esac
}

stop_machine() {
    limit=120
    while [ $# -gt 0 ]; do
        case $1 in
            --limit=*) limit=${1#*=} ;;
            --limit)
                [ $# -ge 2 ] || usage_error "$1 needs a value"
                shift
                limit=$1
                ;;
            *) usage_error "unknown argument: $1" ;;
        esac
        shift
    done
    case $limit in
        "" | *[!0-9]* | ??????*) usage_error "--limit takes seconds: $limit" ;;
    esac
    if ! running; then
        echo "$name: unchanged: it is off"
        return
    fi
    now
    started=$seconds
    end=$((seconds + limit))
    told=
    while [ "$seconds" -lt "$end" ]; do
        press_power_button
        rest=$((end - seconds))
        # Nobody listens before the guest's logind is up.
        if [ "$rest" -gt 10 ]; then rest=10; fi
        if is_off_within "$rest"; then
            now
            echo "$name: shut down, after $((seconds - started)) s"
            return
        fi
        now
    done
    take_power_away
    echo "$name: its power was taken away: it had not shut down within $limit s"
}

# A guest that stands still hears no button.
press_power_button() {
    case $process_state in
        T | t) kill -CONT "$pid" ;;
    esac
    ask_state
    if [ "$state" = paused ]; then
        paused=$(why_paused)
        control qmp cont 5 >/dev/null 2>&1 || :
        sleep 1
        ask_state
        if [ "$state" = paused ] && [ -z "$told" ]; then
            told=yes
            say "warning: $name is paused and cannot shut down: $paused." \
                "It is let go on every 10 s; after $limit s its power is taken away"
        fi
    fi
    if ! answer=$(control qmp system_powerdown 5 2>&1) && running && [ -z "$told" ]; then
        told=yes
        say "warning: cannot press the power button of $name: $answer"
    fi
    now
}

take_power_away() {
    control qmp quit 5 >/dev/null 2>&1 || :
    if is_off_within 15; then return; fi
    kill "$pid" 2>/dev/null || :
    if is_off_within 15; then return; fi
    kill -KILL "$pid" 2>/dev/null || :
    is_off_within 15 || die "$name does not end: process $pid"
}

attach_console() {
    [ $# -eq 0 ] || usage_error "unknown argument: $1"
    running || die "$name is off; its last words are in $PWD/console.log"
    if [ ! -t 0 ] || [ ! -t 1 ] || in_background; then
        die "the console needs a terminal. To read it only: $PWD/console.log"
    fi
    control console "$name" "$pid" || exit 1
}

# What files take of this PC's disk, in bytes: an overlay may have holes.
bytes_of() {
    bytes=0
    for file in "$@"; do
        [ -f "$file" ] || continue
        blocks=$(stat -L -c %b -- "$file")
        bytes=$((bytes + blocks * 512))
    done
}

tell_status() {
    json=
    case $#:${1:-} in
        0:) ;;
        1:--json) json=yes ;;
        *) usage_error "unknown argument: $1" ;;
    esac
    if running; then
        ask_state
    else
        pid=
        state=stopped
        why=
    fi
    last_sign=
    for file in console.log status.jsonl; do
        [ -f "$file" ] || continue
        changed=$(stat -L -c %Y -- "$file")
        if [ -z "$last_sign" ] || [ "$changed" -gt "$last_sign" ]; then last_sign=$changed; fi
    done
    overlay_bytes=
    if [ -f "$overlay" ]; then
        bytes_of "$overlay"
        overlay_bytes=$bytes
    fi
    log_bytes=
    if [ -n "$last_sign" ]; then
        bytes_of console.log console.log.old status.jsonl status.jsonl.old run.log passt.log
        log_bytes=$bytes
    fi
    digest=
    if [ -r "$overlay_base" ]; then read -r digest <"$overlay_base" || :; fi
    retired=false
    if [ -e retired ] || [ -L retired ]; then retired=true; fi
    find_service
    if [ -n "$json" ]; then print_json; else print_status; fi
}

# The last bytes of a log, which may go over two files, as they can stand in JSON.
end_of() {
    for file in "$2.old" "$2"; do
        if [ -f "$file" ] && [ -r "$file" ]; then tail -c "$1" -- "$file"; fi
    done | tail -c "$1" | base64 -w 0
}

# For programs: the keys are described in docs/run.md of imgbuild.
print_json() {
    digest=${digest:+\"$digest\"}
    printf '{"name":"%s","state":"%s","why":"%s","pid":%s,"last_sign":%s,' "$name" "$state" \
        "$(printf '%s' "$why" | tr -d '"\\\000-\037')" "${pid:-null}" "${last_sign:-null}"
    printf '"overlay_bytes":%s,"log_bytes":%s,"overlay_base":%s,"retired":%s,"service":"%s",' \
        "${overlay_bytes:-null}" "${log_bytes:-null}" "${digest:-null}" "$retired" "$service"
    printf '"status_base64":"%s","console_base64":"%s"}\n' \
        "$(end_of 65536 status.jsonl)" "$(end_of 8192 console.log)"
}

print_status() {
    case $state in
        running) echo "$name is running, as process $pid${why:+; $why}" ;;
        paused) echo "$name is paused: $(why_paused) (process $pid)" ;;
        *) echo "$name is off" ;;
    esac
    if [ "$retired" = true ]; then echo "  retired:    it never starts again"; fi
    if [ -n "$last_sign" ]; then
        echo "  last sign:  $(($(date +%s) - last_sign)) s ago, on its console or from firstboot"
    fi
    if [ -n "$overlay_bytes" ]; then
        echo "  disk:       $((overlay_bytes / 1000000)) MB, $overlay on the base ${digest:-(unknown)}"
    fi
    if [ -n "$log_bytes" ]; then echo "  logs:       $(((log_bytes + 999) / 1000)) kB"; fi
    case $service in
        systemd) echo "  service:    $unit, of systemd: starts with this PC, and again after a crash" ;;
        cron) echo "  service:    a line in the crontab: starts with this PC" ;;
        none) echo "  service:    none: nothing starts it when this PC is started" ;;
    esac
}
