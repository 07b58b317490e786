//! A convergence loop that turns specs into working software, and can be believed.
//!
//! The modules stand in layers, and arrows point down only: `cli` over `engine`, over the edges
//! (`judge`, `wall`, `agent`, `git`, `process`, `journal`, `report`, `config`), over the core
//! (`scenario`, `verdict`, `feedback`, `convergence`, `delivery`, `pipeline`, `event`), over the
//! words (`id`, `clock`, `text`). The core takes values and returns values; it touches no file,
//! clock, process or environment. `tests/it/tidy.rs` holds the layers.

pub mod clock;
pub mod id;
pub mod text;

pub mod convergence;
pub mod delivery;
pub mod event;
pub mod feedback;
pub mod pipeline;
pub mod scenario;
pub mod verdict;

pub mod agent;
pub mod config;
pub mod git;
pub mod journal;
pub mod judge;
#[cfg(feature = "model-server")]
pub mod model_server;
pub mod process;
pub mod report;
pub mod wall;

pub mod engine;

pub mod cli;
