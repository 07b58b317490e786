//! Rules that a graph must keep: a file each, and one list.

mod bounded_loops;
mod edge_ends;
mod exits;
mod kinds;
mod one_start;
mod reachable;
mod unique_ids;

use super::Graph;

/// Something that is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: &'static str,
    /// What is wrong, as a lower-case fragment that names the node or edge.
    pub message: String,
}

/// A rule: its name, and what it finds in a graph, given the kinds that have a handler (an empty
/// list means that all have).
pub struct Rule {
    /// Names the rule.
    pub name: &'static str,
    /// Returns a message for each place where the rule is broken.
    pub check: fn(&Graph, &[&str]) -> Vec<String>,
}

/// Every rule, in the order in which findings are shown.
pub const RULES: [Rule; 7] = [
    Rule { name: "unique-ids", check: unique_ids::check },
    Rule { name: "one-start", check: one_start::check },
    Rule { name: "exits", check: exits::check },
    Rule { name: "edge-ends", check: edge_ends::check },
    Rule { name: "kinds", check: kinds::check },
    Rule { name: "reachable", check: reachable::check },
    Rule { name: "bounded-loops", check: bounded_loops::check },
];

/// Returns everything that is wrong with the graph; empty when it can be walked.
pub fn validate(graph: &Graph, kinds: &[&str]) -> Vec<Finding> {
    RULES
        .iter()
        .flat_map(|rule| {
            (rule.check)(graph, kinds)
                .into_iter()
                .map(|message| Finding { rule: rule.name, message })
        })
        .collect()
}

#[cfg(test)]
pub(super) mod testing {
    use crate::id::NodeId;
    use crate::pipeline::{Edge, Graph, Node};

    /// Builds a graph out of `name:kind` nodes and `from>to` edges.
    pub(in crate::pipeline) fn graph(nodes: &[&str], edges: &[&str]) -> Graph {
        let id = |text: &str| NodeId::parse(text).unwrap();
        Graph {
            name: "g".to_owned(),
            about: String::new(),
            nodes: nodes
                .iter()
                .map(|node| {
                    let (name, kind) = node.split_once(':').unwrap();
                    Node::new(id(name), kind)
                })
                .collect(),
            edges: edges
                .iter()
                .map(|edge| {
                    let (from, to) = edge.split_once('>').unwrap();
                    Edge { from: id(from), to: id(to), condition: None, label: None, weight: 0 }
                })
                .collect(),
        }
    }
}
