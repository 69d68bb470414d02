use super::*;
use crate::cluster::settle::tests::Cluster;
use crate::step::RetryLater;
use std::cell::RefCell;

/// In the form of Proxmox's documentation of `/etc/pve/storage.cfg`.
const LOCAL: &str = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup\n";

fn lab() -> NfsStorage {
    NfsStorage {
        id: "lab-nfs".parse().unwrap(),
        server: "10.120.0.2".parse().unwrap(),
        export: "/srv/lab".parse().unwrap(),
        content: Some(STANDARD_CONTENT.map(|kind| kind.parse().unwrap()).to_vec()),
        options: None,
    }
}

fn cfg(settings: &str) -> String {
    format!(
        "{LOCAL}\nnfs: lab-nfs\n\texport /srv/lab\n\tpath /mnt/pve/lab-nfs\n\tserver \
         10.120.0.2\n{settings}\n"
    )
}

/// The words that are planned, the digest left away, and what is said.
fn planned(text: &str, storage: &NfsStorage) -> (String, String) {
    match plan(text, storage, "vm42") {
        Plan::Change { mut words, what } => {
            if words[0] == "set" {
                assert_eq!(words.pop().unwrap(), sections::digest(text));
                assert_eq!(words.pop().unwrap(), "--digest");
            }
            (words.join(" "), what)
        }
        Plan::Leave(why) => (String::new(), why),
        Plan::Fits => Default::default(),
    }
}

fn change(text: &str, storage: &NfsStorage) -> String {
    planned(text, storage).0
}

#[test]
fn an_absent_one_is_added() {
    let (words, what) = planned(LOCAL, &lab());
    assert_eq!(
        words,
        "add nfs lab-nfs --server 10.120.0.2 --export /srv/lab --content rootdir,images"
    );
    assert_eq!(what, "lab-nfs added");
    let options = Some("vers=4.2,soft".parse().unwrap());
    let words = change("", &NfsStorage { options, ..lab() });
    assert!(words.ends_with(" --options vers=4.2,soft"), "{words}");
}

#[test]
fn the_same_one_stays() {
    for settings in [
        "\tcontent images,rootdir\n",
        "\tcontent images,rootdir\n\toptions hard\n\tprune-backups keep-all=1\n",
        "\tcontent rootdir,images\n\tnodes a,vm42,b\n",
        "\tcontent rootdir,images\n\tnodes \n",
    ] {
        let plan = plan(&cfg(settings), &lab(), "vm42");
        assert_eq!(plan, Plan::Fits, "{settings}");
    }
    let images = NfsStorage {
        content: Some(vec!["images".parse().unwrap()]),
        ..lab()
    };
    assert_eq!(plan(&cfg(""), &images, "vm42"), Plan::Fits);
}

#[test]
fn content_options_and_nodes_are_set() {
    let (words, what) = planned(&cfg("\tcontent images,iso\n"), &lab());
    assert_eq!(words, "set lab-nfs --content rootdir,images");
    assert_eq!(what, "lab-nfs: content images,iso -> rootdir,images");

    let text = cfg("\tcontent images,rootdir\n\tnodes vm4,vm420\n");
    let options = Some("soft".parse().unwrap());
    let (words, what) = planned(&text, &NfsStorage { options, ..lab() });
    assert_eq!(words, "set lab-nfs --options soft --nodes vm4,vm420,vm42");
    assert_eq!(
        what,
        "lab-nfs: options none -> soft, vm42 added to its nodes"
    );
}

/// Without `content` in the seed: added with the standard's, never narrowed, and told where it lacks.
#[test]
fn the_cluster_s_own_content_stays() {
    let silent = NfsStorage {
        content: None,
        ..lab()
    };
    let (words, _) = planned(LOCAL, &silent);
    assert!(words.ends_with(" --content rootdir,images"), "{words}");
    for settings in [
        "\tcontent iso,images,rootdir,backup\n",
        "\tcontent images,rootdir\n\tdisable 0\n",
    ] {
        let plan = plan(&cfg(settings), &silent, "vm42");
        assert_eq!(plan, Plan::Fits, "{settings}");
    }
    let said = |settings: &str, storage: &NfsStorage| {
        let (words, what) = planned(&cfg(settings), storage);
        assert_eq!(words, "");
        what
    };
    assert_eq!(
        said("\tcontent iso,images\n", &silent),
        "lab-nfs: its content in the cluster, iso,images, has no rootdir"
    );
    assert_eq!(
        said("\tcontent iso\n\tdisable\n", &silent),
        "lab-nfs: it is switched off in the cluster (`disable`), its content in the cluster, iso, \
         has no rootdir and no images"
    );
    assert_eq!(
        said("", &silent),
        "lab-nfs: its content in the cluster, images, has no rootdir"
    );
    assert_eq!(
        said("\tcontent images,rootdir\n\tdisable 1\n", &lab()),
        "lab-nfs: it is switched off in the cluster (`disable`)"
    );
    // What can be done is done first, and the rest told then.
    let text = cfg("\tcontent iso\n\tnodes a\n");
    let (words, what) = planned(&text, &silent);
    assert_eq!(words, "set lab-nfs --nodes a,vm42");
    assert_eq!(what, "lab-nfs: vm42 added to its nodes");
}

