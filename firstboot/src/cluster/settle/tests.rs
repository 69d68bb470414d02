use super::*;
use crate::cluster::sections;
use crate::system::root::tests::tree;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// A file that the tools of several nodes change, as `pvesm` and `ha-manager` do: the digest
/// is compared, then the change is made, at once.
pub(crate) struct Cluster<'a> {
    text: &'a RefCell<String>,
    apply: fn(&str, &[String]) -> Result<String, String>,
    /// Runs before each look and each change, with its number.
    before: &'a dyn Fn(usize),
    moments: Cell<usize>,
    /// Every command line that changed something.
    pub ran: RefCell<Vec<String>>,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(
        text: &'a RefCell<String>,
        apply: fn(&str, &[String]) -> Result<String, String>,
        before: &'a dyn Fn(usize),
    ) -> Self {
        Cluster {
            text,
            apply,
            before,
            moments: Cell::new(0),
            ran: RefCell::default(),
        }
    }

    fn moment(&self) {
        let moment = self.moments.get();
        self.moments.set(moment + 1);
        (self.before)(moment);
    }
}

impl Shared for Cluster<'_> {
    fn name(&self) -> &str {
        "the file"
    }

    fn text(&self) -> Result<String> {
        self.moment();
        Ok(self.text.borrow().clone())
    }

    fn tool(&self, words: &[String]) -> Result<()> {
        self.moment();
        let line = words.join(" ");
        let failed = |said: &str| anyhow::anyhow!("a program failed (255): tool {line}\n{said}");
        let mut text = self.text.borrow_mut();
        let given = words.iter().skip_while(|word| *word != "--digest").nth(1);
        if given.is_some_and(|digest| *digest != sections::digest(&text)) {
            return Err(failed(
                "detected modified configuration - file changed by other user? Try again.",
            ));
        }
        *text = (self.apply)(&text, words).map_err(|said| failed(&said))?;
        self.ran.borrow_mut().push(line);
        Ok(())
    }

    fn pause(&self) {}
}

/// A plan that appends a word to the only line, as a list of nodes.
fn appending(word: &str) -> impl Fn(&str) -> Plan {
    move |text| {
        if sections::list(text).contains(&word) {
            return Plan::Fits;
        }
        let value = format!("{text},{word}");
        let words = ["set", &value, "--digest", &sections::digest(text)];
        Plan::Change {
            words: words.map(str::to_owned).to_vec(),
            what: format!("{word} appended"),
        }
    }
}

fn set(_: &str, words: &[String]) -> Result<String, String> {
    Ok(words[1].clone())
}

#[test]
fn the_words_of_the_tools() {
    let classified =
        |said: &str| classify(&anyhow::anyhow!("a program failed (255): pvesm x\n{said}"));
    let digest = "update storage failed: detected modified configuration - file changed by \
                  other user? Try again.";
    assert_eq!(classified(digest), Refusal::Overtaken);
    let there = "create storage failed: storage ID 'lab' already defined";
    assert_eq!(classified(there), Refusal::Overtaken);
    let held = "cfs-lock 'file-storage_cfg' error: got lock request timeout";
    assert_eq!(classified(held), Refusal::Passing(LOCK_GONE));
    let inquorate = "create storage failed: cfs-lock 'file-storage_cfg' error: no quorum!";
    assert_eq!(classified(inquorate), Refusal::Passing(Duration::ZERO));
    let off = "create storage failed: storage 'lab' is not online";
    assert_eq!(classified(off), Refusal::Passing(Duration::ZERO));
    let gone = "update HA rules failed: HA rule 'keep' does not exist";
    assert_eq!(classified(gone), Refusal::Overtaken);
    let mount = "unable to activate storage 'lab' - directory '/mnt/pve/lab' does not exist or is \
                 unreachable";
    assert_eq!(classified(mount), Refusal::Passing(Duration::ZERO));
    let number = "mount.nfs: rsize=32400 is refused";
    assert_eq!(classified(number), Refusal::Passing(Duration::ZERO));
    assert_eq!(
        classified("400 Parameter verification failed."),
        Refusal::Final
    );
    let missing = anyhow::anyhow!("cannot start: pvesm x");
    assert_eq!(classify(&missing), Refusal::Final);
}

