//! The options of a configuration file, as OpenVPN 2.6.14 takes them (Debian 12 and 13).

/// How many parameters each option takes, at least and at most, and the options. Found by asking
/// the program itself: a wrong number of parameters makes an option an unknown one to it.
/// `tests/firstboot/openvpn.rs` asks it again, where it is installed.
const OPTIONS: &str = "
0 0: allow-pull-fqdn allow-recursive-routing auth-nocache auth-user-pass-optional block-ipv6
    ccd-exclusive client client-to-client comp-noadapt disable-occ down-pre duplicate-cn
    errors-to-stderr fast-io float ifconfig-noexec ifconfig-nowarn machine-readable-output
    management-client management-client-auth management-forget-disconnect management-hold
    management-query-passwords management-query-proxy management-query-remote
    management-signal management-up-down mlock mtu-test multihome mute-replay-warnings
    no-replay nobind opt-verify passtos persist-key persist-local-ip persist-remote-ip
    persist-tun ping-timer-rem pkcs11-id-management pull push-peer-info remote-random
    remote-random-hostname route-noexec route-nopull single-session suppress-timestamps
    tcp-nodelay tls-client tls-exit tls-server tun-ipv6 up-delay up-restart
    username-as-common-name vlan-tagging
0 1: askpass auth-user-pass bind comp-lzo compress daemon engine explicit-exit-notify
    ip-remote-hint max-routes preresolve syslog verify-client-cert
0 2: mssfix route-delay
0 4: server-bridge
0 many: auth-gen-token disable-dco echo force-tls-key-material-export http-proxy-retry
    management-external-key pkcs11-cert-private pkcs11-protected-authentication
    redirect-gateway redirect-private remote-cert-ku socket-flags socks-proxy-retry
1 1: allow-compression auth auth-gen-token-secret auth-retry auth-token auth-token-user
    bcast-buffers ca capath cd cert chroot cipher client-config-dir config connect-retry-max
    connect-timeout crl-verify data-ciphers data-ciphers-fallback dev dev-node dev-type dh
    ecdh-curve extra-certs group hand-window http-proxy-timeout ifconfig-ipv6-pool key
    key-direction link-mtu lladdr local log log-append lport management-client-group
    management-client-user management-external-cert management-log-cache mark max-clients
    max-packet-size max-routes-per-client mode mtu-disc mute ncp-ciphers nice ns-cert-type
    peer-fingerprint peer-id ping ping-exit ping-restart pkcs11-id pkcs11-pin-cache pkcs12
    port proto proto-force push rcvbuf remap-usr1 remote-cert-eku remote-cert-tls
    reneg-bytes reneg-pkts replay-persist resolv-retry route-gateway route-ipv6-gateway
    route-method route-metric rport script-security server-ipv6 server-poll-timeout
    session-timeout shaper sndbuf status-version tcp-queue-limit tls-cert-profile tls-cipher
    tls-ciphersuites tls-crypt-v2-verify tls-export-cert tls-groups tls-timeout
    tls-version-max tmp-dir topology tran-window tun-mtu-extra txqueuelen udp-mtu user verb
    vlan-accept vlan-pvid writepid x509-track
1 2: compat-mode connect-retry connection dhcp-option fragment ifconfig-pool-persist
    inactive prng reneg-sec replay-window secret setenv setenv-safe stale-routes-check
    status tls-auth tls-crypt tls-crypt-v2 tls-version-min tun-mtu tun-mtu-max verify-hash
    verify-x509-name
1 3: http-proxy-option remote route-ipv6 socks-proxy
1 4: http-proxy route
1 many: auth-user-pass-verify bind-dev client-connect client-crresponse client-disconnect
    dns down http-proxy-user-pass ignore-unknown-option ipchange key-derivation
    learn-address pkcs11-private-mode pkcs11-providers plugin protocol-flags providers
    route-pre-down route-up tls-verify up x509-username-field
2 2: connect-freq connect-freq-initial hash-size ifconfig ifconfig-ipv6
    ifconfig-push-constraint keepalive pull-filter static-challenge
2 3: http-proxy-override ifconfig-pool management port-share server
2 many: keying-material-exporter
4 4: client-nat
";

/// Those that may stand as a block, `<ca>` … `</ca>`.
const INLINE: &str = "
    auth-gen-token-secret auth-user-pass ca cert connection crl-verify dh extra-certs
    http-proxy-user-pass key peer-fingerprint pkcs12 secret tls-auth tls-crypt tls-crypt-v2
";

