//! A folder to build a base in, with what stands in for the programs that would do it.

use std::process::{Command, Output, Stdio};
use testkit::Folder;

/// What lies where a base goes when a test wants to see it again.
const EARLIER: &str = "of an earlier build\n";

/// `images/base.yaml`, an empty `out`, a `temporary`; programs of `bin` are found before others.
pub(crate) struct BaseFolder(Folder);

testkit::is_a!(BaseFolder, Folder);

/// How a build ended.
pub(crate) struct Done {
    pub code: Option<i32>,
    /// Standard error, with HERE for the folder.
    pub err: String,
}

impl Done {
    /// From the error on.
    pub(crate) fn error(&self) -> &str {
        self.err
            .find("imgbuild: error")
            .map_or("", |at| &self.err[at..])
    }

    /// The error without the program's name.
    pub(crate) fn reason(&self) -> &str {
        let reason = self.error().strip_prefix("imgbuild: error: ");
        reason.expect(&self.err).trim_end()
    }
}

impl BaseFolder {
    /// With this definition. Not in `/tmp`, where Debian allows no device files.
    pub(crate) fn new(definition: &str) -> BaseFolder {
        let folder = BaseFolder(Folder::on_disk());
        folder.folders(&["images", "out", "bin", "temporary"]);
        folder.define(definition);
        folder
    }

    pub(crate) fn define(&self, definition: &str) {
        self.write("images/base.yaml", definition);
    }

    /// Puts an earlier base and this into `out`.
    pub(crate) fn with_earlier(self, others: &[&str]) -> BaseFolder {
        for name in [&["base.qcow2"], others].concat() {
            self.write(&format!("out/{name}"), EARLIER);
        }
        self
    }

    /// Nothing but an earlier base and this is in `out`, and nothing was left elsewhere.
    pub(crate) fn has(&self, others: &[&str]) {
        let mut expected = [&["base.qcow2"], others].concat();
        expected.sort();
        assert_eq!(self.names("out"), expected);
        assert_eq!(self.names("temporary"), [""; 0]);
        assert_eq!(self.read("out/base.qcow2"), EARLIER);
    }

    /// Lets a shell script stand in for a program.
    pub(crate) fn stands_in(&self, program: &str, script: &str) {
        self.program(program, &format!("#!/bin/sh\n{script}\n"));
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::program());
        command
            .args(["base", "--output", "out"])
            .args(words)
            .current_dir(self.path(""))
            .env("PATH", self.path_with_bin())
            .env("OUT", self.path(""))
            .env("TMPDIR", self.path("temporary"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Done {
        self.done(&self.command(words).output().unwrap())
    }

    pub(crate) fn done(&self, output: &Output) -> Done {
        let err = String::from_utf8(output.stderr.clone()).unwrap();
        Done {
            code: output.status.code(),
            err: self.hide(&err, "HERE"),
        }
    }

    /// A build that fails.
    pub(crate) fn fails(&self, words: &[&str]) -> Done {
        let done = self.run(words);
        assert_eq!(done.code, Some(1), "{}", done.err);
        done
    }

    /// The names in the cache of downloads.
    pub(crate) fn cached(&self) -> Vec<String> {
        let mut names = self.names("cache/imgbuild");
        names.retain(|name| name != ".lock");
        names
    }
}
