//! Twenty machines of a room, switched on together, and switched off at any moment.

use super::lab::Lab;
use super::node::{LONG, Node};
use std::time::{Duration, Instant};
use testkit::has;

const NODES: u8 = 20;
/// How long the room is unruly; after that everybody lets the machines run.
const UNRULY: Duration = Duration::from_secs(120);
/// How long until the last one must be a member, after that. They join one after the other.
const PATIENCE: Duration = Duration::from_secs(900);

/// Numbers that look random and are the same in each run: the seed is printed nowhere else.
struct Dice(u64);

impl Dice {
    /// A number below `limit` (xorshift64*, Vigna 2016).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

/// Three stable members, and twenty that join at the same moment while their power goes again
/// and again, and firstboot is killed: in the end all are members, each once, none under
/// another's name.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn twenty_join_at_once_under_power_cuts() {
    let mut lab = Lab::new();
    lab.settings = [
        "BEAT=1",
        "POLL=0.5",
        "SILENCE=12",
        "AUTH_DELAY=0.1",
        "UPDATECERTS_WAIT=2",
    ]
    .map(|setting| format!("PVE_STANDIN_{setting}"))
    .to_vec();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let peers: Vec<&Node> = cluster.iter().collect();
    // As a lab of students' PCs is to be: they do not count for the quorum.
    let more = "    votes: 0\n    lab: [\"vm[38:59]\"]\n    \
                retry: {first: 2, most: 20, attempt: 120, spread: 20}\n";
    // Two that joined on another day, and are switched on when others have joined since.
    lab.guarded = false;
    let stale: Vec<Node> = (38..40)
        .map(|n| {
            let node = lab.joiner(&format!("vm{n}"), n, &peers, more);
            super::rows::detail(&node);
            node.switch("{\"stale\": \"stay\"}");
            node.cut();
            node
        })
        .collect();
    let nodes: Vec<Node> = (0..NODES)
        .map(|n| {
            // Those without the guard come back stale, and stay so until the watcher has seen it.
            lab.guarded = n % 2 == 0;
            lab.unbooted_joiner(&format!("vm{}", 40 + n), 40 + n, &peers, more)
        })
        .collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| node.boot());
        }
    });
    let mut dice = Dice(0x5EED);
    let (mut cuts, mut kills) = (0, 0);
    let mut others = stale.iter().peekable();
    while start.elapsed() < UNRULY {
        let joined = nodes.iter().any(|node| node.state() == "configured");
        if let Some(node) = others.next_if(|_| joined) {
            node.boot();
        }
        let node = &nodes[dice.below(NODES.into()) as usize];
        if dice.below(3) == 0 {
            kills += 1;
            // Only firstboot and its pvecm; the services go on, and so does the machine. Its units
            // bring them back.
            node.run_with(&["pkill", "-KILL", "-f", "firstboot|pvecm"], "");
        } else {
            cuts += 1;
            node.cut();
            std::thread::sleep(Duration::from_millis(dice.below(500)));
            node.boot();
        }
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
    }
    println!(
        "{cuts} power cuts and {kills} kills in {} s",
        UNRULY.as_secs()
    );

    let calm = Instant::now();
    loop {
        let states: Vec<String> = nodes.iter().map(Node::state).collect();
        let ready = states.iter().filter(|state| *state == "configured").count();
        println!(
            "{:>4} s: {ready} of {NODES} configured",
            start.elapsed().as_secs()
        );
        if ready == nodes.len() {
            break;
        }
        let failed = nodes.iter().find(|node| node.state() == "failed");
        assert!(failed.is_none(), "{:#}", failed.unwrap().status());
        if calm.elapsed() > PATIENCE {
            for node in nodes.iter().filter(|node| node.state() != "configured") {
                println!("{}: {:#}", node.name, node.status());
            }
            panic!("not all of them are configured");
        }
        std::thread::sleep(Duration::from_secs(5));
    }
    println!("all configured after {} s", start.elapsed().as_secs());
    for node in others {
        node.boot();
    }
    let everybody: Vec<&Node> = nodes.iter().chain(&stale).chain(&cluster).collect();
    let conf = one_conf(&everybody);
    for node in &everybody {
        let entry = entry(&conf, &node.name);
        assert_eq!(entry.len(), 1, "{}: {conf}", node.name);
        let address = format!("ring0_addr: {}\n", node.address);
        assert!(entry[0].contains(&address), "{}: {conf}", node.name);
        let votes = match cluster.iter().any(|stable| stable.name == node.name) {
            true => "quorum_votes: 1\n",
            false => "quorum_votes: 0\n",
        };
        assert!(
            entry[0].contains(votes),
            "{}: {conf}\n{}",
            node.name,
            node.logs()
        );
    }
    assert_eq!(conf.matches("ring0_addr:").count(), everybody.len());
    for node in &nodes {
        node.assert_member(&cluster[0]);
    }
    for node in &stale {
        node.assert_member(&cluster[0]);
    }
    let status = cluster[0].must(&["corosync-quorumtool", "-s"]);
    has(&status, "Expected votes:   3\n");
    let count = |unit: &str, words: &str| -> usize {
        let logs = nodes.iter().chain(&stale).map(|node| {
            let log = format!("var/log/standin/firstboot-{unit}.log");
            std::fs::read_to_string(node.root.join(log)).unwrap_or_default()
        });
        logs.map(|log| log.matches(words).count()).sum()
    };
    println!(
        "stale members: {} up to date before corosync started, {} that disturbed the others and {} that \
         had stopped were brought back by the watcher; {} were stopped by their join",
        count("guard", "was taken from"),
        count("watch", "disturbed the others"),
        count("watch", "corosync had stopped"),
        count("join", "stopped, so that it disturbs nobody"),
    );
    assert!(count("watch", "disturbed the others") > 0);
}

/// The cluster's corosync.conf, once all of them have the same.
fn one_conf(everybody: &[&Node]) -> String {
    let conf = |node: &Node| node.read("/etc/pve/corosync.conf");
    let start = Instant::now();
    loop {
        let first = conf(everybody[0]);
        let Some(other) = everybody.iter().find(|node| conf(node) != first) else {
            return first;
        };
        assert!(
            start.elapsed() < LONG,
            "{} and {} have not the same corosync.conf\n{}\n{}",
            everybody[0].name,
            other.name,
            everybody[0].logs(),
            other.logs(),
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The entries of a node in corosync.conf.
fn entry<'a>(conf: &'a str, name: &str) -> Vec<&'a str> {
    let line = format!("name: {name}\n");
    conf.split("node {")
        .filter(|block| block.contains(&line))
        .collect()
}
