//! Scenarios: how behaviour is judged. The model, the reader of one file, the checks, the
//! selection and the order. Walking the directory is `judge::discover`; running is `judge`.

mod checks;
mod criteria;
mod front;
mod history;
mod holdout;
mod lint;
mod model;
mod needs;
mod order;
mod parse;
mod select;
mod set;
mod shard;

pub use checks::{CHECKS, Check, check_of};
pub use criteria::{Criterion, CriterionCheck, JsonStep, Subject, TextTest, regex_of};
pub use history::{History, LastStatus, Past};
pub use holdout::{Holdout, canary, find_holdout, squeezed};
pub use lint::check as lint;
pub use model::{
    CodeBlock, Diagnostic, Entry, EvidenceItem, FrontMatter, Precondition, Scenario, ScenarioSet,
    Severity, Visibility,
};
pub use needs::unknown_fixtures;
pub use order::{Order, Phase, phases};
pub use parse::{MAX_BYTES, Parsed, parse};
pub use select::{
    Expression, ExpressionError, ExpressionProblem, MAX_DEPTH, Selection, Slip, Wanted,
};
pub(crate) use set::{FileRead, read_file, set_of};
pub use set::{from_files, of_one_id};
pub use shard::{Shard, ShardError};
