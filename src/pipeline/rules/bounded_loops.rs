//! Every loop has a way to end: it passes a node that decides, or one whose visits are bounded.

use std::collections::BTreeSet;

use crate::id::NodeId;
use crate::pipeline::{Graph, Node};

pub(super) fn check(graph: &Graph, _kinds: &[&str]) -> Vec<String> {
    let endless = |node: &Node| node.kind != "decide" && node.max_visits().is_none();
    graph
        .nodes
        .iter()
        .filter(|node| endless(node) && returns(graph, &node.id, &endless))
        .map(|node| {
            format!(
                "the loop through `{}` has no bound; set `max_visits` on one of its nodes",
                node.id
            )
        })
        .take(1)
        .collect()
}

/// Returns whether a way leads from the node back to it over nodes that bound nothing.
fn returns(graph: &Graph, origin: &NodeId, endless: &dyn Fn(&Node) -> bool) -> bool {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&NodeId> = graph.edges_from(origin).map(|edge| &edge.to).collect();
    while let Some(id) = open.pop() {
        if id == origin {
            return true;
        }
        if graph.node(id).is_some_and(endless) && seen.insert(id) {
            open.extend(graph.edges_from(id).map(|edge| &edge.to));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;

    #[test]
    fn an_endless_loop_is_found_and_a_bounded_one_is_not() {
        let mut graph =
            graph(&["a:start", "b:work", "c:work", "d:exit"], &["a>b", "b>c", "c>b", "c>d"]);
        assert_eq!(
            super::check(&graph, &[]),
            ["the loop through `b` has no bound; set `max_visits` on one of its nodes"]
        );
        graph.nodes[2].attributes.insert("max_visits".into(), "3".into());
        assert_eq!(super::check(&graph, &[]), [""; 0]);
    }

    #[test]
    fn a_loop_through_a_decision_is_bounded_by_it() {
        let graph =
            graph(&["a:start", "b:work", "c:decide", "d:exit"], &["a>b", "b>c", "c>b", "c>d"]);
        assert_eq!(super::check(&graph, &[]), [""; 0]);
    }
}
