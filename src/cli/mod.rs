//! The doors: one file a command, with its arguments, its wiring, its exit code and its messages.

pub mod apply;
pub mod compile_feedback;
pub mod completions;
mod confining;
mod deep;
pub mod discard;
pub mod doctor;
mod estimate;
pub mod exit;
pub mod factory;
#[cfg(feature = "model-server")]
pub mod fake_model;
pub mod gc;
pub mod graph;
mod here;
pub mod hidden;
pub mod iterate;
mod leaving;
pub mod lint;
pub mod login;
mod past;
pub mod publish;
pub mod reports;
pub mod run_scenarios;
pub mod runs;
pub mod scheduling;
mod score;
pub mod selection;
mod setting_up;
pub mod show;
pub mod shuffle_scenarios;
pub mod status;
pub mod usage;
pub mod verify;
