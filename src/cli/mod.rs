//! The doors: one file a command, with its arguments, its wiring, its exit code and its messages.

pub mod completions;
pub mod exit;
pub mod graph;
mod here;
pub mod runs;
pub mod status;
pub mod run_scenarios;
pub mod shuffle_scenarios;
