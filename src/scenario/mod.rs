//! Scenarios: how behaviour is judged. The model, the reader of one file, the checks, the
//! selection. Walking the directory is `judge::discover`; running is `judge`.

mod checks;
mod holdout;
mod lint;
mod model;
mod order;
mod parse;
mod select;
mod set;

pub use checks::{CHECKS, Check, check_of};
pub use holdout::{Holdout, find_holdout, squeezed};
pub use lint::check as lint;
pub use model::{
    CodeBlock, Diagnostic, Entry, EvidenceItem, FrontMatter, Precondition, Scenario, ScenarioSet,
    Severity, Visibility,
};
pub use order::{Phase, phases};
pub use parse::{MAX_BYTES, Parsed, parse};
pub use select::Selection;
pub use set::from_files;
