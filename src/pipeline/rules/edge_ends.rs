//! Both ends of an edge are nodes, and none leads back to the start.

use crate::pipeline::Graph;

pub(super) fn check(graph: &Graph, _kinds: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for edge in &graph.edges {
        for end in [&edge.from, &edge.to] {
            if graph.node(end).is_none() {
                found.push(format!(
                    "the edge {} -> {} names `{end}`, which is no node",
                    edge.from, edge.to
                ));
            }
        }
        if graph.node(&edge.to).is_some_and(|node| node.kind == "start") {
            found.push(format!("the edge {} -> {} leads back to the start", edge.from, edge.to));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;

    #[test]
    fn an_edge_to_nowhere_and_one_to_the_start_are_found() {
        let found = super::check(&graph(&["a:start", "b:exit"], &["a>c", "b>a"]), &[]);
        assert_eq!(
            found,
            [
                "the edge a -> c names `c`, which is no node",
                "the edge b -> a leads back to the start"
            ]
        );
    }
}
