//! Graphs as data: typed nodes with attributes, edges with conditions, and the way through them.
//!
//! What a node does is its handler's affair (`engine::handlers`), and no handler knows the graph.
//! Everything here is values in, values out; a front end that reads another notation makes the
//! same [`Graph`].

mod builtin;
mod condition;
mod graph;
mod print;
mod route;
mod rules;
mod walk;

pub use builtin::{BUILTIN, builtin, converge, local};
pub use condition::{Clause, Condition, ConditionError};
pub use graph::{Edge, Graph, Kind, Node};
pub use print::{to_dot, to_mermaid, to_text};
pub use route::{Context, NodeOutcome, Status, route};
pub use rules::{Finding, RULES, Rule, validate};
pub use walk::{Next, Phase, Position, Walk};
