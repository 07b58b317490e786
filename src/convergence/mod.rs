//! From the history of a run to what follows: go on, or stop, and why.
//!
//! Values in, values out. The history holds judgements and turns, never text of scenarios.

mod decide;
mod history;
mod turn_class;

pub use decide::{Decision, StopRule, decide};
pub use history::{History, Judgement, Step, best, is_better};
pub use turn_class::{After, Patience, TurnClass};
