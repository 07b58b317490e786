//! Finds the exam where it should not be: evaluations of holdout scenarios, word for word.
//!
//! The search is over bytes and knows no files. White space does not count, so that a copy that
//! was indented, or whose lines end differently, is found too. A paraphrase is not.

use std::collections::{BTreeMap, HashMap};

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::{ScenarioSet, Visibility};
use crate::id::{Digest, ScenarioId};

/// What a set of scenarios keeps from the agent, made ready to be searched for in many files.
#[derive(Debug)]
pub struct Holdout {
    needles: Vec<Needle>,
    /// Which needles have these bytes as their mark.
    marks: HashMap<Vec<u8>, Vec<usize>>,
    /// Finds any mark; none where there are none.
    any: Option<Regex>,
}

/// One evaluation, or one block of it.
#[derive(Debug)]
struct Needle {
    id: ScenarioId,
    /// Its bytes without white space.
    bytes: Vec<u8>,
    /// Where its mark stands in them.
    mark: usize,
}

/// How many bytes of each needle are looked for first. All marks are of one length, so that no
/// two can stand at the same place.
const MARK: usize = 24;

impl Holdout {
    /// The fewest characters, white space aside, that a text must have to be searched for: a
    /// shorter command may stand in a README by itself.
    pub const SHORTEST: usize = 40;

    /// Takes what is to be searched for from `set`: each block of the evaluation of a holdout
    /// scenario; the whole evaluation where every block is shorter than [`Holdout::SHORTEST`]. A
    /// scenario whose whole evaluation is shorter is not searched for.
    pub fn of(set: &ScenarioSet) -> Self {
        let mut needles = Vec::new();
        for entry in &set.entries {
            let Ok(scenario) = &entry.scenario else { continue };
            if entry.visibility() == Visibility::Public {
                continue;
            }
            let mut texts: Vec<Vec<u8>> = scenario
                .evaluation
                .iter()
                .map(|block| squeezed(block.code.as_bytes()))
                .filter(|text| is_long(text))
                .collect();
            if texts.is_empty() {
                texts.extend(Some(squeezed(scenario.script().as_bytes())).filter(|t| is_long(t)));
            }
            needles.extend(texts.into_iter().map(|bytes| Needle {
                id: entry.id.clone(),
                // From the middle on: scripts begin alike.
                mark: (bytes.len() / 2).min(bytes.len() - MARK),
                bytes,
            }));
        }
        Self::of_needles(needles)
    }

    /// Returns itself with the canary of each holdout scenario of `set`, see [`canary`]: a short
    /// evaluation has one too. `seed` is the run's; nothing is added where that is empty.
    #[must_use]
    pub fn with_canaries(self, set: &ScenarioSet, seed: &str) -> Self {
        let mut needles = self.needles;
        let kept = set.entries.iter().filter(|entry| entry.visibility() == Visibility::Holdout);
        needles.extend(kept.filter(|_| !seed.is_empty()).map(|entry| Needle {
            id: entry.id.clone(),
            bytes: canary(seed, &entry.id).into_bytes(),
            mark: 0,
        }));
        Self::of_needles(needles)
    }

    fn of_needles(needles: Vec<Needle>) -> Self {
        let mut marks: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (at, needle) in needles.iter().enumerate() {
            let mark = needle.bytes[needle.mark..needle.mark + MARK].to_vec();
            marks.entry(mark).or_default().push(at);
        }
        let any = matcher(&marks);
        Self { needles, marks, any }
    }

    /// Returns whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Returns the scenario whose evaluation stands in `bytes`, the first in the set's order if
    /// there are several.
    pub fn find(&self, bytes: &[u8]) -> Option<&ScenarioId> {
        self.find_squeezed(&squeezed(bytes))
    }

    /// Does what [`Holdout::find`] does, in bytes that [`squeezed`] has returned.
    pub fn find_squeezed(&self, bytes: &[u8]) -> Option<&ScenarioId> {
        let any = self.any.as_ref()?;
        let mut first: Option<usize> = None;
        let mut from = 0;
        while let Some(found) = any.find_at(bytes, from) {
            for at in self.marks.get(found.as_bytes()).into_iter().flatten() {
                let needle = &self.needles[*at];
                let stands = found
                    .start()
                    .checked_sub(needle.mark)
                    .is_some_and(|start| bytes[start..].starts_with(&needle.bytes));
                if stands && first.is_none_or(|first| *at < first) {
                    first = Some(*at);
                }
            }
            // Marks may overlap.
            from = found.start() + 1;
        }
        first.map(|at| &self.needles[at].id)
    }

