//! Headless Chromium, driven by its DevTools protocol over a pipe: NUL-ended JSON on the descriptors 3
//! and 4 (`--remote-debugging-pipe`).

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::Folder;

/// A browser with one page.
pub(super) struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    count: u64,
    /// What the page has asked for since it was opened.
    pub requests: Vec<String>,
    _profile: Folder,
}

impl Browser {
    pub(super) fn new() -> Browser {
        let profile = Folder::new();
        let mut process = Command::new("timeout")
            .args(["--signal=KILL", "120", "sh", "-c"])
            .arg("exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null")
            .args([
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-background-networking",
            ])
            .arg(format!(
                "--user-data-dir={}",
                profile.path("profile").display()
            ))
            .env("HOME", profile.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        let mut browser = Browser {
            process,
            to,
            from,
            session: None,
            count: 0,
            requests: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method of the protocol, and takes note of the requests that are told meanwhile.
    pub(super) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.count += 1;
        let mut message = json!({"id": self.count, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        write!(self.to, "{message}\0").unwrap();
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert!(
                !bytes.is_empty(),
                "Chromium has ended at {method}; where it is missing: scripts/setup --tests on Debian, snap install chromium on Ubuntu"
            );
            bytes.pop();
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["method"] == "Network.requestWillBeSent" {
                let url = answer["params"]["request"]["url"].as_str().unwrap();
                self.requests.push(url.to_owned());
            }
            if answer["id"] == self.count {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens a file in a window of this width, in the dark scheme or the light one, and waits until its
    /// script has run.
    pub(super) fn open(&mut self, file: &Path, width: u32, dark: bool) {
        let window =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", window);
        let scheme = if dark { "dark" } else { "light" };
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", scheme);
        self.requests.clear();
        let url = format!("file://{}", file.display().to_string().replace(' ', "%20"));
        self.call("Page.navigate", json!({"url": url}));
        let start = Instant::now();
        while self.run("document.readyState === 'complete' && !!document.querySelector('.tile')")
            != true
        {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "the page shows no tile"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The value of an expression in the page.
    pub(super) fn run(&mut self, expression: &str) -> Value {
        let how = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let done = self.call("Runtime.evaluate", how);
        assert!(
            done.get("exceptionDetails").is_none(),
            "{expression}: {done}"
        );
        done["result"]["value"].clone()
    }

    /// [`Browser::run`] for a text.
    pub(super) fn text(&mut self, expression: &str) -> String {
        let value = self.run(expression);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{expression}: {value}"))
            .to_owned()
    }

    /// Presses a key.
    pub(super) fn press(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.process.id() as i32) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}
