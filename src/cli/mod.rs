//! The doors: one file a command, with its arguments, its wiring, its exit code and its messages.

pub mod compile_feedback;
pub mod exit;
pub mod hidden;
pub mod iterate;
pub mod lint;
pub mod publish;
pub mod run_scenarios;
pub mod shuffle_scenarios;
