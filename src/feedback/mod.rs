//! What the agent is told: advice compiled from evidence, within the disclosure level, with the
//! holdout's text masked.

mod compile;
mod disclosure;
mod layout;
mod markdown;
mod mask;
mod output;
mod point;
pub mod rules;
mod standard;
mod tree;
mod view;

#[cfg(test)]
mod samples;

pub use compile::{Feedback, Input, LastTurn, Limits, compile};
pub use disclosure::Disclosure;
pub use mask::{Mask, Masked};
pub use point::{Point, read_point};
pub use tree::AgentTree;
