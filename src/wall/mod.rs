//! What keeps the holdout from the agent.

mod at;
mod copy;
mod tree;

pub use at::remove_tree;
pub use copy::{CopyReport, copy_tree};
pub use tree::{ManagedTree, ScanLimits, SyncReport, TreeError};
