//! Joins of others at the same time, and joins that were cut: whose turn it is.

use crate::cluster::peers::Listed;
use crate::contract::seed::names;

/// Why one more node must not be added now: were it switched off in the middle of its join,
/// its vote would be missing, and the nodes that are up would have no majority any more. Nobody
/// could join or change anything then, those that were cut before included.
///
/// A cluster whose nodes are all up takes one more in any case: with one or two nodes there is
/// no other way to grow.
pub(super) fn no_room(nodes: &[Listed]) -> Option<String> {
    let missing: Vec<&Listed> = nodes
        .iter()
        .filter(|node| node.votes > 0 && node.online == Some(false))
        .collect();
    let all: u32 = nodes.iter().map(|node| node.votes).sum();
    let up = all - missing.iter().map(|node| node.votes).sum::<u32>();
    let then = all + 1;
    let majority = then / 2 + 1;
    if missing.is_empty() || up >= majority {
        return None;
    }
    let names: Vec<&str> = missing.iter().map(|node| node.name.as_str()).collect();
    Some(format!(
        "{up} of the cluster's {all} votes are up, and one more node that is switched off in the \
         middle of its join would cost it its quorum. Off, or joining: {}",
        names.join(", ")
    ))
}

/// The nodes of this lab (`lab` in the words of [`names`]) whose join is under way or was cut: they are
/// to end without a vote, have one, and the peer does not see them.
pub(super) fn unfinished<'a>(nodes: &'a [Listed], lab: &[String]) -> Vec<&'a str> {
    let nodes = nodes.iter().filter(|node| {
        node.votes > 0 && node.online == Some(false) && names::contain(lab, &node.name)
    });
    nodes.map(|node| node.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, votes: u32, online: Option<bool>) -> Listed {
        Listed {
            name: name.to_owned(),
            address: String::new(),
            votes,
            online,
        }
    }

    #[test]
    fn a_vote_of_the_lab_that_is_off_is_an_unfinished_join() {
        let nodes = [
            listed("alpha", 1, Some(false)),
            listed("vm41", 1, Some(false)),
            listed("vm42", 0, Some(false)),
            listed("vm43", 1, Some(true)),
            listed("vm44", 1, None),
        ];
        let lab = ["vm[41:50]".to_owned()];
        assert_eq!(unfinished(&nodes, &lab), ["vm41"]);
        assert!(unfinished(&nodes, &[]).is_empty());
    }

    #[test]
    fn a_join_must_not_be_able_to_take_the_quorum() {
        let cluster = |states: &[(u32, bool)]| -> Vec<Listed> {
            let node = |(number, (votes, online)): (usize, &(u32, bool))| {
                listed(&format!("n{number}"), *votes, Some(*online))
            };
            states.iter().enumerate().map(node).collect()
        };
        let (on, off) = ((1, true), (1, false));
        // All are up: one more in any case.
        for size in 1..5 {
            assert_eq!(no_room(&cluster(&vec![on; size])), None);
        }
        assert_eq!(no_room(&cluster(&[on, on, on, off])), None);
        // Three up of five, and a sixth that goes off: three of six are no majority.
        let why = no_room(&cluster(&[on, on, on, off, off])).unwrap();
        assert!(
            why.starts_with("3 of the cluster's 5 votes are up"),
            "{why}"
        );
        assert!(why.ends_with("Off, or joining: n3, n4"), "{why}");
        assert!(no_room(&cluster(&[on, on, off])).is_some());
        assert_eq!(no_room(&cluster(&[on, on, on, on, on, off, off])), None);
        // Nodes without a vote may be off.
        let many = [on, on, on, (0, false), (0, false), (0, false)];
        assert_eq!(no_room(&cluster(&many)), None);
        // Nobody tells who is up.
        assert_eq!(no_room(&[listed("a", 1, None)]), None);
    }
}
