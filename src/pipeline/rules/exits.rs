//! A walk can end: there is an exit, nothing follows it, and every other node is followed.

use crate::pipeline::Graph;

pub(super) fn check(graph: &Graph, _kinds: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    if !graph.nodes.iter().any(|node| node.kind == "exit") {
        found.push("no node is of type `exit`".to_owned());
    }
    for node in &graph.nodes {
        let followed = graph.edges_from(&node.id).next().is_some();
        match (node.kind == "exit", followed) {
            (true, true) => found.push(format!("an edge begins at the exit `{}`", node.id)),
            (false, false) => found.push(format!("no edge begins at `{}`", node.id)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;

    #[test]
    fn a_dead_end_and_an_exit_that_goes_on_are_found() {
        let found = super::check(&graph(&["a:start", "b:work", "c:exit"], &["a>b", "c>a"]), &[]);
        assert_eq!(found, ["no edge begins at `b`", "an edge begins at the exit `c`"]);
    }

    #[test]
    fn a_graph_without_an_exit_is_found() {
        let found = super::check(&graph(&["a:start", "b:work"], &["a>b", "b>a"]), &[]);
        assert_eq!(found, ["no node is of type `exit`"]);
    }
}
