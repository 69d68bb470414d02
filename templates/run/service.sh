# Whether and how the machine starts with this PC. A user's own unit of systemd is the better way: it
# starts the machine again after a crash. It outlives the user's last logout only where lingering is
# allowed. The other way is a line in the user's crontab.

# Which of both there is, and its options. Whose it is stands in it: a name may be in two labs, and
# one home on every PC of a room.
find_service() {
    service=none
    options=
    owner="imgbuild $PWD:"
    unit=imgbuild-$name.service
    units=${HOME:-/nonexistent}/.config/systemd/user
    find_user
    pc=$(uname -n)
    read_unit
    if [ "$unit_owner:$unit_pc" = "$PWD:$pc" ]; then
        service=systemd
        options=$unit_options
        return
    fi
    if command -v crontab >/dev/null; then
        line=$(crontab -l 2>/dev/null | cron_lines mine) || line=
        if [ -n "$line" ]; then
            service=cron
            options=${line#*" # $owner "}
        fi
    fi
}

read_unit() {
    unit_owner=
    unit_options=
    unit_pc=
    [ -r "$units/$unit" ] || return 0
    while read -r line; do
        case $line in
            "# imgbuild "*": "*)
                line=${line#"# imgbuild "}
                unit_owner=${line%%: *}
                unit_options=${line#*: }
                ;;
            ConditionHost=*) unit_pc=${line#*=} ;;
        esac
    done <"$units/$unit"
}

# Of a crontab on standard input: this machine's lines, or the others, byte for byte.
cron_lines() {
    perl -e 'my ($which, $mark) = @ARGV;
        while (my $line = <STDIN>) {
            my $mine = index($line, "\@reboot ") == 0 && index($line, $mark) >= 0;
            print $line if $mine == ($which eq "mine");
        }' -- "$1" " # $owner "
}

# ssh gives a session what it needs to reach the user's systemd; su and cron do not.
user_systemctl() {
    XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} systemctl --user "$@"
}

lingers() {
    [ "$(loginctl show-user "$user" --property=Linger --value 2>/dev/null)" = yes ]
}

# That this user's lingering was switched on here is kept, so that it can be taken back.
lingering_mark() {
    case ${XDG_STATE_HOME:-} in
        /*) mark=$XDG_STATE_HOME/imgbuild/lingering-$pc ;;
        *) mark=$HOME/.local/state/imgbuild/lingering-$pc ;;
    esac
}

# Why no unit of systemd will do is in $why then.
systemd_will_do() {
    if ! command -v systemctl >/dev/null || ! user_systemctl show-environment >/dev/null 2>&1; then
        why="there is no systemd for $user here (systemctl --user does not answer)"
        return 1
    fi
    if lingers; then return 0; fi
    if ! said=$(loginctl --no-ask-password enable-linger "$user" 2>&1) || ! lingers; then
        why="$user may not let services run without a login (loginctl enable-linger${said:+: $said})"
        return 1
    fi
    lingering_mark
    mkdir -p -- "${mark%/*}"
    : >"$mark"
}

install_service() {
    check_not_retired
    case $PWD in
        *[\'\"\\\$%\`]* | *[[:cntrl:]]* | *": "*)
            die "a unit or a crontab would misread this folder's path ($PWD): it has a quote," \
                "backslash, dollar, percent sign, control character, or a colon before a blank." \
                "Move the lab elsewhere"
            ;;
    esac
    [ -n "${HOME:-}" ] || die "HOME is not set"
    find_service
    before=$service
    if [ -n "$unit_owner" ] && [ "$unit_owner" != "$PWD" ] && [ "$unit_pc" = "$pc" ] &&
        [ -e "$unit_owner/run.sh" ]; then
        die "$unit belongs to another $name, in $unit_owner. Remove that first:" \
            "$unit_owner/run.sh service remove"
    fi
    changed=
    if systemd_will_do; then
        install_unit
        if [ "$before" = cron ]; then remove_cron_line; fi
        what="the systemd user unit $unit"
    else
        say "no systemd user unit: $why. So nothing starts it again after a crash, and it has no CPU weight"
        install_cron_line
        if [ "$before" = systemd ]; then remove_unit; fi
        what="a line in the crontab of $user"
    fi
    if [ -n "$changed" ]; then
        echo "$name: installed: $what starts it with this PC. Now: run.sh start"
    else
        echo "$name: unchanged: $what starts it with this PC"
    fi
}

install_unit() {
    new=$units/.$unit.$$
    mkdir -p -- "$units"
    unit_text >"$new"
    if [ -f "$units/$unit" ] && [ "$(cat -- "$new")" = "$(cat -- "$units/$unit")" ]; then
        rm -f -- "$new"
    else
        sync -- "$new"
        mv -f -- "$new" "$units/$unit"
        sync -- "$units"
        user_systemctl daemon-reload
        changed=yes
    fi
    if [ "$(user_systemctl is-enabled "$unit" 2>/dev/null)" != enabled ]; then
        user_systemctl --quiet enable "$unit" || die "systemctl --user enable $unit failed"
        changed=yes
    fi
}

# QEMU ends well after a shutdown of the guest, and only then. The lab may be in a home that other
# PCs have, too. What a PC that is switched off waits for a user's services is 120 s.
unit_text() {
    cat <<END
# imgbuild $PWD: $words/$polite_words
# Made by run.sh service install, and taken away by run.sh service remove.
[Unit]
Description=The virtual machine $name
ConditionHost=$pc
ConditionPathExists=$PWD/run.sh
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=exec
ExecStart=/bin/sh "$PWD/run.sh" --log$words
ExecStop=/bin/sh "$PWD/run.sh" stop --limit 90
Restart=on-failure
RestartSec=10
TimeoutStopSec=115
KillMode=mixed
Nice=$nice
IOSchedulingClass=$io_class
CPUWeight=$cpu_weight
OOMScoreAdjust=$oom_score

[Install]
WantedBy=default.target
END
}

# The user's crontab without this machine's line, in .crontab; there may be none.
other_cron_lines() {
    trap 'rm -f .crontab .crontab.all .crontab.said' EXIT
    if ! crontab -l >.crontab.all 2>.crontab.said; then
        said=$(cat .crontab.said)
        case $said in
            *"no crontab for"*) : >.crontab; return ;;
            *) die "cannot read the crontab of $user: $said" ;;
        esac
    fi
    cron_lines others <.crontab.all >.crontab
}

install_cron_line() {
    command -v crontab >/dev/null ||
        die "nothing here can start $name with this PC: $why, and cron is not installed." \
            "On Debian: sudo apt install cron"
    wanted="@reboot /bin/sh '$PWD/run.sh' start --log$words$polite_words # $owner $words/$polite_words"
    if [ "$(crontab -l 2>/dev/null | cron_lines mine)" = "$wanted" ]; then return; fi
    other_cron_lines
    printf '%s\n' "$wanted" >>.crontab
    said=$(crontab .crontab 2>&1) || die "cannot write the crontab of $user: $said"
    changed=yes
}

remove_cron_line() {
    other_cron_lines
    if [ -s .crontab ]; then crontab .crontab; else crontab -r; fi
    changed=yes
}

remove_unit() {
    if user_systemctl --quiet is-active "$unit" 2>/dev/null; then
        die "$name runs as this service. Stop it first: run.sh stop"
    fi
    user_systemctl --quiet disable "$unit" 2>/dev/null ||
        rm -f -- "$units/default.target.wants/$unit"
    rm -f -- "$units/$unit"
    rmdir -- "$units/default.target.wants" "$units" 2>/dev/null || :
    user_systemctl daemon-reload 2>/dev/null || :
    changed=yes
    lingering_mark
    [ -e "$mark" ] || return 0
    # Another machine on this PC needs it, too.
    if grep -qsx -- "ConditionHost=$pc" "$units"/imgbuild-*.service; then return; fi
    loginctl --no-ask-password disable-linger "$user" 2>/dev/null ||
        say "warning: cannot take back: loginctl enable-linger $user"
    rm -f -- "$mark"
    rmdir -- "${mark%/*}" 2>/dev/null || :
}

remove_service() {
    [ $# -eq 0 ] || usage_error "unknown argument: $1"
    find_service
    case $service in
        systemd) remove_unit ;;
        cron) remove_cron_line ;;
        none)
            echo "$name: unchanged: it is no service"
            return
            ;;
    esac
    echo "$name: removed: nothing starts it with this PC any more"
}

# What starts a service that is installed are its own options.
check_service_options() {
    find_service
    [ "$service" != none ] || return 0
    own_words=${options%/*}
    own_polite=${options#*/}
    given=${words:-$own_words}/${polite_words:-$own_polite}
    if [ "$given" != "$options" ]; then
        die "$name is a service, which starts with:${own_words:- no options}$own_polite." \
            "To start it otherwise: run.sh service install OPTIONS, or run.sh service remove"
    fi
    # Words of letters, digits, dots, dashes, colons and equals signs.
    # shellcheck disable=SC2086
    parse $own_words $own_polite
}

start_service() {
    user_systemctl reset-failed "$unit" 2>/dev/null || :
    if ! said=$(user_systemctl start "$unit" 2>&1); then
        die "systemd does not start $unit: $said"
    fi
    now
    # A base that is looked at for the first time takes its time.
    end=$((seconds + 600))
    until answers; do
        now
        [ "$seconds" -lt "$end" ] || die "$name did not start within 600 s: see $PWD/run.log"
        case $(user_systemctl show --property=ActiveState --value "$unit") in
            active) ;;
            *)
                user_systemctl stop "$unit" 2>/dev/null || :
                show_log
                die "$name did not start"
                ;;
        esac
        sleep 0.2
    done
    show_log
}
