//! lab.html as Chromium shows it.

use super::browser::Browser;
use super::{CONFIGURED, FAILED, Lab, STARTED, every_state, vm, waiting};
use serde_json::json;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use testkit::{has, sha256};

fn page(lab: &Lab) -> PathBuf {
    let done = lab.report(&[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    lab.path("status/lab.html")
}

/// The texts of all elements that a selector finds and that are shown, one a line.
fn shown(selector: &str) -> String {
    format!(
        "[...document.querySelectorAll('{selector}')].filter((e) => e.offsetParent).map((e) => e.textContent).join('\\n')"
    )
}

#[test]
fn one_pc_tells_its_vms_story_by_mouse_and_by_key() {
    let lab = Lab::new("vms: [{name: vm101, host: pc-b-01}]\n");
    let waits = waiting("the cluster has no quorum");
    lab.answer(
        "pc-b-01",
        &[vm("vm101", "running", &waits, "Debian\r\nlogin: ")],
    );
    let file = page(&lab);
    let mut browser = Browser::new();
    browser.open(&file, 1280, false);
    assert_eq!(
        browser.text(&shown(".room h2")),
        "room-b0 of 1 VM configured"
    );
    assert_eq!(browser.text(&shown(".tile")), "pc-b-01waitingvm101");
    assert_eq!(
        browser.text("document.querySelector('.tile').getAttribute('aria-label')"),
        "pc-b-01, vm101, waiting"
    );
    assert_eq!(browser.text(&shown(".bar .who")), "vm101");
    assert_eq!(browser.run("document.querySelectorAll('.bar i').length"), 5);

    // A click opens it, Escape closes it, and who uses the keyboard is where they were.
    let is_open = "document.getElementById('details').open";
    assert_eq!(browser.run(is_open), false);
    browser.run("document.querySelector('.tile').focus()");
    browser.run("document.querySelector('.tile').click()");
    assert_eq!(browser.run(is_open), true);
    let body = browser.text("document.getElementById('details').innerText");
    for part in [
        "joining, attempt 4, next in 2 min, because the cluster has no quorum",
        "running, process 4711",
        "26 MB",
        "41 kB",
        "0:07\t0.3 s\thostname\tchanged\tlocalhost -> vm",
        "0:09\t1.5 s\tnetwork\tunchanged",
        "Debian\nlogin:",
        &format!(
            "{} (the lab's)",
            &sha256(b"this stands in for an image\n")[..12]
        ),
    ] {
        has(&body, part);
    }
    browser.press("Escape", 27, "");
    assert_eq!(browser.run(is_open), false);
    assert_eq!(
        browser.run("document.activeElement.className.startsWith('tile')"),
        true
    );
    browser.press("Enter", 13, "\r");
    assert_eq!(browser.run(is_open), true);
    browser.run("document.getElementById('close-details').click()");
    assert_eq!(browser.run(is_open), false);
}

/// A room of 30, ten times: every tenth failed.
fn three_hundred() -> Lab {
    let pc = |n: usize| {
        format!(
            "pc-{}-{:02}.example.org",
            (b'a' + (n / 30) as u8) as char,
            n % 30 + 1
        )
    };
    let vms: String = (0..300)
        .map(|n| {
            format!(
                "- {{name: vm{}, host: {}, address: 10.99.{}.{}}}\n",
                101 + n,
                pc(n),
                1 + n / 200,
                1 + n % 200
            )
        })
        .collect();
    let lab = Lab::new(&format!("vms:\n{vms}"));
    for n in 0..300 {
        let last = if n % 10 == 3 { FAILED } else { CONFIGURED };
        let status = format!("{STARTED}{last}");
        lab.answer(
            &pc(n),
            &[vm(&format!("vm{}", 101 + n), "running", &status, "login: ")],
        );
    }
    lab
}

#[test]
fn three_hundred_pcs_stand_in_their_rooms_and_are_filtered() {
    let lab = three_hundred();
    let file = page(&lab);
    let mut browser = Browser::new();
    browser.open(&file, 1280, false);
    let count =
        |selector: &str| format!("({}).split('\\n').filter((t) => t).length", shown(selector));
    assert_eq!(browser.run(&count(".room")), 10);
    assert_eq!(browser.run(&count(".tile")), 300);
    assert_eq!(
        browser.text("document.querySelector('.tile .pc').textContent"),
        "pc-a-01"
    );
    assert_eq!(
        browser.text(&shown("#filters button")),
        "30failed\n270configured"
    );
    browser.run("document.querySelector('#filters button.failed').click()");
    assert_eq!(browser.run(&count(".tile")), 30);
    assert_eq!(
        browser.text("document.getElementById('shown').textContent"),
        "30 of 300 PCs shown"
    );
    assert_eq!(
        browser
            .text("document.querySelector('#filters button.failed').getAttribute('aria-pressed')"),
        "true"
    );
    browser.run(
        "(() => { const words = document.getElementById('words'); words.value = 'pc-c'; \
         words.dispatchEvent(new Event('input')); })()",
    );
    assert_eq!(
        browser.text(&shown(".tile .pc")),
        "pc-c-04\npc-c-14\npc-c-24"
    );
    assert_eq!(
        browser.text(&shown(".room h2")),
        "room-c27 of 30 VMs configured"
    );
    // The bars: a few, and all when asked for.
    assert_eq!(browser.run(&count(".bar")), 25);
    assert_eq!(
        browser.text("document.getElementById('more').textContent"),
        "Show all 300"
    );
    browser.run("document.getElementById('more').click()");
    assert_eq!(browser.run(&count(".bar")), 300);
    // Nothing is wider than a phone.
    browser.open(&file, 360, true);
    assert_eq!(
        browser.run("document.documentElement.scrollWidth <= innerWidth"),
        true
    );
}

/// What a name, a reason and a console line look like that want more than to be read.
fn hostile(place: &str, port: u16) -> String {
    format!(
        "{place}</script><script>document.title='owned'</script><!--<script><img src=http://127.0.0.1:{port}/{place} \
         onerror=document.title='owned'><b id=owned>&lt;"
    )
}

#[test]
fn what_a_pc_says_is_only_ever_text_and_nothing_leaves_the_page() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let reached = || match listener.accept() {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    };
    let lab = Lab::new("vms: [{name: vm101, host: pc-b-01}]\n");
    let (name, reason) = (hostile("name", port), hostile("reason", port));
    let console = format!("{}\r\n{{{{ data | safe }}}}", hostile("console", port));
    let bad = vm(&name, "running", &waiting(&reason), &console);
    lab.answer("pc-b-01", std::slice::from_ref(&bad));
    let pc = hostile("host", port);
    let room = hostile("room", port);
    let answer = json!({"host": pc, "room": room, "time": 1, "reachable": false, "error": hostile("error", port), "vms": [bad]});
    lab.collected("what-is-no-host-name-makes-no-path", answer.to_string());
    let file = page(&lab);
    let mut browser = Browser::new();
    browser.open(&file, 1280, false);
    let title = browser.text("document.title");
    let body = {
        browser.run("document.querySelector('.tile').click()");
        browser.text("document.getElementById('details').innerText")
    };
    for part in [
        &name,
        &reason,
        &hostile("console", port),
        "{{ data | safe }}",
    ] {
        has(&body, part);
    }
    browser.run("document.getElementById('details').close()");
    browser.run("[...document.querySelectorAll('.tile')].at(-1).click()");
    let body = browser.text("document.getElementById('details').innerText");
    for part in [&pc, &room, &hostile("error", port)] {
        has(&body, part);
    }
    // A moment for what would load.
    browser.run("new Promise((done) => setTimeout(done, 300))");
    assert_eq!(
        browser.run("document.querySelectorAll('img, b#owned, script').length"),
        2
    );
    assert_eq!(
        (browser.text("document.title"), browser.run("window.owned")),
        (title, json!(null))
    );
    let own = format!("file://{}", file.display().to_string().replace(' ', "%20"));
    assert_eq!(browser.requests, [own]);
    assert!(!reached());

    // The page's policy stops what would leave all the same; without it, this test would see it.
    let fetch = format!("fetch('http://127.0.0.1:{port}/').then(() => 'left', () => 'stayed')");
    let script = "(() => { const s = document.createElement('script'); s.textContent = \"document.title='owned'\"; \
                  document.body.append(s); return document.title; })()";
    assert_eq!(browser.text(&fetch), "stayed");
    assert_ne!(browser.text(script), "owned");
    assert!(!reached());
    browser.call("Page.setBypassCSP", json!({"enabled": true}));
    browser.open(&file, 1280, false);
    browser.run(&format!("void fetch('http://127.0.0.1:{port}/')"));
    testkit::wait_for("a request without the policy", reached);
    assert_eq!(browser.text(script), "owned");
}

/// The contrast of each text with what is behind it (WCAG 2.2, 1.4.3), for the texts of all states; and
/// that none is told by its colour alone.
#[test]
fn every_text_is_readable_in_both_schemes() {
    const LEAST: &str = r#"(() => {
        const numbers = (color) => {
            const parts = color.match(/[\d.]+/g).map(Number);
            const rgb = color.startsWith("color(") ? parts.slice(0, 3) : parts.slice(0, 3).map((n) => n / 255);
            return { rgb, alpha: parts.length > 3 ? parts[3] : 1 };
        };
        const light = ({ rgb }) => {
            const [r, g, b] = rgb.map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (element) => {
            for (let e = element; e; e = e.parentElement) {
                const color = numbers(getComputedStyle(e).backgroundColor);
                if (color.alpha === 1) return color;
            }
            throw new Error("nothing behind");
        };
        const contrast = (element) => {
            const pair = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
            return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        };
        const texts = [...document.querySelectorAll(".tile span, #filters button, #filters b, #about, h1, h2, small, .bar span, #axis span, #legend li, label")];
        const worst = texts.filter((e) => e.textContent.trim()).map((e) => [contrast(e), e.className + " " + e.textContent]).sort((a, b) => a[0] - b[0])[0];
        return JSON.stringify(worst);
    })()"#;
    let lab = every_state();
    let file = page(&lab);
    let mut browser = Browser::new();
    for dark in [false, true] {
        browser.open(&file, 1280, dark);
        let worst = browser.text(LEAST);
        let (ratio, _): (f64, String) = serde_json::from_str(&worst).unwrap();
        assert!(ratio >= 4.5, "dark: {dark}: {worst}");
        let words = browser.text(&shown("#filters button"));
        for word in [
            "failed",
            "paused",
            "no answer",
            "waiting",
            "booting",
            "absent",
            "stopped",
            "configured",
            "retired",
        ] {
            has(&words, word);
        }
        let bare = "[...document.querySelectorAll('.tile .word')].filter((e) => !e.querySelector('svg use') || !e.textContent).length";
        assert_eq!(browser.run(bare), 0);
    }
}
