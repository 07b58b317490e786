//! Scenarios: how behaviour is judged. The model, the reader of one file, the checks, the
//! selection. Walking the directory is `judge::discover`; running is `judge`.

mod checks;
mod model;
mod parse;
mod set;

pub use checks::{CHECKS, Check, check_of};
pub use model::{
    CodeBlock, Diagnostic, Entry, EvidenceItem, FrontMatter, Precondition, Scenario, ScenarioSet,
    Severity, Visibility,
};
pub use parse::{MAX_BYTES, Parsed, parse};
pub use set::from_files;
