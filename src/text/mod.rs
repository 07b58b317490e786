//! Text and bytes: cutting with a notice, paths in a tree, what is safe on a terminal.

mod cut;
mod redact;
mod tree_path;

pub use cut::{first_line, one_line, plural, tail, visible};
pub use redact::Redaction;
pub use tree_path::{TreePath, TreePathError};
