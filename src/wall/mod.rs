//! What keeps the holdout from the agent.

pub mod canary;
pub mod shuffle;
