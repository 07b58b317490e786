//! Scenarios: how behaviour is judged. The model, the reader of one file, the checks, the
//! selection. Walking the directory is `judge::discover`; running is `judge`.

mod model;

pub use model::{
    CodeBlock, Diagnostic, Entry, EvidenceItem, FrontMatter, Precondition, Scenario, ScenarioSet,
    Severity, Visibility,
};