#[test]
fn what_is_fixed_is_reported_and_left() {
    let text = cfg("\tcontent iso\n\tnodes a\n");
    let other = NfsStorage {
        server: "10.120.0.9".parse().unwrap(),
        export: "/srv/other".parse().unwrap(),
        ..lab()
    };
    assert_eq!(
        planned(&text, &other),
        (
            String::new(),
            "lab-nfs is left as it is, because this cannot be changed: server is 10.120.0.2, \
             not 10.120.0.9, export is /srv/lab, not /srv/other"
                .to_owned()
        )
    );
    let moved = text.replace("/mnt/pve/lab-nfs", "/mnt/elsewhere");
    let (words, why) = planned(&moved, &lab());
    assert_eq!(words, "");
    let path = "path is /mnt/elsewhere, not /mnt/pve/lab-nfs";
    assert!(why.ends_with(path), "{why}");
    let local = NfsStorage {
        id: "local".parse().unwrap(),
        ..lab()
    };
    let (words, why) = planned(&text, &local);
    assert_eq!(words, "");
    assert!(why.ends_with("it is of type dir, not nfs"), "{why}");
}

/// As pvesm does it, as far as it is used.
fn pvesm(text: &str, words: &[String]) -> Result<String, String> {
    let value = |name: &str| words.iter().skip_while(|word| *word != name).nth(1);
    match words[0].as_str() {
        "add" if sections::find(text, &words[2]).is_some() => {
            let id = &words[2];
            Err(format!(
                "create storage failed: storage ID '{id}' already defined"
            ))
        }
        "add" => Ok(cfg(&format!("\tcontent {}\n", value("--content").unwrap()))),
        "set" => {
            let nodes = value("--nodes").unwrap();
            Ok(cfg(&format!("\tcontent images,rootdir\n\tnodes {nodes}\n")))
        }
        other => Err(format!("ERROR: unknown command 'pvesm {other}'")),
    }
}

#[test]
fn two_nodes_add_the_same_storage() {
    // The other is first between this node's look and its change.
    let text = RefCell::new(LOCAL.to_owned());
    let other = |moment| {
        if moment == 1 {
            let other = Cluster::new(&text, pvesm, &|_| {});
            settle(&other, |text| plan(text, &lab(), "vm43")).unwrap();
        }
    };
    let file = Cluster::new(&text, pvesm, &other);
    let settled = settle(&file, |text| plan(text, &lab(), "vm42")).unwrap();
    assert_eq!(settled, Default::default());
    assert!(file.ran.borrow().is_empty());
}

#[test]
fn two_nodes_are_both_appended() {
    for meeting in 0..3 {
        let text = RefCell::new(cfg("\tcontent images,rootdir\n\tnodes a\n"));
        let other = |moment| {
            if moment == meeting {
                let other = Cluster::new(&text, pvesm, &|_| {});
                settle(&other, |text| plan(text, &lab(), "vm43")).unwrap();
            }
        };
        let file = Cluster::new(&text, pvesm, &other);
        let settled = settle(&file, |text| plan(text, &lab(), "vm42")).unwrap();
        let what = "lab-nfs: vm42 added to its nodes";
        assert_eq!(settled.changed.as_deref(), Some(what));
        let section = sections::find(&text.borrow(), "lab-nfs").unwrap();
        let mut nodes = sections::list(section.get("nodes").unwrap());
        nodes.sort_unstable();
        assert_eq!(nodes, ["a", "vm42", "vm43"], "{meeting}");
    }
}

#[test]
fn a_server_that_is_off_is_for_later() {
    fn off(_: &str, _: &[String]) -> Result<String, String> {
        Err("create storage failed: storage 'lab-nfs' is not online".to_owned())
    }
    let text = RefCell::new(LOCAL.to_owned());
    let file = Cluster::new(&text, off, &|_| {});
    let error = settle(&file, |text| plan(text, &lab(), "vm42")).unwrap_err();
    let reason = error.downcast::<RetryLater>().unwrap().reason;
    assert!(reason.contains("'lab-nfs' is not online"), "{reason}");
}
