//! The recipe of `imgbuild peer`: what a member's certificate is, for lab.yaml.

use crate::peer::http::{self, Request};
use crate::peer::{Certificate, Failure, PORT, Pins, connect};
use crate::system::clock;
use crate::system::interrupt::Interrupted;
use crate::system::text;
use crate::system::ui::Ui;
use anyhow::{Result, bail};
use serde_json::json;
use std::net::IpAddr;

/// Connects to a member without a pin, sends no secret, and shows what came.
pub fn peer(address: &str, ui: &Ui) -> Result<()> {
    if let Some(host) = written_with_more(address) {
        bail!(
            "`{}` is more than an address: a member is asked on port {PORT}, by its IP address or \
             name alone\n  right: imgbuild peer {host}",
            text::plain(address)
        );
    }
    let (certificate, remark) = match connect(address, PORT, Pins::Any) {
        Ok(mut connection) => {
            let answer = http::exchange(&mut connection, address, "/", &Request::Get);
            let remark = match answer {
                Err(Failure::Interrupted) => return Err(Interrupted::default().into()),
                Err(failure) => Some(format!("{address} may not be a Proxmox VE node: {failure}")),
                Ok(answer) => stranger(address, answer.header("server")),
            };
            (connection.certificate, remark)
        }
        Err(refused) => match (refused.certificate, refused.failure) {
            (_, Failure::Interrupted) => return Err(Interrupted::default().into()),
            (Some(certificate), failure) => {
                let words = format!("the connection to {address} was not finished: {failure}");
                (certificate, Some(words))
            }
            (None, failure) => bail!(
                "{address}: {failure}\n  Where only the VPN leads to it, a member shows it itself: \
                 openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem"
            ),
        },
    };
    show_result(address, &certificate, ui);
    for warning in warnings(&certificate).into_iter().chain(remark) {
        ui.warn(&warning);
    }
    Ok(())
}

fn show_result(address: &str, certificate: &Certificate, ui: &Ui) {
    let fingerprint = certificate.fingerprint();
    let details = certificate.details();
    if ui.is_json() {
        ui.event(&json!({
            "event": "peer", "address": address, "fingerprint": fingerprint,
            "subject": details.as_ref().map(|d| &d.subject),
            "issuer": details.as_ref().map(|d| &d.issuer),
            "names": details.as_ref().map(|d| &d.names),
            "from": details.as_ref().map(|d| clock::utc(d.from)),
            "to": details.as_ref().map(|d| clock::utc(d.to)),
        }));
        return;
    }
    if let Some(details) = &details {
        let names = match details.names.is_empty() {
            true => "none".to_owned(),
            false => details.names.join(", "),
        };
        for (key, value) in [
            ("subject", &details.subject),
            ("issuer", &details.issuer),
            ("names", &names),
            ("valid from", &clock::minute(details.from)),
            ("valid to", &clock::minute(details.to)),
        ] {
            ui.line(&format!("{key:<12}{value}"));
        }
    }
    ui.line(&format!("{:<12}{fingerprint}", "SHA-256"));
    for line in [
        "",
        "Compare the SHA-256 with what that member itself prints, on its own console or over ssh:",
        "  openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem",
        "(pveproxy-ssl.pem where that file is there). Only when both are the same, for lab.yaml:",
        "",
        "    peers:",
    ] {
        ui.line(line);
    }
    ui.line(&format!("      - address: {}", yaml(address)));
    ui.line(&format!("        fingerprint: \"{fingerprint}\""));
}

/// The address in what a browser shows, with `https://`, a port or a path; `None` where nothing but
/// an address is there.
fn written_with_more(text: &str) -> Option<String> {
    if text.parse::<IpAddr>().is_ok() {
        return None;
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None if rest.matches(':').count() == 1 => rest.split(':').next().unwrap_or_default(),
        None => rest,
    };
    let host = match host.is_empty() {
        true => "ADDRESS".to_owned(),
        false => text::plain(host),
    };
    (host != text).then_some(host)
}

/// An IPv6 address needs quotes.
fn yaml(address: &str) -> String {
    match address.contains(':') {
        true => format!("\"{address}\""),
        false => address.to_owned(),
    }
}

fn warnings(certificate: &Certificate) -> Option<String> {
    match certificate.details() {
        Some(details) => details.dates_are_wrong(clock::now()),
        None => Some("the certificate cannot be read; only its SHA-256 is known".to_owned()),
    }
}

/// pveproxy names itself in every answer.
fn stranger(address: &str, server: Option<&str>) -> Option<String> {
    let server = server.unwrap_or_default();
    if server.starts_with("pve-api-daemon/") {
        return None;
    }
    let who = match server {
        "" => "without the name of a server".to_owned(),
        server => format!("as {}", text::plain(server)),
    };
    Some(format!(
        "{address} answers {who}, and Proxmox VE answers as pve-api-daemon: it may not be a Proxmox VE node"
    ))
}