    /// Returns the scenario whose evaluation stands in what a program wrote: as it is, or in the
    /// texts of lines of JSON. Texts of one name are taken together, since agents tell in pieces.
    pub fn find_in_stream(&self, stream: &[u8]) -> Option<&ScenarioId> {
        if self.is_empty() {
            return None;
        }
        self.find(stream).or_else(|| {
            let mut told = BTreeMap::new();
            for line in stream.split(|byte| *byte == b'\n') {
                if let Ok(value) = serde_json::from_slice(line) {
                    collect("", value, &mut told);
                }
            }
            told.values().find_map(|text| self.find_squeezed(text))
        })
    }

    /// Returns how many squeezed bytes the longest text has; 0 where there is none. Pieces of a
    /// file that are searched one by one must overlap by that much.
    pub fn longest(&self) -> usize {
        self.needles.iter().map(|needle| needle.bytes.len()).max().unwrap_or(0)
    }
}

/// Returns the word that stands behind the evaluation of a scenario in one run and nowhere else: who has
/// it has seen that evaluation at work. Of the run's `seed` it tells nothing.
pub fn canary(seed: &str, id: &ScenarioId) -> String {
    let digest = Digest::of(format!("{seed}\0{}", id.as_str()).as_bytes());
    format!("canary-{}", &digest.as_str()[..40])
}

/// Returns the scenario whose evaluation stands in `bytes`; see [`Holdout`], which is faster where
/// there is more than one text to search.
pub fn find_holdout(set: &ScenarioSet, bytes: &[u8]) -> Option<ScenarioId> {
    Holdout::of(set).find(bytes).cloned()
}

