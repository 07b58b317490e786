//! From the history of a run to what follows: go on, or stop, and why. What it has used up, what it
//! may still use, and what tokens cost.
//!
//! Values in, values out. The history holds judgements and turns, never text of scenarios.

mod budget;
mod crash;
mod decide;
mod estimate;
mod history;
mod ledger;
mod prices;
mod turn_class;

pub use budget::{
    Billing, DAY_MS, Fund, Limit, Limits, Raise, Shortfall, Spending, TurnAllowance, UsageLimit,
    may_begin, time_needed,
};
pub use crash::Crash;
pub use decide::{Decision, StopRule, decide};
pub use estimate::{Estimate, estimate};
pub use history::{History, Judgement, Step, best, is_better, steps_without_progress};
pub use ledger::{Cost, Entry, Ledger, Totals, Usual, median, show_tokens, show_usd};
pub use prices::{Price, PriceTable, Tokens};
pub use turn_class::{After, Patience, TurnClass};
