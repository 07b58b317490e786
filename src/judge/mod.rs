//! The judge: runs gates and scenarios against a tree, and finds the scenarios there.
//!
//! It observes; what the observations mean is `verdict`'s to say. `run-scenarios` is a thin door to
//! what is here, and another program can judge in the same way:
//!
//! ```
//! use std::collections::{BTreeMap, BTreeSet};
//! use std::time::Duration;
//!
//! use dark_factory::judge::{Fixtures, Place, Progress, Settings, Work, discover, judge_scenarios};
//! use dark_factory::process::Cancel;
//! use dark_factory::scenario::{Entry, History, Order, phases};
//! use dark_factory::verdict::Satisfaction;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let product = tempfile::tempdir()?;
//! std::fs::create_dir(product.path().join("scenarios"))?;
//! std::fs::write(
//!     product.path().join("scenarios/greeting.md"),
//!     "# Scenario: It greets\n\n## Evaluation Method\n```bash\necho hello | grep -q hello\n```\n",
//! )?;
//!
//! // What there is to judge, and in which order.
//! let set = discover(product.path(), "scenarios")?;
//! let entries: Vec<&Entry> = set.entries.iter().collect();
//! let phases = phases(&entries, Order::File, &History::default());
//!
//! // Where: the root of the tree, and the whole environment.
//! let env = BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]);
//! let place = Place::open(product.path(), env);
//!
//! // What they need to have running: nothing.
//! let cancel = Cancel::never();
//! let fixtures = Fixtures::new(&[], &place, &product.path().join("logs"), &cancel)?;
//!
//! let work = Work {
//!     fixtures: &fixtures,
//!     entries: &entries,
//!     phases: &phases,
//!     place: &place,
//!     judged_before: &BTreeSet::new(),
//!     sum_before: Satisfaction::default(),
//! };
//! let settings = Settings { jobs: 2, ..Settings::new(Duration::from_secs(60)) };
//! let mut failed = Vec::new();
//! let sum = judge_scenarios(work, &settings, &cancel, &mut |progress| {
//!     if let Progress::Judged(judged) = progress
//!         && !judged.is_satisfied()
//!     {
//!         failed.push(judged.name);
//!     }
//! });
//! assert_eq!((sum.passed, sum.score(), failed), (1, Some(1.0), vec![]));
//! # Ok(())
//! # }
//! ```

mod bash;
mod confined;
mod definition;
mod discover;
mod evidence;
mod fixtures;
mod gates;
mod history;
mod look;
pub mod makefile;
mod own_files;
mod record;
mod scenarios;
mod weakened;

pub use bash::Place;
pub use confined::{Judging, LOOK};
pub use definition::{Definition, definition_of, tells_the_same};
pub use discover::{DiscoverError, discover};
pub use fixtures::{Died, Fixtures, NotReady, check_needs, end_leftovers, look_inside};
pub use gates::{GateProgress, run_gates, said};
pub use history::{HistoryError, read_history, remember};
pub use look::look_at;
pub use makefile::Targets;
pub use own_files::own_files;
pub use record::{CutShort, JudgementRecord, meet_cut_short};
pub use scenarios::{EvidenceDir, Progress, Settings, Work, judge_scenarios};
pub use weakened::{Changed, is_of_tests, weakened};
