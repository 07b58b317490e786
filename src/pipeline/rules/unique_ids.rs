//! No two nodes share an id.

use std::collections::BTreeSet;

use crate::pipeline::Graph;

pub(super) fn check(graph: &Graph, _kinds: &[&str]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    graph
        .nodes
        .iter()
        .filter(|node| !seen.insert(&node.id))
        .map(|node| format!("two nodes are called `{}`", node.id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;

    #[test]
    fn a_second_node_of_a_name_is_found() {
        let found = super::check(&graph(&["a:start", "b:work", "b:exit"], &[]), &[]);
        assert_eq!(found, ["two nodes are called `b`"]);
    }
}
