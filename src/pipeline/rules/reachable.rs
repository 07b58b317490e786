//! Every node can be reached, and an exit can be reached from every node.

use std::collections::BTreeSet;

use crate::id::NodeId;
use crate::pipeline::Graph;

pub(super) fn check(graph: &Graph, _kinds: &[&str]) -> Vec<String> {
    let Some(start) = graph.start() else { return Vec::new() };
    let reached = spread(graph, vec![&start.id], false);
    let exits = graph.nodes.iter().filter(|node| node.kind == "exit").map(|node| &node.id);
    let leaving = spread(graph, exits.collect(), true);
    let mut found = Vec::new();
    for node in &graph.nodes {
        if !reached.contains(&node.id) {
            found.push(format!("`{}` can't be reached from `{}`", node.id, start.id));
        } else if !leaving.is_empty() && !leaving.contains(&node.id) {
            found.push(format!("no exit can be reached from `{}`", node.id));
        }
    }
    found
}

/// Returns all nodes that can be reached over edges, or against them.
fn spread<'a>(
    graph: &'a Graph,
    mut open: Vec<&'a NodeId>,
    backwards: bool,
) -> BTreeSet<&'a NodeId> {
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(graph.edges.iter().filter_map(|edge| {
                let (from, to) =
                    if backwards { (&edge.to, &edge.from) } else { (&edge.from, &edge.to) };
                (from == id).then_some(to)
            }));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;

    #[test]
    fn an_island_and_a_trap_are_found() {
        let graph = graph(
            &["a:start", "island:work", "trap:work", "other:work", "end:exit"],
            &["a>end", "a>trap", "trap>other", "other>trap", "island>end"],
        );
        assert_eq!(
            super::check(&graph, &[]),
            [
                "`island` can't be reached from `a`",
                "no exit can be reached from `trap`",
                "no exit can be reached from `other`"
            ]
        );
    }
}