/// Adds the texts in a value, squeezed, to what was told under their names.
fn collect(name: &str, value: Value, told: &mut BTreeMap<String, Vec<u8>>) {
    match value {
        Value::String(text) => {
            let so_far = match told.get_mut(name) {
                Some(so_far) => so_far,
                None => told.entry(name.to_owned()).or_default(),
            };
            so_far.extend(squeezed(text.as_bytes()));
        }
        Value::Array(values) => values.into_iter().for_each(|value| collect(name, value, told)),
        Value::Object(fields) => {
            fields.into_iter().for_each(|(name, value)| collect(&name, value, told));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns `bytes` without white space.
pub fn squeezed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect()
}

fn is_long(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).chars().count() >= Holdout::SHORTEST
}

fn matcher(marks: &HashMap<Vec<u8>, Vec<usize>>) -> Option<Regex> {
    use std::fmt::Write as _;
    let mut sorted: Vec<&Vec<u8>> = marks.keys().collect();
    sorted.sort();
    let mut pattern = String::new();
    for mark in sorted {
        if !pattern.is_empty() {
            pattern.push('|');
        }
        for byte in mark {
            let _ = write!(pattern, "\\x{byte:02x}");
        }
    }
    if pattern.is_empty() {
        return None;
    }
    // Bytes in hexadecimal always parse, and the size is not bounded by us but by the scenarios.
    RegexBuilder::new(&pattern).unicode(false).size_limit(usize::MAX).build().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::{CodeBlock, Entry, FrontMatter, Scenario};

    const LONG: &str =
        "set -e\nout=$(python3 -m tally add 2 40)\n[ \"$out\" = \"42 and nothing else\" ]\n";

    fn entry(name: &str, visibility: Visibility, blocks: &[&str]) -> Entry {
        Entry {
            id: ScenarioId::for_file(name),
            name: name.to_owned(),
            file: name.to_owned(),
            category: String::new(),
            scenario: Ok(Box::new(Scenario {
                preconditions: Vec::new(),
                expectation: String::new(),
                evaluation: blocks
                    .iter()
                    .map(|code| CodeBlock { code: (*code).to_owned(), line: 1 })
                    .collect(),
                pass_criteria: String::new(),
                criteria: Vec::new(),
                evidence: Vec::new(),
                front: FrontMatter { visibility, ..FrontMatter::default() },
            })),
        }
    }

    fn set(entries: Vec<Entry>) -> ScenarioSet {
        ScenarioSet { entries, diagnostics: Vec::new() }
    }

    fn check(blocks: &[&str], text: &str, found: bool) {
        let set = set(vec![entry("exam", Visibility::Holdout, blocks)]);
        let id = find_holdout(&set, text.as_bytes());
        assert_eq!(id.is_some(), found, "{blocks:?} in {text:?}");
    }

    #[test]
    fn an_evaluation_is_found_in_a_copy_of_the_scenario() {
        check(&[LONG], &format!("# Scenario\n\n```bash\n{LONG}```\n"), true);
    }

    #[test]
    fn an_indented_copy_with_other_line_ends_is_found() {
        check(&[LONG], &LONG.replace('\n', "\r\n    "), true);
    }

    #[test]
    fn one_block_of_several_is_found() {
        check(&["true", LONG], &format!("see {LONG}"), true);
    }

    #[test]
    fn short_blocks_are_found_together_and_not_alone() {
        let (one, two) = ("python3 -m tally add 2 40", "python3 -m tally list | grep -q 42");
        check(&[one, two], &format!("{one}\n{two}"), true);
        check(&[one, two], one, false);
        check(&["make test"], "make test", false);
    }

    #[test]
    fn another_text_is_not_found() {
        check(&[LONG], &LONG.replace("42", "43"), false);
        check(&[LONG], &LONG[1..], false);
        check(&[], "", false);
    }

    #[test]
    fn an_evaluation_is_found_in_a_stream_of_json_in_pieces_too() {
        let holdout = Holdout::of(&set(vec![entry("exam", Visibility::Holdout, &[LONG])]));
        let found = |stream: &str| holdout.find_in_stream(stream.as_bytes()).is_some();
        let line = |text: &str| serde_json::json!({"type": "item", "text": [text]}).to_string();
        assert!(found(&format!("no JSON\n{}\n", line(LONG))));
        let (head, tail) = LONG.split_at(LONG.len() / 2);
        assert!(found(&format!("{}\n{{\"done\":1}}\n{}", line(head), line(tail))));
        assert!(!found(&format!("{}\n{}", line(tail), line(head))));
        assert!(!found("") && !found("{\"text\":"));
    }

    #[test]
    fn a_public_scenario_may_stand_anywhere() {
        let set = set(vec![entry("open", Visibility::Public, &[LONG])]);
        assert_eq!(find_holdout(&set, LONG.as_bytes()), None);
        assert!(Holdout::of(&set).is_empty());
    }

    #[test]
    fn scenarios_that_end_alike_are_told_apart() {
        let other = LONG.replacen("set -e", "set -u", 1);
        let set = set(vec![
            entry("one", Visibility::Holdout, &[LONG]),
            entry("two", Visibility::Holdout, &[&other]),
        ]);
        assert_eq!(find_holdout(&set, other.as_bytes()).unwrap().as_str(), "two");
        let both = format!("{other}{LONG}");
        assert_eq!(find_holdout(&set, both.as_bytes()).unwrap().as_str(), "one");
    }

    #[test]
    fn many_scenarios_make_a_search_all_the_same() {
        let entries = (0..2_000)
            .map(|n| {
                let code =
                    format!("test \"$(run-the-product --number {n})\" = 'answer number {n}'");
                entry(&format!("s{n}"), Visibility::Holdout, &[&code])
            })
            .collect();
        let set = set(entries);
        let text = "test \"$(run-the-product --number 1999)\" = 'answer number 1999'";
        assert_eq!(find_holdout(&set, text.as_bytes()).unwrap().as_str(), "s1999");
    }

    proptest! {
        #[test]
        fn whatever_stands_around_it_an_evaluation_is_found(
            before in prop::collection::vec(any::<u8>(), 0..60),
            code in "[ab ]{60,90}",
            after in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let set = set(vec![entry("exam", Visibility::Holdout, &[&code])]);
            let text = [before.as_slice(), code.as_bytes(), after.as_slice()].concat();
            let long = squeezed(code.as_bytes()).len() >= Holdout::SHORTEST;
            prop_assert_eq!(find_holdout(&set, &text).is_some(), long);
        }
    }

    #[test]
    fn a_canary_is_found_of_an_evaluation_that_is_too_short_to_be() {
        let set = set(vec![
            entry("exam", Visibility::Holdout, &["true"]),
            entry("shown", Visibility::Public, &["true"]),
        ]);
        let found = |seed: &str, id: &str| {
            let text = format!("saw # {} there", canary("seed", &ScenarioId::for_file(id)));
            let holdout = Holdout::of(&set).with_canaries(&set, seed);
            holdout.find(text.as_bytes()).map(|id| id.as_str().to_owned())
        };
        assert_eq!(
            found("seed", &set.entries[0].file).as_deref(),
            Some(set.entries[0].id.as_str())
        );
        assert_eq!(found("seed", &set.entries[1].file), None);
        assert_eq!(found("other", &set.entries[0].file), None);
        assert_eq!(found("", &set.entries[0].file), None);
    }
}
