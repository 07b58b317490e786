//! In which order scenarios are begun.

use super::Entry;

/// Scenarios that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Their indices, in the order in which they begin.
    pub entries: Vec<usize>,
    /// Whether they run one at a time.
    pub alone: bool,
    /// Whether they are slow, and wait for the others to reach the threshold.
    pub slow: bool,
}

/// Puts the entries in phases, in their order.
pub fn phases(entries: &[&Entry]) -> Vec<Phase> {
    let front = |at: usize| entries[at].scenario.as_ref().map(|s| (s.front.slow, s.front.serial));
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|(slow, alone)| Phase {
            entries: (0..entries.len())
                .filter(|at| front(*at).unwrap_or((false, false)) == (slow, alone))
                .collect(),
            alone,
            slow,
        })
        .filter(|phase| !phase.entries.is_empty())
        .collect()
}
