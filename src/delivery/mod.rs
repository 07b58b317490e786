//! What may come back from the agent: a policy over paths, modes and sizes.
//!
//! Values in, values out: scanning the workspace is `wall`'s, writing the commit is `git`'s.

mod fit;
mod links;
mod outcome;
mod policy;
mod scan;
mod steering;

pub use links::Links;
pub use outcome::{Delivery, DropReason, Dropped, Refusal};
pub use policy::{Candidate, Limits, Policy, PolicyError, decide};
pub use scan::{Found, OtherKind, Scan, What};
pub use steering::STEERING;
