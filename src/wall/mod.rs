//! What keeps the holdout from the agent.

mod alias;
mod at;
pub mod broker;
pub mod canary;
pub mod confine;
mod copy;
mod kept;
pub mod shuffle;
mod tree;
pub mod way_out;

pub use alias::{forget_short_name, short_name};
pub use at::remove_tree;
pub use copy::{CopyReport, copy_entry, copy_tree};
pub use kept::KeptFiles;
pub use tree::{
    ManagedTree, ScanLimits, SyncReport, TreeError, files_of_submodules, missing_large_files,
    missing_submodules,
};
