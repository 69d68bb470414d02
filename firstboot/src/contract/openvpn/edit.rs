//! What firstboot changes in a configuration before OpenVPN reads it, and asks of it.

use super::parse::{self, Opt};
use std::borrow::Cow;

/// The configuration with the persistent `tap` for an open `dev tap`, which would make OpenVPN
/// take any new one. A device that is written out is left alone.
pub fn with_tap<'a>(text: &'a str, tap: Option<&str>) -> Cow<'a, str> {
    let Some(tap) = tap.filter(|_| has_open_tap(text)) else {
        return Cow::Borrowed(text);
    };
    Cow::Owned(edited(text, |option| match option.name.as_str() {
        "dev" if is_open_tap(option) => Some(format!("dev {tap}\ndev-type tap\n")),
        "dev-type" => Some(String::new()),
        _ => None,
    }))
}

/// Whether the configuration says `dev tap`.
pub fn has_open_tap(text: &str) -> bool {
    parse::parse(text).options.iter().any(is_open_tap)
}

/// Whether it calls somebody; otherwise it waits to be called, however long that takes.
pub fn calls_somebody(text: &str) -> bool {
    let options = parse::parse(text).options;
    options.iter().any(|option| option.name == "remote")
}

fn is_open_tap(option: &Opt) -> bool {
    option.name == "dev" && option.block.is_none() && option.parameter(0) == Some("tap")
}

/// The configuration that takes user and password from this file.
pub fn with_user_pass(text: &str, file: &str) -> String {
    let line = format!("auth-user-pass {file}\n");
    let mut is_there = false;
    let mut made = edited(text, |option| {
        let first = option.name == "auth-user-pass" && !std::mem::replace(&mut is_there, true);
        match option.name.as_str() {
            "auth-user-pass" if first => Some(line.clone()),
            "auth-user-pass" => Some(String::new()),
            _ => None,
        }
    });
    if !is_there {
        if !made.is_empty() && !made.ends_with('\n') {
            made.push('\n');
        }
        made.push_str(&line);
    }
    made
}

/// The text with other lines for the options that `change` gives some for.
pub(super) fn edited(text: &str, mut change: impl FnMut(&Opt) -> Option<String>) -> String {
    let mut made = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for option in parse::parse(text).options {
        let Some(lines) = change(&option) else {
            continue;
        };
        made.push_str(&text[at..option.bytes.start]);
        made.push_str(&lines);
        at = option.bytes.end;
    }
    made.push_str(&text[at..]);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str =
        "client\ndev tap # the bridge\nremote vpn.lab 1194\n<ca>\ndev tap\n</ca>\nnobind";

    #[test]
    fn an_open_tap_becomes_the_bridge_port() {
        assert_eq!(
            with_tap(CONF, Some("tap120")),
            "client\ndev tap120\ndev-type tap\nremote vpn.lab 1194\n<ca>\ndev tap\n</ca>\nnobind"
        );
    }

    #[test]
    fn a_second_device_type_is_not_added() {
        assert_eq!(
            with_tap("dev-type tap\ndev tap\n", Some("tap120")),
            "dev tap120\ndev-type tap\n"
        );
    }

    #[test]
    fn a_device_that_is_written_out_stays() {
        for conf in [
            "dev tap7\n",
            "dev tun\n",
            ";dev tap\n",
            "<key>\ndev tap\n</key>\n",
        ] {
            assert_eq!(with_tap(conf, Some("tap120")), conf);
        }
        assert_eq!(with_tap(CONF, None), CONF);
    }

    #[test]
    fn user_and_password_come_from_one_file() {
        let file = "/etc/openvpn/vpn.auth";
        let with = |text| with_user_pass(text, file);
        assert_eq!(
            with("client\nauth-user-pass\nnobind\n"),
            "client\nauth-user-pass /etc/openvpn/vpn.auth\nnobind\n"
        );
        assert_eq!(
            with("client"),
            "client\nauth-user-pass /etc/openvpn/vpn.auth\n"
        );
        assert_eq!(
            with("auth-user-pass x.txt\n<auth-user-pass>\nu\np\n</auth-user-pass>\nclient\n"),
            "auth-user-pass /etc/openvpn/vpn.auth\nclient\n"
        );
    }
}
