//! The judge: runs gates and scenarios against a tree, and finds the scenarios there.
//!
//! It observes; what the observations mean is `verdict`'s to say.

mod bash;
mod discover;
mod evidence;
mod gates;
pub mod makefile;
mod record;
mod scenarios;

pub use bash::Place;
pub use discover::{DiscoverError, discover};
pub use gates::{GateProgress, run_gates};
pub use makefile::Targets;
pub use record::{CutShort, JudgementRecord, meet_cut_short};
pub use scenarios::{EvidenceDir, Progress, Settings, Work, judge_scenarios};
