//! Routing: from a node's outcome to the edge that is taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::graph::{Edge, Graph};
use crate::id::NodeId;

/// Variables that nodes leave for conditions and for each other.
pub type Context = BTreeMap<String, String>;

/// How a node's handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It did what it is for.
    Success,
    /// It found that what it looked at is not good.
    Fail,
    /// It could not do it now and may later; counts as `fail` once the retries are used up.
    Retry,
}

impl Status {
    /// Returns the word that conditions compare with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Fail => "fail",
            Self::Retry => "retry",
        }
    }
}

/// What a handler says when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOutcome {
    /// How it ended.
    pub status: Status,
    /// The label of the edge that the handler would take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_label: Option<String>,
    /// The nodes that the handler would go to, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggested: Vec<NodeId>,
    /// Variables to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: Context,
}

impl NodeOutcome {
    /// Makes an outcome that says nothing but how it ended.
    pub fn of(status: Status) -> Self {
        Self { status, preferred_label: None, suggested: Vec::new(), context: Context::new() }
    }

    /// Makes a successful outcome that asks for the edge of this label.
    pub fn labelled(label: &str) -> Self {
        Self { preferred_label: Some(label.to_owned()), ..Self::of(Status::Success) }
    }
}

/// Decides which edge is taken from `from`; none where no edge may be.
///
/// The first of these that leaves any edge: those whose condition holds; those without a condition
/// whose label the outcome prefers; those without one that lead to the first suggested node that
/// has any; those without a condition. Of several the heaviest is taken, and of equals the one
/// whose target's id comes first.
pub fn route<'a>(
    graph: &'a Graph,
    from: &'a NodeId,
    outcome: &NodeOutcome,
    context: &Context,
) -> Option<&'a Edge> {
    let edges: Vec<&Edge> = graph.edges_from(from).collect();
    let pick = |wanted: &dyn Fn(&Edge) -> bool| {
        edges
            .iter()
            .copied()
            .filter(|edge| wanted(edge))
            .min_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.to.cmp(&b.to)))
    };
    let free = |edge: &Edge| edge.condition.is_none();
    pick(&|edge| edge.condition.as_ref().is_some_and(|c| c.holds(outcome, context)))
        .or_else(|| {
            let label = outcome.preferred_label.as_deref()?;
            pick(&|edge| free(edge) && edge.label.as_deref().is_some_and(|l| same_label(l, label)))
        })
        .or_else(|| {
            outcome.suggested.iter().find_map(|id| pick(&|edge| free(edge) && edge.to == *id))
        })
        .or_else(|| pick(&free))
}

/// Returns whether two labels are the same but for case and white space around them.
fn same_label(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

#[cfg(test)]
mod tests {
    use super::super::{Condition, Node};
    use super::*;

    fn id(text: &str) -> NodeId {
        NodeId::parse(text).unwrap()
    }

    /// Builds edges from `a` out of (target, condition, label, weight), and says where it leads.
    fn check(edges: &[(&str, &str, &str, i64)], outcome: &NodeOutcome, expected: Option<&str>) {
        let edges = edges
            .iter()
            .map(|(to, condition, label, weight)| Edge {
                from: id("a"),
                to: id(to),
                condition: (!condition.is_empty()).then(|| Condition::parse(condition).unwrap()),
                label: (!label.is_empty()).then(|| (*label).to_owned()),
                weight: *weight,
            })
            .collect();
        let graph = Graph {
            name: "g".into(),
            about: String::new(),
            nodes: vec![Node::new(id("a"), "start")],
            edges,
        };
        let from = id("a");
        let taken = route(&graph, &from, outcome, &outcome.context);
        assert_eq!(taken.map(|edge| edge.to.as_str()), expected);
    }

    #[test]
    fn a_condition_that_holds_wins_over_label_and_weight() {
        let mut outcome = NodeOutcome::labelled("go");
        outcome.status = Status::Fail;
        check(&[("b", "", "go", 9), ("c", "outcome=fail", "", 0)], &outcome, Some("c"));
    }

    #[test]
    fn a_preferred_label_wins_over_weight_whatever_its_case() {
        check(&[("b", "", "", 9), ("c", "", "Go", 0)], &NodeOutcome::labelled("go "), Some("c"));
    }

    #[test]
    fn the_first_suggestion_that_has_an_edge_is_taken() {
        let mut outcome = NodeOutcome::of(Status::Success);
        outcome.suggested = vec![id("z"), id("c"), id("b")];
        check(&[("b", "", "", 5), ("c", "", "", 0)], &outcome, Some("c"));
    }

    #[test]
    fn weight_then_name_decide_between_equals() {
        let outcome = NodeOutcome::of(Status::Success);
        check(&[("c", "", "", 1), ("b", "", "", 1), ("d", "", "", 0)], &outcome, Some("b"));
        check(&[("c", "", "", 2), ("b", "", "", 1)], &outcome, Some("c"));
    }

    #[test]
    fn no_edge_is_taken_when_no_condition_holds_and_none_is_free() {
        check(&[("b", "outcome=fail", "", 0)], &NodeOutcome::of(Status::Success), None);
    }
}
