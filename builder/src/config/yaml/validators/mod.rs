//! The forms that values must have. Each function says what is wrong with a value; what
//! would be right is said by the key it belongs to.

mod duration;
mod zones;

pub use super::display::display_safe;
pub use duration::{duration, duration_text};

use super::display::check;
use firstboot::contract::values::{Host, HostDomain, HostName, Timezone, ValueError};
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

/// The bytes of a mebibyte.
pub const MIB: u64 = 1 << 20;
/// The bytes of a gibibyte.
pub const GIB: u64 = 1 << 30;

/// A value of the contract; what is wrong with it is said in the contract's words.
pub fn value<T: FromStr<Err = ValueError>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error: ValueError| format!("`{}` {}", display_safe(text), error.message()))
}

/// As [`value`], for a name whose form is not told by its key's hint.
pub fn name<T: FromStr<Err = ValueError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: ValueError| {
        let (message, form) = (error.message(), error.hint());
        format!("`{}` {message} ({form})", display_safe(text))
    })
}

/// As [`value`], for a text that may be a secret in the wrong place: it is not repeated.
pub fn unshown<T: FromStr<Err = ValueError>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error: ValueError| format!("this {}", error.message()))
}

/// A size in bytes: `4G`, `4GiB`, `512M` or a number of bytes, a whole number of MiB.
pub fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(format!("`{}` is no size", display_safe(text))),
    };
    check(digits > 0, text, "is no size")?;
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{}` is out of range", display_safe(text)))?;
    let bytes = number.checked_mul(1 << shift).filter(|b| *b <= max);
    let Some(bytes) = bytes else {
        return Err(format!(
            "`{}` is more than {}",
            display_safe(text),
            size_text(max)
        ));
    };
    check(
        bytes >= min,
        text,
        &format!("is less than {}", size_text(min)),
    )?;
    check(bytes % MIB == 0, text, "is not a whole number of MiB")?;
    Ok(bytes)
}

/// A size as a person writes it.
pub fn size_text(bytes: u64) -> String {
    for (unit, shift) in [("T", 40), ("G", 30), ("M", 20), ("K", 10)] {
        if bytes != 0 && bytes % (1 << shift) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A whole number within bounds.
pub fn number(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let number: u32 = text.parse().map_err(|_| {
        format!(
            "`{}` is no whole number from {min} to {max}",
            display_safe(text)
        )
    })?;
    let within = (min..=max).contains(&number);
    check(within, text, &format!("is not within {min} to {max}"))?;
    Ok(number)
}

/// `true` or `false`, and nothing that YAML once took for them. Never repeats the value: it may be
/// a password, where somebody took `ssh_password` for the place of one.
pub fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("this is neither true nor false".to_owned()),
    }
}

/// The short name of a machine, lower-case.
pub fn label(text: &str) -> Result<HostName, String> {
    check(
        !text.contains('.'),
        text,
        "has a dot: the short name, without a domain, is wanted",
    )?;
    host_name(text)
}

/// The domain of machines, lower-case.
pub fn domain(text: &str) -> Result<HostDomain, String> {
    lower_case(text)?;
    value(text)
}

/// A host name with or without its domain, lower-case.
pub fn host_name(text: &str) -> Result<HostName, String> {
    lower_case(text)?;
    value(text)
}

/// An IP address or a host name, lower-case.
pub fn host(text: &str) -> Result<Host, String> {
    if text.parse::<IpAddr>().is_err() {
        lower_case(text)?;
    }
    value(text)
}

fn lower_case(text: &str) -> Result<(), String> {
    check(
        !text.contains(|c: char| c.is_ascii_uppercase()),
        text,
        "has upper-case letters",
    )
}

/// The name of a Debian package (Debian Policy 5.6.1).
pub fn package(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    // APT takes a minus at the end for a removal.
    let fits = text.len() >= 2 && first && text.chars().all(good) && !text.ends_with('-');
    check(
        fits,
        text,
        "is no name of a Debian package (lower-case letters, digits, + - ., and no - at the end)",
    )?;
    Ok(text.to_owned())
}

/// An `http://` or `https://` address without credentials, without a trailing slash.
pub fn url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err(format!(
            "`{}` is no http:// or https:// address",
            display_safe(text)
        ));
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        // Not repeated: what stands before the @ is a password.
        return Err("the address holds a user name or password".to_owned());
    }
    check(
        host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['),
        text,
        "names no host",
    )?;
    check(
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~:/[]%+,=".contains(c)),
        text,
        "has characters that no repository address has",
    )?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// An HTTP proxy: `http://HOST:PORT`, without credentials.
pub fn proxy(text: &str) -> Result<String, String> {
    let url = url(text)?;
    let host = url.strip_prefix("http://");
    check(host.is_some(), text, "is no http:// address")?;
    let host = host.unwrap_or_default();
    check(
        !host.contains('/'),
        text,
        "has a path, and a proxy has none",
    )?;
    let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    check(matches!(port, Some(Ok(1..))), text, "names no port")?;
    Ok(url)
}

/// A time zone's name in the tz database, such as `Europe/Paris`.
pub fn timezone(text: &str) -> Result<Timezone, String> {
    let zone = value(text)?;
    // A lone word in lower case is what people guess; the database has none.
    check(
        text.starts_with(|c: char| c.is_ascii_uppercase()),
        text,
        "is no name of a time zone: those begin with a capital",
    )?;
    match zones::unknown(Path::new(zones::FOLDER), text) {
        Some(words) => Err(format!("`{}` {words}", display_safe(text))),
        None => Ok(zone),
    }
}

/// A locale with UTF-8: `C.UTF-8`, `fr_FR.UTF-8`, `ca_ES.UTF-8@valencia`.
pub fn locale(text: &str) -> Result<String, String> {
    let (name, rest) = text.split_once('.').unwrap_or((text, ""));
    let (codeset, modifier) = rest.split_once('@').unwrap_or((rest, "none"));
    let (language, territory) = name.split_once('_').unwrap_or((name, "XX"));
    let lower = |s: &str| s.chars().all(|c| c.is_ascii_lowercase());
    let named = name == "C"
        || (matches!(language.len(), 2 | 3)
            && lower(language)
            && territory.len() == 2
            && territory.chars().all(|c| c.is_ascii_uppercase()));
    check(
        named && !modifier.is_empty() && lower(modifier),
        text,
        "is no locale",
    )?;
    check(codeset == "UTF-8", text, "has no `.UTF-8`")?;
    Ok(text.to_owned())
}

/// Lower-case hex of a SHA-256 digest.
pub fn sha256(text: &str) -> Result<String, String> {
    digest(text, 64)
}

/// Lower-case hex of a SHA-512 digest.
pub fn sha512(text: &str) -> Result<String, String> {
    digest(text, 128)
}

fn digest(text: &str, wanted: usize) -> Result<String, String> {
    let hex = text.chars().all(|c| c.is_ascii_hexdigit());
    check(hex, text, "has characters that are no hex digits")?;
    let digits = text.len();
    let wrong = format!("has {digits} digits, not {wanted}");
    check(digits == wanted, text, &wrong)?;
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let read = |text| size(text, 2 * GIB, 2048 * GIB);
        for text in ["4G", "4GiB", "4 GiB", "4096M", "4294967296"] {
            assert_eq!(read(text), Ok(4 * GIB), "{text}");
        }
        assert_eq!(read("2T"), Ok(2048 * GIB));
        for (text, message) in [
            ("4GB", "`4GB` is no size"),
            ("G", "`G` is no size"),
            ("-4G", "`-4G` is no size"),
            ("4.5G", "`4.5G` is no size"),
            ("3T", "`3T` is more than 2T"),
            (
                "99999999999999999999",
                "`99999999999999999999` is out of range",
            ),
            ("99999999999999T", "`99999999999999T` is more than 2T"),
            ("1G", "`1G` is less than 2G"),
            ("4294967297", "`4294967297` is not a whole number of MiB"),
        ] {
            assert_eq!(read(text), Err(message.to_owned()));
        }
        assert_eq!(size_text(3 * GIB / 2), "1536M");
        assert_eq!(size_text(0), "0");
        assert_eq!(size_text(7), "7");
    }

    #[test]
    fn names() {
        assert!(label("pc-07").is_ok() && domain("lab.example.org").is_ok());
        for bad in ["", "A", "a.b"] {
            assert!(label(bad).is_err(), "{bad}");
        }
        for bad in ["", "a..b", "A", "lab.7"] {
            assert!(domain(bad).is_err(), "{bad}");
        }
        assert!(host("FD00::1").is_ok() && host("NAS").is_err() && host("nas.1").is_err());
        assert!(package("g++-14").is_ok() && package("libc6.1").is_ok());
        for bad in [
            "",
            "a",
            "a-",
            "vim--",
            "Vim",
            "-vim",
            "vim emacs",
            "vim=1",
            "a;b",
        ] {
            assert!(package(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(
            url("https://a.example:8080/x/"),
            Ok("https://a.example:8080/x".into())
        );
        for bad in [
            "ftp://a",
            "http://",
            "http:///x",
            "http://a b",
            "http://a\"$(x)",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        let with_password = url("http://me:hunter2@a.example/").unwrap_err();
        assert!(!with_password.contains("hunter2"));
    }

    #[test]
    fn proxies() {
        for good in ["http://proxy.example.org:3128", "http://[2001:db8::1]:3128"] {
            assert_eq!(proxy(good), Ok(good.to_owned()));
        }
        assert_eq!(proxy("http://a:80/"), Ok("http://a:80".into()));
        for bad in [
            "proxy.example.org:3128",
            "https://proxy.example.org:3128",
            "http://proxy.example.org",
            "http://proxy.example.org:0",
            "http://proxy.example.org:65536",
            "http://proxy.example.org:3128/x",
            "http://me:hunter2@proxy.example.org:3128",
        ] {
            assert!(proxy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zones_and_locales() {
        assert!(timezone("Europe/Paris").is_ok() && timezone("UTC").is_ok());
        assert!(timezone("utc").is_err() && timezone("../x").is_err());
        for good in ["C.UTF-8", "fr_FR.UTF-8", "ca_ES.UTF-8@valencia", "eo.UTF-8"] {
            assert!(locale(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "C",
            "fr_FR",
            "fr_FR.utf8",
            "FR_fr.UTF-8",
            "fr_FR.UTF-8@",
            "x;y.UTF-8",
        ] {
            assert!(locale(bad).is_err(), "{bad}");
        }
    }
}
