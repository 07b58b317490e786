//! Scenarios: how behaviour is judged. The model, the reader of one file, the checks, the
//! selection. Walking the directory is `judge::discover`; running is `judge`.

mod checks;
mod lint;
mod model;
mod parse;
mod select;
mod set;

pub use checks::{CHECKS, Check, check_of};
pub use lint::check as lint;
pub use model::{
    CodeBlock, Diagnostic, Entry, EvidenceItem, FrontMatter, Precondition, Scenario, ScenarioSet,
    Severity, Visibility,
};
pub use parse::{MAX_BYTES, Parsed, parse};
pub use select::Selection;
pub use set::from_files;
