//! A walk begins at one place.

use crate::pipeline::Graph;

pub(super) fn check(graph: &Graph, _kinds: &[&str]) -> Vec<String> {
    match graph.nodes.iter().filter(|node| node.kind == "start").count() {
        1 => Vec::new(),
        0 => vec!["no node is of type `start`".to_owned()],
        count => vec![format!("{count} nodes are of type `start`; one is allowed")],
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;

    #[test]
    fn none_and_two_are_found() {
        assert_eq!(super::check(&graph(&["a:exit"], &[]), &[]).len(), 1);
        assert_eq!(super::check(&graph(&["a:start", "b:start"], &[]), &[]).len(), 1);
        assert_eq!(super::check(&graph(&["a:start"], &[]), &[]).len(), 0);
    }
}
