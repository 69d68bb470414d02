//! The second factors that can be typed, and their form in Proxmox's API.

use crate::peer::Factors;
use firstboot::contract::seed::Secret;

/// What is asked for, in words.
pub(super) fn wanted(factors: Factors) -> String {
    let mut words = Vec::new();
    if factors.totp {
        words.push("the code of six digits");
    }
    if factors.yubico {
        words.push("the touch of the YubiKey");
    }
    if factors.recovery {
        words.push("a recovery key, which is used up by that");
    }
    words.join(", or ")
}

/// A second factor in Proxmox's form: `totp:123456`, `recovery:aaaa-bbbb-cccc-dddd`, `yubico:…`.
/// What cannot be one is refused here, where it costs no attempt.
pub(super) fn factor(text: &str, factors: Factors) -> Result<Secret, String> {
    let text = text.trim();
    let digits: String = text.chars().filter(|c| *c != ' ').collect();
    let is_code = (6..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let groups: Vec<&str> = text.split('-').collect();
    let is_group = |group: &&str| group.len() == 4 && group.bytes().all(|b| b.is_ascii_hexdigit());
    let is_recovery = groups.len() == 4 && groups.iter().all(is_group);
    let is_yubico = text.len() == 44 && text.bytes().all(|b| b.is_ascii_lowercase());
    let form = match () {
        () if is_code && factors.totp => format!("totp:{digits}"),
        () if is_recovery && factors.recovery => format!("recovery:{}", text.to_lowercase()),
        () if is_yubico && factors.yubico => format!("yubico:{text}"),
        () => return Err(format!("that is not {}", wanted(factors))),
    };
    Ok(Secret::new(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_factors_in_proxmoxs_form() {
        let all = Factors {
            totp: true,
            recovery: true,
            yubico: true,
        };
        let code = Factors {
            totp: true,
            ..Factors::default()
        };
        let form = |text: &str, factors| factor(text, factors).map(|f| f.reveal().to_owned());
        assert_eq!(form(" 123 456\t", all), Ok("totp:123456".into()));
        assert_eq!(
            form("12AB-34cd-56ef-7890", all),
            Ok("recovery:12ab-34cd-56ef-7890".into())
        );
        let yubico = "c".repeat(44);
        assert_eq!(form(&yubico, all), Ok(format!("yubico:{yubico}")));
        for text in ["", "12345", "12345x", "12ab-34cd-56ef-7890", &yubico] {
            assert_eq!(
                form(text, code),
                Err("that is not the code of six digits".into()),
                "{text}"
            );
        }
    }
}
