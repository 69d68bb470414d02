//! `lab.html`: the report as one page without anything from outside.
//!
//! What the PCs said reaches it only as data, which its script shows as text; and it names by their
//! digests the one script and the one style that a browser may take.

use super::Report;
use super::rooms::{Pc, Vm};
use super::table::{SHORT_DIGEST, short_names};
use crate::system::files::{move_into_place, write_new};
use crate::system::program;
use crate::system::work_folder::{Busy, WorkFolder};
use crate::vm::boots::{Boot, Part};
use crate::vm::state::State;
use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The file's name in the folder of what was collected.
pub(super) const NAME: &str = "lab.html";

const PAGE: &str = include_str!("../../../../../templates/lab.html");
const STYLE: &str = include_str!("../../../../../templates/lab.css");
const SCRIPT: &str = include_str!("../../../../../templates/lab.js");

/// It quotes consoles, which are as private as the disks.
const MODE: u32 = 0o600;
/// How much of a text, and how many steps, the page takes.
const LONGEST_TEXT: usize = 600;
const LONGEST_LINE: usize = 240;
const MOST_STEPS: usize = 100;

/// Writes the page whole; one that is there keeps its mode, which somebody may have chosen.
pub(super) fn write(report: &Report, page: &Path) -> Result<()> {
    let text = render(report)?;
    let mode = fs::metadata(page).map_or(MODE, |found| found.permissions().mode() & 0o777);
    let folder = page.parent().unwrap_or(Path::new("."));
    let write = || {
        let work = WorkFolder::new(folder, "imgbuild-report", Busy::Wait)?;
        let new = work.path().join(NAME);
        write_new(&new, text.as_bytes(), mode)?;
        move_into_place(&[(new, page.to_owned())])
    };
    write().with_context(|| {
        format!(
            "cannot write {}: the page is made beside what was collected, in a folder that you \
             may write to: ls -ld {}",
            page.display(),
            program::quote(&folder.to_string_lossy())
        )
    })
}

fn render(report: &Report) -> Result<String> {
    let digest = |text: &str| Base64::encode_string(&Sha256::digest(text));
    let mut context = tera::Context::new();
    context.insert("title", &report.name);
    context.insert("data", &harmless(&data(report)));
    context.insert("style", STYLE);
    context.insert("script", SCRIPT);
    context.insert("style_digest", &digest(STYLE));
    context.insert("script_digest", &digest(SCRIPT));
    tera::Tera::one_off(PAGE, &context, true).context("cannot render lab.html")
}

/// JSON for a script element: nothing in it ends the element or opens a comment (HTML, 13.2.5.4 and on:
/// `</script>`, `<!--`, `<script`), and it is the same JSON.
fn harmless(data: &Value) -> String {
    let mut text = data.to_string();
    for (sign, escape) in [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")] {
        text = text.replace(sign, escape);
    }
    text
}

fn data(report: &Report) -> Value {
    let short = short_names(report);
    let rooms: Vec<Value> = report
        .rooms
        .iter()
        .map(|room| {
            let pcs = room.pcs.iter();
            let name = |pc: &Pc| short.get(pc.name.as_str()).copied().unwrap_or_default();
            let pcs: Vec<Value> = pcs
                .map(|pc| self::pc(pc, name(pc), report.old(pc).is_some()))
                .collect();
            json!({"name": room.name, "pcs": pcs})
        })
        .collect();
    json!({
        "now": report.now, "answered": report.answered, "words": State::WORDS,
        "base": report.base.as_deref().map(short_digest), "rooms": rooms,
    })
}

fn pc(pc: &Pc, short: &str, old: bool) -> Value {
    let vms: Vec<Value> = pc.vms.iter().map(|each| vm(each, pc.asked)).collect();
    json!({
        "name": pc.name, "short": short, "asked": pc.asked, "answered": pc.answered,
        "old": old, "missing": pc.missing.iter().map(|text| cut(text, LONGEST_TEXT)).collect::<Vec<_>>(),
        "vms": vms,
    })
}

fn vm(vm: &Vm, asked: Option<u64>) -> Value {
    let mut data = json!({
        "name": cut(&vm.name, LONGEST_LINE), "state": vm.state.word(),
        "reason": cut(vm.state.reason(), LONGEST_TEXT), "notes": vm.notes,
        "unlike": vm.unlike,
    });
    if let Some(seen) = &vm.seen {
        let console: Vec<_> = seen
            .console
            .iter()
            .map(|line| cut(line, LONGEST_LINE))
            .collect();
        let silence = asked
            .unwrap_or_default()
            .saturating_sub(seen.last_sign.unwrap_or(u64::MAX));
        data["seen"] = json!({
            "qemu": seen.qemu, "pid": seen.pid, "sign": seen.last_sign, "overlay": seen.overlay_bytes,
            "logs": seen.log_bytes, "base": seen.overlay_base.as_deref().map(short_digest),
            "current": vm.on_current_base, "service": seen.service, "console": console,
            "boot": seen.first_boot().map(|boot| self::boot(boot, silence)), "boots": seen.boots.len(),
        });
    }
    data
}

/// One boot, whose last line is `silence` seconds old.
fn boot(boot: &Boot, silence: u64) -> Value {
    let steps: Vec<Value> = boot
        .steps
        .iter()
        .take(MOST_STEPS)
        .map(|step| {
            let detail = step.detail.as_deref().unwrap_or_default();
            json!([
                step.stage,
                cut(&step.step, LONGEST_LINE),
                step.result,
                step.seconds,
                step.uptime,
                cut(detail, LONGEST_TEXT)
            ])
        })
        .collect();
    let spans = boot.spans.iter();
    let mut spans: Vec<Value> = spans
        .map(|span| json!([span.part, span.from, span.to]))
        .collect();
    if boot.waiting.is_some() {
        spans.push(json!([
            Part::Waits,
            boot.uptime,
            boot.uptime + silence as f64
        ]));
    }
    json!({"steps": steps, "spans": spans, "ended": boot.verdict.is_some()})
}

fn short_digest(digest: &str) -> String {
    digest.chars().take(SHORT_DIGEST).collect()
}

/// The beginning of a text that is too long for a page with thousands of them.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_ends_no_script_and_stays_the_same() {
        let data = json!({"a": "</script><!--<script>&amp;\u{2028}", "<b>": 1});
        let text = harmless(&data);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), data);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü…");
    }
}