#[test]
fn two_nodes_that_append_themselves_are_both_in_the_list() {
    let mut met = 0;
    for meeting in 0..6 {
        let text = RefCell::new("a".to_owned());
        let nobody = |_| {};
        let other = |moment| {
            if moment == meeting {
                let other = Cluster::new(&text, set, &nobody);
                settle(&other, appending("c")).unwrap();
            }
        };
        let settled = settle(&Cluster::new(&text, set, &other), appending("b")).unwrap();
        assert_eq!(settled.changed.as_deref(), Some("b appended"));
        let text = text.into_inner();
        let mut names = sections::list(&text);
        met += usize::from(names.len() == 3);
        names.retain(|name| ["a", "b"].contains(name));
        assert_eq!(names, ["a", "b"], "met at {meeting}: {text}");
    }
    // Before each of: look, change, look. The fourth moment does not come.
    assert_eq!(met, 3);
}

#[test]
fn a_change_that_another_undid_is_made_again() {
    let text = RefCell::new("a".to_owned());
    // Somebody who knows no digest, between the change and the look at it.
    let careless = |moment| {
        if moment == 2 {
            *text.borrow_mut() = "a,x".to_owned();
        }
    };
    let file = Cluster::new(&text, set, &careless);
    settle(&file, appending("b")).unwrap();
    assert_eq!(*text.borrow(), "a,x,b");
    assert_eq!(file.ran.borrow().len(), 2);
}

#[test]
fn it_is_left_for_later_when_there_is_no_end_of_changes() {
    let text = RefCell::new("a".to_owned());
    let always = |moment| *text.borrow_mut() = format!("a,{moment}");
    let file = Cluster::new(&text, set, &always);
    let error = settle(&file, appending("b")).unwrap_err();
    let reason = error.downcast::<RetryLater>().unwrap().reason;
    let begin = "the file could not be changed in 10 tries, because other nodes keep changing it; \
                 the last time: ";
    let end = "; detected modified configuration - file changed by other user? Try again.";
    assert!(
        reason.starts_with(begin) && reason.ends_with(end),
        "{reason}"
    );
}

#[test]
fn the_reason_for_later_holds_the_tools_words() {
    fn off(_: &str, _: &[String]) -> Result<String, String> {
        Err("mount error\n  server does not answer\n".to_owned())
    }
    let text = RefCell::new("a".to_owned());
    let error = settle(&Cluster::new(&text, off, &|_| {}), appending("b")).unwrap_err();
    let later = error.downcast::<RetryLater>().unwrap();
    assert_eq!(later.at_least, Duration::ZERO);
    assert!(
        later
            .reason
            .ends_with("; mount error; server does not answer"),
        "{}",
        later.reason
    );
}

/// A tool of its own process, in the manner of `pvesm set`: FILE, the new list, the digest.
const SCRIPT: &str = r#"
if [ "$(sha1sum <"$1" | cut -d' ' -f1)" != "$4" ]; then
    echo 'detected modified configuration - file changed by other user? Try again.' >&2
    exit 255
fi
echo "$2" >"$1.new" && mv "$1.new" "$1"
"#;

#[test]
fn a_real_program_is_run_until_the_file_shows_it() {
    let (_folder, root) = tree();
    root.write("/list", b"a\n", 0o600).unwrap();
    root.write("/tool", SCRIPT.as_bytes(), 0o700).unwrap();
    let tool = Tool {
        root: &root,
        file: "/list",
        program: "sh",
    };
    let path = |path| root.path(path).unwrap().to_str().unwrap().to_owned();
    let looks = Cell::new(0);
    let plan = |text: &str| {
        looks.set(looks.get() + 1);
        if looks.get() == 1 {
            // Between the look and the change.
            root.write("/list", b"a,c\n", 0o600).unwrap();
        }
        if sections::list(text).contains(&"b") {
            return Plan::Fits;
        }
        let list = format!("{},b", text.trim());
        let digest = sections::digest(text);
        Plan::Change {
            words: vec![
                path("/tool"),
                path("/list"),
                list,
                "--digest".into(),
                digest,
            ],
            what: "b appended".to_owned(),
        }
    };
    assert_eq!(
        settle(&tool, plan).unwrap().changed.as_deref(),
        Some("b appended")
    );
    assert_eq!(root.read("/list").unwrap().unwrap(), b"a,c,b\n");
    assert_eq!(looks.get(), 3);
    let missing = Tool {
        program: "/nowhere/pvesm",
        ..tool
    };
    let words = |_: &str| Plan::Change {
        words: vec!["set".to_owned()],
        what: String::new(),
    };
    let error = settle(&missing, words).unwrap_err();
    assert_eq!(error.to_string(), "cannot start: /nowhere/pvesm set");
    assert!(!error.is::<RetryLater>());
}
