//! The doors: one file a command, with its arguments, its wiring, its exit code and its messages.

pub mod exit;
pub mod lint;
pub mod run_scenarios;
