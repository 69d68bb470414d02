//! What is asked, and the answers that are none.

use super::member::{Kind, Member};
use super::{LINE, PASSWORD, QUESTION, REFUSED, lab, lab_of, refused, seed, ticket};
use crate::terminal::Session;
use testkit::{ends, has};

#[test]
fn a_wrong_password_is_taken_twice_at_a_terminal_and_once_from_a_script() {
    let member = Member::start("4.1", Kind::with(PASSWORD));
    let lab = lab(&["vm42"], &member);
    let words = refused(
        &lab,
        &["vm42", "--password-stdin"],
        "wrong\n",
        &member.address,
    );
    let expected = format!("imgbuild: error: ADDRESS refuses root@pam: {REFUSED}");
    assert_eq!(words, expected);
    assert_eq!(member.count(), 1);

    let session = Session::start(&lab, &["seed", "vm42"]);
    session.answer(QUESTION, 1, "wrong\n");
    session.answer(QUESTION, 2, "wrong again\n");
    let done = session.end();
    assert_eq!((done.code, member.count()), (Some(1), 3));
    let err = done.err.replace(&member.address, "ADDRESS");
    assert_eq!(
        err,
        format!(
            "{QUESTION}ADDRESS, for ADDRESS: \nimgbuild: warning: that was refused; it is asked for \
             once more, and then not again\n{QUESTION}ADDRESS, for ADDRESS: \nimgbuild: error: \
             ADDRESS refuses root@pam twice: {REFUSED}"
        )
    );
    assert!(!lab.path("vm42").exists());

    // An empty one is no attempt.
    let session = Session::start(&lab, &["seed", "vm42"]);
    session.answer(QUESTION, 1, "\n");
    session.answer(QUESTION, 2, &format!("{PASSWORD}\n"));
    let done = session.end();
    assert_eq!((done.code, member.count()), (Some(0), 4), "{}", done.err);
}

#[test]
fn a_key_that_no_password_has_asks_nobody_and_costs_no_try() {
    let member = Member::start("12.1", Kind::with(PASSWORD));
    let lab = lab(&["vm42"], &member);
    let words = "it has a control character, such as a tab, an arrow key or a byte order mark, which is in no password; \
                 nobody was asked";
    let found = refused(
        &lab,
        &["vm42", "--password-stdin"],
        "hunter\t2\n",
        &member.address,
    );
    assert_eq!(
        found,
        format!("imgbuild: error: what came on standard input is no answer: {words}\n")
    );
    assert_eq!(member.count(), 0);

    let session = Session::start(&lab, &["seed", "vm42"]);
    session.answer(QUESTION, 1, &format!("{PASSWORD}\u{1b}[D\n"));
    session.answer(QUESTION, 2, "\thunter\n");
    session.answer(QUESTION, 3, "wrong\n");
    session.answer(QUESTION, 4, &format!("{PASSWORD}\n"));
    let done = session.end();
    assert_eq!((done.code, member.count()), (Some(0), 2), "{}", done.err);
    let warning = format!("imgbuild: warning: {words}; it is asked for again\n");
    assert_eq!(done.err.matches(&warning).count(), 2, "{}", done.err);
}

