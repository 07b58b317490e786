//! What may come back from the agent: a policy over paths, modes and sizes.
//!
//! Values in, values out: scanning the workspace is `wall`'s, writing the commit is `git`'s.

mod scan;

pub use scan::{Found, OtherKind, Scan, What};
