//! The promises of the toolkit, shown on its real binaries: each test makes a small product in a
//! temporary directory, runs a program in it, and looks at what that left.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests stand outside of the house: they start its programs, and wait for them"
)]

mod attributes;
mod bad_input;
mod budgets;
mod canary;
mod confine;
mod crash;
mod demo;
mod doctor;
mod doors;
mod fixtures;
mod golden;
mod isolation;
mod itself;
#[cfg(feature = "model-server")]
mod login;
mod loop_paths;
mod monorepo;
mod nasty;
mod outages;
mod outputs;
mod overspend;
mod private;
mod receipts;
mod repository;
mod runner;
mod secrets;
mod selecting;
mod shuffle;
mod stores;
mod support;
mod tidy;
mod verify;
mod workflow;
