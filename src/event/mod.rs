//! What happens in a run, said once: the events, their envelope and the fold into a summary.

mod tier;

pub use tier::Tier;
