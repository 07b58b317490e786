//! The graph.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Condition;
use crate::id::NodeId;

/// A graph: what is walked.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Names it.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// The nodes in the order in which people read them.
    pub nodes: Vec<Node>,
    /// The edges in the order in which they were written.
    pub edges: Vec<Edge>,
}

/// The type of a node: names the handler that is called for it.
pub type Kind = String;

/// A place in the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Unique in the graph.
    pub id: NodeId,
    /// `start` and `exit` are the engine's own; every other kind has a handler.
    pub kind: Kind,
    /// Settings by name, as text; the engine reads `label`, `max_visits`, `max_retries`,
    /// `retry_delay_ms` and `timeout_s`, the rest is the handler's.
    pub attributes: BTreeMap<String, String>,
}

impl Node {
    /// Makes a node without attributes.
    pub fn new(id: NodeId, kind: &str) -> Self {
        Self { id, kind: kind.to_owned(), attributes: BTreeMap::new() }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Returns what people read for the node: its `label`, else its id.
    pub fn label(&self) -> &str {
        self.attributes.get("label").map_or(self.id.as_str(), String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.attributes.get(name).and_then(|value| value.parse().ok())
    }

    /// Returns how often the node may be visited; none means without bound.
    pub fn max_visits(&self) -> Option<u32> {
        self.number("max_visits").and_then(|n| u32::try_from(n).ok())
    }

    /// Returns how many more attempts an outcome of `retry` gets; 0 unless set.
    pub fn max_retries(&self) -> u32 {
        self.number("max_retries").and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
    }

    /// Returns how long to wait before attempt `attempt` (from 2): `retry_delay_ms`, 1 s unless
    /// set, doubled with each attempt, at most a minute.
    pub fn retry_delay(&self, attempt: u32) -> Duration {
        let base = Duration::from_millis(self.number("retry_delay_ms").unwrap_or(1_000));
        base.saturating_mul(1 << attempt.saturating_sub(2).min(16)).min(Duration::from_secs(60))
    }

    /// Returns the node's time limit; none unless `timeout_s` is set.
    pub fn timeout(&self) -> Option<Duration> {
        self.number("timeout_s").map(Duration::from_secs)
    }
}

/// A way from one node to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Where it begins.
    pub from: NodeId,
    /// Where it leads.
    pub to: NodeId,
    /// When it may be taken; none means always, if no edge with a condition is.
    pub condition: Option<Condition>,
    /// What an outcome asks for it by.
    pub label: Option<String>,
    /// The heavier of two is taken.
    pub weight: i64,
}

impl Graph {
    /// Returns the node of this id.
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// Returns the first node of kind `start`; none in a graph that does not validate.
    pub fn start(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.kind == "start")
    }

    /// Returns the edges that begin at `id`, in the order in which they were written.
    pub fn edges_from<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = &'a Edge> {
        self.edges.iter().filter(move |edge| edge.from == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let node = Node::new(NodeId::parse("a").unwrap(), "a").with("retry_delay_ms", "500");
        for (attempt, millis) in [(2, 500), (3, 1_000), (5, 4_000), (40, 60_000)] {
            assert_eq!(node.retry_delay(attempt), Duration::from_millis(millis), "{attempt}");
        }
    }
}