#[test]
fn second_factors() {
    let factor = |challenge: &str, right: &str| Kind {
        factor: Some((challenge.into(), right.into())),
        ..Kind::with(PASSWORD)
    };
    let challenge = r#"{"totp":true,"recovery":[0,3]}"#;
    let member = Member::start("5.1", factor(challenge, "totp:123456"));
    let lab1 = lab(&["vm42"], &member);
    let stdin = ["vm42", "--password-stdin"];
    let wanted = "the code of six digits, or a recovery key, which is used up by that";

    let words = refused(&lab1, &stdin, PASSWORD, &member.address);
    assert_eq!(
        words,
        format!(
            "imgbuild: error: root@pam in the cluster of ADDRESS has a second factor, and the second line \
             of standard input has none\n  right: {wanted}\n"
        )
    );
    let input = format!("{PASSWORD}\n654321\n");
    let words = refused(&lab1, &stdin, &input, &member.address);
    assert_eq!(
        words,
        format!(
            "imgbuild: error: ADDRESS refuses the second factor of root@pam\n  right: {wanted}; a \
             code is taken once, so wait for the next one. After eight wrong codes Proxmox VE locks \
             them (on a member: pveum user tfa unlock root@pam). It is not tried again by itself, \
             because accounts are locked after some refusals\n"
        )
    );
    let session = Session::start(&lab1, &["seed", "vm42"]);
    session.answer(QUESTION, 1, &format!("{PASSWORD}\n"));
    session.answer("Second factor of root@pam", 1, "12345\n");
    session.answer("Second factor of root@pam", 2, "123 456\n");
    let done = session.end();
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(
        &done.err,
        &format!("imgbuild: warning: that is not {wanted}; it is asked"),
    );
    ticket(&lab1, "vm42");
    let logins = member.logins.lock().unwrap().clone();
    let (first, second) = ("username password", "username password tfa-challenge");
    assert_eq!(logins, [first, first, second, first, second]);

    let member = Member::start("5.2", factor(challenge, "recovery:12ab-34cd-56ef-7890"));
    let lab2 = lab(&["vm42"], &member);
    let done = seed(&lab2, &stdin, &format!("{PASSWORD}\n12AB-34cd-56ef-7890\n"));
    assert_eq!(done.code, Some(0), "{}", done.err);

    let member = Member::start(
        "5.3",
        factor(r#"{"webauthn":{"publicKey":{}}}"#, "webauthn:"),
    );
    let lab3 = lab(&["vm42"], &member);
    let words = refused(
        &lab3,
        &stdin,
        &format!("{PASSWORD}\n123456\n"),
        &member.address,
    );
    assert_eq!(
        words,
        format!(
            "imgbuild: error: root@pam in the cluster of ADDRESS has a second factor that only a \
             browser can ask for\n  right: a TOTP or recovery keys for root@pam; or --ticket-file \
             FILE with what this prints on a member, as root (it asks for no second factor):\n\
             {LINE}\n"
        )
    );
    // A ticket is asked for no second factor.
    lab3.secret("ticket", Kind::with(PASSWORD).ticket(60));
    let done = seed(&lab3, &["vm42", "--ticket-file", "ticket"], "");
    assert_eq!(done.code, Some(0), "{}", done.err);
}

#[test]
fn nobody_answers_and_nobody_can_be_asked() {
    let pinned = ["AB"; 32].join(":");
    // Nothing listens there, and no resolver knows a name below .invalid (RFC 2606).
    let peers = [
        ("127.86.9.1", pinned.as_str()),
        ("pve.invalid", pinned.as_str()),
    ];
    let lab = lab_of(&["vm42"], &peers);
    let words = refused(&lab, &["vm42", "--password-stdin"], PASSWORD, "127.86.9.1");
    assert_eq!(
        words,
        format!(
            "imgbuild: error: no peer of the cluster of ADDRESS, pve.invalid can be asked from this \
             PC:\n  ADDRESS: nothing listens on port 8006\n  pve.invalid: this PC knows no address of \
             that name\n  right: where only the VPN leads to them, --ticket-file FILE with what this \
             prints on a member, as root:\n{LINE}\n"
        )
    );
    let words = refused(&lab, &["vm42"], "", "127.86.9.1");
    assert_eq!(
        words,
        format!(
            "imgbuild: error: the cluster's root password has to be asked for, and standard input is \
             no terminal\n  right: at a terminal; or --password-stdin; or --ticket-file FILE with \
             what this prints on a member, as root:\n{LINE}\n"
        )
    );
    let words = refused(&lab, &["vm42", "--password-stdin"], "\n", "127.86.9.1");
    assert_eq!(
        words,
        "imgbuild: error: --password-stdin: standard input has no password in its first line\n"
    );
}

#[test]
fn ctrl_c_at_the_question_leaves_nothing() {
    let member = Member::start("10.1", Kind::with(PASSWORD));
    let lab = lab(&["vm42"], &member);
    // Ctrl-C, and Ctrl-\.
    for keys in ["hunter\u{3}", "hunter\u{1c}"] {
        let session = Session::start(&lab, &["seed", "vm42"]);
        session.answer(QUESTION, 1, keys);
        let done = session.end();
        assert_eq!(done.code, Some(130));
        ends(
            &done.err,
            "interrupted; nothing half made was left behind\n",
        );
        assert!(!lab.path("vm42").exists() && !lab.path(".imgbuild-seed").exists());
        assert_eq!(member.count(), 0);
    }

    let session = Session::start(&lab, &["seed", "vm42"]);
    session.answer(QUESTION, 1, "\u{4}");
    let done = session.end();
    assert_eq!(done.code, Some(1));
    ends(&done.err, "nothing was typed, so nothing was made\n");
}
