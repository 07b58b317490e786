//! Where a walk stands: the fold of the engine's events, and the next thing to do.

use std::collections::BTreeMap;

use super::graph::Graph;
use super::route::{Context, NodeOutcome, Status, route};
use crate::id::NodeId;

/// Where a walk stands.
///
/// There is a list of positions, so that branches can run side by side; the built-in graphs have
/// one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// The nodes that are being worked on, in the order in which they were reached.
    pub positions: Vec<Position>,
    /// How often each node has been entered.
    pub visits: BTreeMap<NodeId, u32>,
    /// What the nodes have left.
    pub context: Context,
}

/// One place at which a walk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The node.
    pub node: NodeId,
    /// What was done there.
    pub phase: Phase,
}

/// What was done at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It was reached.
    Reached,
    /// Its handler was called and has not returned.
    Started {
        /// The attempt, from 1.
        attempt: u32,
    },
    /// Its handler returned.
    Finished {
        /// The attempt, from 1.
        attempt: u32,
        /// What it said.
        outcome: NodeOutcome,
    },
}

/// The next thing that the engine does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Call the handler of a node.
    Run {
        /// The node.
        node: NodeId,
        /// The visit, from 1.
        visit: u32,
        /// The attempt within it, from 1.
        attempt: u32,
    },
    /// Go over an edge.
    Take {
        /// From this node.
        from: NodeId,
        /// To this one.
        to: NodeId,
    },
    /// The walk is at its end.
    Done,
    /// No edge may be taken.
    Stuck {
        /// The node that has none.
        node: NodeId,
    },
    /// The node may not be visited again.
    TooManyVisits {
        /// The node.
        node: NodeId,
        /// Its bound.
        limit: u32,
    },
}

impl Walk {
    /// Records that a handler was called.
    pub fn started(&mut self, node: &NodeId, visit: u32, attempt: u32) {
        self.visits.insert(node.clone(), visit);
        self.set(node, Phase::Started { attempt });
    }

    /// Records what a handler said.
    pub fn finished(&mut self, node: &NodeId, attempt: u32, outcome: &NodeOutcome) {
        self.context.extend(outcome.context.iter().map(|(k, v)| (k.clone(), v.clone())));
        self.set(node, Phase::Finished { attempt, outcome: outcome.clone() });
    }

    /// Records that an edge was taken.
    pub fn taken(&mut self, from: &NodeId, to: &NodeId) {
        self.positions.retain(|position| position.node != *from);
        self.positions.push(Position { node: to.clone(), phase: Phase::Reached });
    }

    /// Records that a walk that was at its end goes on at `node`.
    pub fn go_to(&mut self, node: &NodeId) {
        self.positions = vec![Position { node: node.clone(), phase: Phase::Reached }];
    }

    fn set(&mut self, node: &NodeId, phase: Phase) {
        match self.positions.iter_mut().find(|position| position.node == *node) {
            Some(position) => position.phase = phase,
            None => self.positions.push(Position { node: node.clone(), phase }),
        }
    }

    /// Decides what comes next. A handler that was called and did not return (the process died) is
    /// called again, with the same visit and attempt.
    pub fn next(&self, graph: &Graph) -> Next {
        let Some(position) = self.positions.first() else {
            return match graph.start() {
                Some(start) => Next::Run { node: start.id.clone(), visit: 1, attempt: 1 },
                None => Next::Done,
            };
        };
        let node = position.node.clone();
        let visits = self.visits.get(&node).copied().unwrap_or(0);
        let known = graph.node(&node);
        match &position.phase {
            Phase::Reached => match known.and_then(super::Node::max_visits) {
                Some(limit) if visits >= limit => Next::TooManyVisits { node, limit },
                _ => Next::Run { node, visit: visits + 1, attempt: 1 },
            },
            Phase::Started { attempt } => Next::Run { node, visit: visits, attempt: *attempt },
            Phase::Finished { attempt, outcome } => {
                let retries = known.map_or(0, super::Node::max_retries);
                if outcome.status == Status::Retry && *attempt <= retries {
                    return Next::Run { node, visit: visits, attempt: attempt + 1 };
                }
                if known.is_some_and(|node| node.kind == "exit") {
                    return Next::Done;
                }
                let mut outcome = outcome.clone();
                if outcome.status == Status::Retry {
                    outcome.status = Status::Fail;
                }
                match route(graph, &node, &outcome, &self.context) {
                    Some(edge) => Next::Take { from: node.clone(), to: edge.to.clone() },
                    None => Next::Stuck { node },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Edge, Node};
    use super::*;

    fn id(text: &str) -> NodeId {
        NodeId::parse(text).unwrap()
    }

    fn graph() -> Graph {
        let edge = |from: &str, to: &str| Edge {
            from: id(from),
            to: id(to),
            condition: None,
            label: None,
            weight: 0,
        };
        Graph {
            name: "g".into(),
            about: String::new(),
            nodes: vec![
                Node::new(id("begin"), "start"),
                Node::new(id("work"), "work").with("max_retries", "1").with("max_visits", "1"),
                Node::new(id("end"), "exit"),
            ],
            edges: vec![edge("begin", "work"), edge("work", "end")],
        }
    }

    #[test]
    fn a_handler_that_never_returned_is_called_again_as_the_same_attempt() {
        let mut walk = Walk::default();
        walk.taken(&id("begin"), &id("work"));
        walk.started(&id("work"), 1, 2);
        assert_eq!(walk.next(&graph()), Next::Run { node: id("work"), visit: 1, attempt: 2 });
    }

    #[test]
    fn a_retry_is_tried_again_and_then_counts_as_failed() {
        let mut walk = Walk::default();
        walk.started(&id("work"), 1, 1);
        walk.finished(&id("work"), 1, &NodeOutcome::of(Status::Retry));
        assert_eq!(walk.next(&graph()), Next::Run { node: id("work"), visit: 1, attempt: 2 });
        walk.finished(&id("work"), 2, &NodeOutcome::of(Status::Retry));
        assert_eq!(walk.next(&graph()), Next::Take { from: id("work"), to: id("end") });
    }

    #[test]
    fn a_bound_on_visits_stops_a_loop() {
        let mut walk = Walk::default();
        walk.started(&id("work"), 1, 1);
        walk.taken(&id("work"), &id("work"));
        assert_eq!(walk.next(&graph()), Next::TooManyVisits { node: id("work"), limit: 1 });
    }

    #[test]
    fn an_exit_that_was_run_is_the_end() {
        let mut walk = Walk::default();
        walk.finished(&id("end"), 1, &NodeOutcome::of(Status::Success));
        assert_eq!(walk.next(&graph()), Next::Done);
    }
}