/// Those that may stand inside `<connection>`.
const CONNECTION: &str = "
    bind connect-retry connect-retry-max connect-timeout explicit-exit-notify float fragment
    http-proxy http-proxy-option http-proxy-retry http-proxy-timeout key-direction link-mtu
    local lport max-packet-size mssfix mtu-disc nobind port proto remote rport
    server-poll-timeout socks-proxy socks-proxy-retry tls-auth tls-crypt tls-crypt-v2 tun-mtu
    tun-mtu-extra tun-mtu-max udp-mtu
";

/// Options of older releases that OpenVPN 2.6 refuses, and what stands in their place.
const GONE: [(&str, &str); 10] = [
    (
        "client-cert-not-required",
        "`verify-client-cert none`, on the server only",
    ),
    ("compat-names", "no such line"),
    ("key-method", "no such line: method 2 is the only one"),
    ("keysize", "no such line: the cipher has its own size"),
    ("mtu-dynamic", "`fragment`, or no such line"),
    (
        "ncp-disable",
        "no such line; for a server that negotiates no cipher: `data-ciphers-fallback CIPHER`",
    ),
    ("no-iv", "no such line"),
    ("no-name-remapping", "no such line"),
    ("tls-remote", "`verify-x509-name NAME name`"),
    ("use-prediction-resistance", "no such line"),
];

/// Options that OpenVPN has on Windows only. On Debian each of them keeps it from starting.
const WINDOWS: &str = "
    allow-nonadmin block-outside-dns cryptoapicert dhcp-pre-release dhcp-release dhcp-renew
    ip-win32 pause-exit register-dns service show-net-up tap-sleep win-sys windows-driver
";

/// Options that a server pushes or reads in a client's file, and no configuration holds.
const PUSHED: &str = "
    disable ifconfig-ipv6-push ifconfig-push iroute iroute-ipv6 push-continuation
    push-remove push-reset
";

/// Whether a name is one of these words.
pub(super) fn is_one_of(words: &str, name: &str) -> bool {
    words.split_whitespace().any(|word| word == name)
}

/// What is known of an option's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// An option with this least and this greatest number of parameters.
    Takes(usize, usize),
    /// One that OpenVPN 2.6 refuses, and what would be right.
    Gone(&'static str),
    /// One of Windows only.
    Windows,
    /// One that has no place in a configuration file.
    Pushed,
    /// None.
    Unknown,
}

/// What is known of this name.
pub(super) fn known(name: &str) -> Known {
    if let Some((_, hint)) = GONE.iter().find(|(gone, _)| *gone == name) {
        return Known::Gone(hint);
    }
    match () {
        () if is_one_of(WINDOWS, name) => Known::Windows,
        () if is_one_of(PUSHED, name) => Known::Pushed,
        () => match all().find(|(option, ..)| *option == name) {
            Some((_, least, most)) => Known::Takes(least, most),
            None => Known::Unknown,
        },
    }
}

/// Every option with its least and greatest number of parameters.
pub fn all() -> impl Iterator<Item = (&'static str, usize, usize)> {
    let (mut least, mut most) = (0, 0);
    OPTIONS.split_whitespace().filter_map(move |word| {
        if let Some(number) = word.strip_suffix(':') {
            most = number.parse().unwrap_or(usize::MAX);
        } else if let Ok(number) = word.parse() {
            least = number;
        } else {
            return Some((word, least, most));
        }
        None
    })
}

/// Whether the option may stand as a block.
pub(super) fn may_be_inline(name: &str) -> bool {
    is_one_of(INLINE, name)
}

/// Whether the option may stand inside `<connection>`.
pub(super) fn may_be_in_connection(name: &str) -> bool {
    is_one_of(CONNECTION, name)
}

/// Every option that OpenVPN 2.6 refuses, whatever follows it.
pub fn refused() -> impl Iterator<Item = &'static str> {
    let gone = GONE.iter().map(|(name, _)| *name);
    let others = WINDOWS.split_whitespace();
    gone.chain(others).chain(PUSHED.split_whitespace())
}

/// The option that differs by one letter left out, put in, changed or swapped.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let is_near = |option: &&str| option.len() > 3 && is_one_off(name, option);
    all().map(|(option, ..)| option).find(is_near)
}

fn is_one_off(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same..], &b[same..]);
    match a.len() as isize - b.len() as isize {
        0 => {
            let swapped = a.len() > 1 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..];
            swapped || !a.is_empty() && a[1..] == b[1..]
        }
        1 => a[1..] == *b,
        -1 => *a == b[1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        for (word, option) in [
            ("remtoe", "remote"),
            ("remot", "remote"),
            ("clientt", "client"),
            ("tls-auht", "tls-auth"),
        ] {
            assert_eq!(nearest(word), Some(option));
        }
        assert_eq!(nearest("hunter2"), None);
    }
}
