//! Text and bytes: cutting with a notice, paths in a tree, what is safe on a terminal.

mod base64;
mod cut;
mod nearest;
mod place;
mod redact;
mod regex;
mod size;
mod subtree;
mod tree_path;
pub mod yaml;

pub use base64::base64;
pub use cut::{first_line, head, listed, one_line, plural, single_spaced, tail, visible};
pub use nearest::nearest;
pub use place::{Lines, line_column, line_span};
pub use redact::{Cut, RedactedStream, Redaction, SHORTEST_SECRET};
pub use regex::why_no_regex;
pub use size::{parse_size, show_count, show_size};
pub use subtree::Subtree;
pub use tree_path::{TreePath, TreePathError};
