//! Every node's type has a handler.

use crate::pipeline::Graph;

pub(super) fn check(graph: &Graph, kinds: &[&str]) -> Vec<String> {
    graph
        .nodes
        .iter()
        .filter(|node| !matches!(node.kind.as_str(), "start" | "exit"))
        .filter(|node| !kinds.is_empty() && !kinds.contains(&node.kind.as_str()))
        .map(|node| {
            format!(
                "the node `{}` is of type `{}`, which nothing handles; known are {}",
                node.id,
                node.kind,
                kinds.join(", ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;

    #[test]
    fn a_type_without_a_handler_is_found() {
        let found =
            super::check(&graph(&["a:start", "b:brew", "c:exit"], &[]), &["agent", "gates"]);
        assert_eq!(
            found,
            ["the node `b` is of type `brew`, which nothing handles; known are agent, gates"]
        );
    }
}
