//! The graphs that come with the factory.

use std::collections::BTreeMap;

use super::{Condition, Edge, Graph, Node};
use crate::id::NodeId;

/// A graph by name.
type Builtin = (&'static str, fn() -> Graph);

/// The built-in graphs, the default first.
pub const BUILTIN: [Builtin; 2] = [("converge", converge), ("local", local)];

/// Returns the built-in graph of this name; none where there is none.
pub fn builtin(name: &str) -> Option<Graph> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}

/// Returns the convergence loop: judge a candidate, decide from the history alone, tell the agent,
/// take what it delivers, and again.
pub fn converge() -> Graph {
    Graph {
        name: "converge".to_owned(),
        about:
            "Judge, decide, tell the agent, take what it delivers, until there is a reason to stop."
                .to_owned(),
        nodes: vec![
            node("begin", "start", "Begin"),
            node("prepare", "prepare", "Prepare").with("max_retries", "2"),
            node("gates", "gates", "Gates"),
            node("scenarios", "scenarios", "Scenarios"),
            node("decide", "decide", "Decide"),
            node("feedback", "feedback", "Feedback"),
            node("agent", "agent", "Agent"),
            node("deliver", "deliver", "Deliver"),
            node("report", "report", "Report"),
            node("done", "exit", "Done"),
        ],
        edges: vec![
            edge("begin", "prepare"),
            edge("prepare", "gates"),
            when("prepare", "decide", "outcome=fail"),
            edge("gates", "scenarios"),
            when("gates", "decide", "outcome=fail"),
            edge("scenarios", "decide"),
            labelled("decide", "feedback", "continue"),
            labelled("decide", "report", "stop"),
            edge("feedback", "agent"),
            edge("agent", "deliver"),
            when("agent", "decide", "preferred_label=stop"),
            labelled("deliver", "prepare", "changed"),
            labelled("deliver", "decide", "unchanged"),
            edge("report", "done"),
        ],
    }
}

/// Returns one iteration without an agent: judge the working tree, write the feedback.
pub fn local() -> Graph {
    Graph {
        name: "local".to_owned(),
        about: "Judge the working tree in place and write the feedback, without an agent."
            .to_owned(),
        nodes: vec![
            node("begin", "start", "Begin"),
            node("gates", "gates", "Gates"),
            node("scenarios", "scenarios", "Scenarios"),
            node("decide", "decide", "Decide"),
            node("feedback", "feedback", "Feedback"),
            node("report", "report", "Report"),
            node("done", "exit", "Done"),
        ],
        edges: vec![
            edge("begin", "gates"),
            edge("gates", "scenarios"),
            when("gates", "decide", "outcome=fail"),
            edge("scenarios", "decide"),
            edge("decide", "feedback"),
            edge("feedback", "report"),
            edge("report", "done"),
        ],
    }
}

#[expect(clippy::expect_used, reason = "the names stand in this file, and a test reads them all")]
fn id(name: &str) -> NodeId {
    NodeId::parse(name).expect("a built-in node has a valid id")
}

fn node(name: &str, kind: &str, label: &str) -> Node {
    Node { id: id(name), kind: kind.to_owned(), attributes: BTreeMap::new() }.with("label", label)
}

fn edge(from: &str, to: &str) -> Edge {
    Edge { from: id(from), to: id(to), condition: None, label: None, weight: 0 }
}

fn labelled(from: &str, to: &str, label: &str) -> Edge {
    Edge { label: Some(label.to_owned()), ..edge(from, to) }
}

#[expect(
    clippy::expect_used,
    reason = "the conditions stand in this file, and a test reads them all"
)]
fn when(from: &str, to: &str, condition: &str) -> Edge {
    let condition = Condition::parse(condition).expect("a built-in condition reads");
    Edge { label: Some("fail".to_owned()), condition: Some(condition), ..edge(from, to) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::validate;

    #[test]
    fn the_built_in_graphs_are_valid() {
        for (name, make) in BUILTIN {
            assert_eq!(validate(&make(), &[]), [], "{name}");
            assert_eq!(make().name, name);
        }
    }
}
