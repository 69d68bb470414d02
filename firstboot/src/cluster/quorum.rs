//! The votes that corosync counts, from `corosync-quorumtool -l`.
//!
//! Its exit code is 0 with and without quorum, unlike that of `-s`. A line is the node's
//! number, its votes, the flags of a quorum device where there is one, and the name, with
//! `(local)` behind the node that was asked.

/// What the nodes that are up count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub own: u32,
    /// The votes of all others that are up.
    pub others: u32,
}

/// Reads what the program printed; `None` when this node is not in it.
pub(crate) fn parse(text: &str) -> Option<Count> {
    let (mut own, mut others) = (None, 0u32);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
        if !words.next().is_some_and(is_number) {
            continue;
        }
        let Some(votes) = words.next().and_then(|word| word.parse::<u32>().ok()) else {
            continue;
        };
        if words.next_back() == Some("(local)") {
            own = Some(votes);
        } else {
            others = others.saturating_add(votes);
        }
    }
    Some(Count { own: own?, others })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes() {
        // Transcript 22-pvecm-status-joined-quorate; `-s` ends with what `-l` prints.
        let text = "Quorum information\n------------------\n\
            Date:             Sun Nov 22 14:52:32 2026\n\
            Quorum provider:  corosync_votequorum\nNodes:            2\nNode ID:          2\n\
            Ring ID:          1.9\nQuorate:          Yes\n\nVotequorum information\n\
            ----------------------\nExpected votes:   2\nHighest expected: 2\n\
            Total votes:      2\nQuorum:           2  \nFlags:            Quorate \n\n\
            Membership information\n----------------------\n    Nodeid      Votes Name\n\
            \x20        1          1 alpha\n         2          1 beta (local)\n";
        assert_eq!(parse(text), Some(Count { own: 1, others: 1 }));
        let none = text.replace("1 beta", "0 beta");
        assert_eq!(parse(&none), Some(Count { own: 0, others: 1 }));
    }

    #[test]
    fn one_node_without_quorum() {
        // Transcript 22-pvecm-status-joined-inquorate.
        let text = "\nMembership information\n----------------------\n    Nodeid      Votes \
                    Name\n         1          1 alpha (local)\n";
        assert_eq!(parse(text), Some(Count { own: 1, others: 0 }));
    }

    #[test]
    fn a_quorum_device_has_a_column_and_votes() {
        let text = "    Nodeid      Votes    Qdevice Name\n         1          1    A,V,NMW a \
                    (local)\n         2          3    A,V,NMW b\n         0          1\
                    \x20           Qdevice\n";
        assert_eq!(parse(text), Some(Count { own: 1, others: 4 }));
    }

    #[test]
    fn nothing_of_this_node() {
        assert_eq!(parse("Cannot initialize CMAP service\n"), None);
        assert_eq!(parse("         1          1 alpha\n"), None);
    }
}
