//! Decides in which order scenarios are begun. How many run at a time, and what runs them, is the
//! judge's.

use std::cmp::Reverse;

use super::shard::mark;
use super::{Entry, History};

/// The order in which scenarios are begun, within a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// That of their files.
    #[default]
    File,
    /// Those that took longest the last time first, so that none is left running alone at the end.
    /// One whose duration is not known may be long, and comes before all others. Equal ones are in
    /// the order of their files.
    Longest,
    /// Shuffled by a hash of this seed and the id: a new scenario does not move the others.
    Seed(u64),
}

/// Scenarios that are begun together, when all of the phase before have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Indices of the entries in the order in which they are begun; never empty.
    pub entries: Vec<usize>,
    /// Whether they are judged one at a time, as `serial: true` asks.
    pub alone: bool,
    /// Whether they are marked slow: judged only when those before reach the threshold.
    pub is_slow: bool,
}

/// Divides `entries` into phases: the others, the serial ones, the slow ones, those that are both.
/// Each entry is in one phase, invalid ones in the first. Phases that would be empty are left out.
pub fn phases(entries: &[&Entry], order: Order, history: &History) -> Vec<Phase> {
    let mut turns: Vec<usize> = (0..entries.len()).collect();
    match order {
        Order::File => {}
        Order::Longest => turns.sort_by_cached_key(|at| {
            let duration = history.duration(&entries[*at].id);
            (duration.is_some(), Reverse(duration))
        }),
        Order::Seed(seed) => turns.sort_by_cached_key(|at| {
            let id = &entries[*at].id;
            // Two ids of one hash are told apart by themselves, not by what stands between them.
            (mark(&seed.to_be_bytes(), id), id)
        }),
    }
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|(is_slow, alone)| {
            let wanted =
                |at: &usize| entries[*at].is_slow() == is_slow && entries[*at].is_serial() == alone;
            Phase { entries: turns.iter().copied().filter(wanted).collect(), alone, is_slow }
        })
        .filter(|phase| !phase.entries.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::ScenarioId;
    use crate::scenario::{LastStatus, Past, ScenarioSet, from_files};

    /// Makes a set of scenarios by their ids; `serial` and `slow` in an id make it so.
    fn set(ids: &[&str]) -> ScenarioSet {
        let file = |id: &&str| {
            let evaluation =
                if id.contains("invalid") { "" } else { "## Evaluation\n```\ntest 1\n```\n" };
            let text = format!(
                "---\nserial: {}\nslow: {}\n---\n# {id}\n{evaluation}",
                id.contains("serial"),
                id.contains("slow"),
            );
            (format!("{id}.md").into_bytes(), text.into_bytes())
        };
        from_files("scenarios", ids.iter().map(file).collect())
    }

    fn order(set: &ScenarioSet, order: Order, seconds: &[(&str, f64)]) -> Vec<Phase> {
        let past =
            |seconds| Past { status: LastStatus::Satisfied, seconds: Some(seconds), flaky: false };
        let history = seconds
            .iter()
            .map(|(id, seconds)| (ScenarioId::parse(id).unwrap(), past(*seconds)))
            .collect();
        let entries: Vec<&Entry> = set.entries.iter().collect();
        phases(&entries, order, &history)
    }

    /// Checks the phases, written as ids with `!` before a phase of its own kind.
    fn check(ids: &[&str], by: Order, seconds: &[(&str, f64)], expected: &[&str]) {
        let set = set(ids);
        let shown: Vec<String> = order(&set, by, seconds)
            .iter()
            .map(|phase| {
                let ids: Vec<&str> =
                    phase.entries.iter().map(|at| set.entries[*at].id.as_str()).collect();
                let mark = match (phase.alone, phase.is_slow) {
                    (false, false) => "",
                    (true, false) => "alone: ",
                    (false, true) => "slow: ",
                    (true, true) => "slow, alone: ",
                };
                format!("{mark}{}", ids.join(" "))
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn serial_ones_come_after_the_others_and_slow_ones_last() {
        check(
            &["a-slow-serial", "b-slow", "c-serial", "d", "e-slow", "f-invalid-slow"],
            Order::File,
            &[],
            &[
                "d f-invalid-slow",
                "alone: c-serial",
                "slow: b-slow e-slow",
                "slow, alone: a-slow-serial",
            ],
        );
        check(&["b", "a"], Order::File, &[], &["a b"]);
        check(&[], Order::Longest, &[], &[]);
    }

    #[test]
    fn the_longest_is_begun_first_and_an_unknown_one_before_it() {
        let seconds = [("a", 1.0), ("b", 3.0), ("d", 3.0), ("z-slow", 60.0)];
        check(
            &["a", "b", "c", "d", "e", "z-slow"],
            Order::Longest,
            &seconds,
            &["c e b d a", "slow: z-slow"],
        );
    }

    #[test]
    fn a_seed_always_makes_the_same_order() {
        let ids = ["a", "b", "c", "d", "e", "f"];
        check(&ids, Order::Seed(1), &[], &["f a c e b d"]);
        check(&ids, Order::Seed(2), &[], &["b a d c e f"]);
    }

    proptest! {
        #[test]
        fn every_entry_has_one_turn(
            ids in proptest::collection::btree_set("[a-e](-slow|-invalid)?(-serial)?[0-9]{0,2}", 0..20),
            seed in any::<u64>(),
        ) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let set = set(&ids);
            for by in [Order::File, Order::Longest, Order::Seed(seed)] {
                let phases = order(&set, by, &[("a", 1.0), ("b-slow", 2.0)]);
                prop_assert!(phases.iter().all(|phase| !phase.entries.is_empty()));
                let mut turns: Vec<usize> =
                    phases.into_iter().flat_map(|phase| phase.entries).collect();
                turns.sort_unstable();
                prop_assert_eq!(turns, (0..ids.len()).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_new_scenario_does_not_move_the_others(
            ids in proptest::collection::btree_set("[a-z]{1,4}", 2..12),
            seed in any::<u64>(),
        ) {
            let shown = |ids: &[&str]| -> Vec<String> {
                let set = set(ids);
                let phases = order(&set, Order::Seed(seed), &[]);
                let turns = phases.into_iter().flat_map(|phase| phase.entries);
                turns.map(|at| set.entries[at].id.to_string()).collect()
            };
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let (new, old) = ids.split_first().unwrap();
            let after: Vec<String> = shown(&ids).into_iter().filter(|id| id != new).collect();
            prop_assert_eq!(after, shown(old));
        }
    }
}
