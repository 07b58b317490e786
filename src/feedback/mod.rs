//! What the agent is told: advice compiled from evidence, within the disclosure level, with the
//! holdout's text masked.

mod disclosure;

pub use disclosure::Disclosure;
