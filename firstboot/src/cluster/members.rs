//! pmxcfs's own list of the cluster's nodes.

use crate::system::root::Root;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where it is; JSON.
pub(crate) const FILE: &str = "/etc/pve/.members";

/// Its content, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Members {
    /// The name that pmxcfs was started under.
    pub nodename: String,
    /// Absent on a node in no cluster, and on one whose join was cut.
    pub cluster: Option<Cluster>,
    /// Every node of the cluster.
    #[serde(default)]
    pub nodelist: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Cluster {
    pub name: String,
    /// 1 when a majority of the votes is there.
    pub quorate: u8,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Node {
    /// 1 when its pmxcfs takes part.
    pub online: u8,
}

impl Members {
    /// Reads the file; `None` where pmxcfs is not there. While it goes down or comes up the file may be
    /// away, or cut.
    pub(crate) fn of(root: &Root) -> Option<Members> {
        Members::parse(&root.read_text(FILE).ok().flatten()?).ok()
    }

    pub(crate) fn parse(text: &str) -> serde_json::Result<Members> {
        serde_json::from_str(text)
    }

    /// The name of the quorate cluster in which the node `name` is online and is this one, or
    /// what is missing, in words.
    pub(crate) fn online_in(&self, name: &str) -> Result<String, String> {
        let Some(cluster) = &self.cluster else {
            return Err("pmxcfs knows of no cluster".to_owned());
        };
        if self.nodename != name {
            let other = &self.nodename;
            return Err(format!("pmxcfs runs under the name {other}, not {name}"));
        }
        if cluster.quorate != 1 {
            return Err(format!(
                "the cluster {} has no quorum: {} of its {} nodes are seen from here",
                cluster.name,
                self.nodelist
                    .values()
                    .filter(|node| node.online == 1)
                    .count(),
                self.nodelist.len(),
            ));
        }
        match self.nodelist.get(name) {
            Some(node) if node.online == 1 => Ok(cluster.name.clone()),
            Some(_) => Err(format!("{name} is not online in {}", cluster.name)),
            None => Err(format!("{name} is not listed in {}", cluster.name)),
        }
    }
}
