//! Masking: keeps the holdout's text out of whatever is told, printed or written.
//!
//! One function for every sink. It recognises text however it was re-quoted, escaped, coloured or
//! re-wrapped on its way back; it does not recognise text that a program encoded, translated or
//! reduced to less than a few characters. What stands in the agent's own tree, and what every
//! program of a language says, is the exam's as little as a spec is: see [`Mask::knowing`].

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::standard;
use super::tree::AgentTree;
use super::view::{BARRIER, MARK, Reading, SEED, Seen, hash, is_word, mix, one_word, view};
use crate::scenario::{Holdout, Scenario, ScenarioSet, Visibility};

/// How many characters of the filtered view make a stretch of an evaluation that is told from
/// chance.
const WINDOW: usize = 12;

/// How many make one of prose, which takes [`PROSE_WORDS`] words too: people say alike what they
/// say in few words.
const PROSE: usize = 24;

/// How many words a stretch of prose touches.
const PROSE_WORDS: usize = 3;

/// The shortest piece that is masked on its own; longer ones than a window's are windows.
const PIECE: usize = 4;

/// The most words of a stretch that standard words make up.
const STANDARD_WORDS: usize = 3;

/// A line of the agent's tree counts as a whole from so many words on, and up to so many characters.
const LINE_WORDS: usize = 3;
const LINE: usize = 400;

/// From so many lines on that differ in one word alone, a tree has a list of guesses: which of them
/// comes back would tell the value.
const GUESSES: usize = 16;

/// What of the holdout is recognised in a text; built once, then used by every sink.
///
/// The default recognises nothing.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// Every window of evaluations and of what is quoted elsewhere.
    code: Windows,
    /// Every window of pass criteria, preconditions and evidence lists.
    prose: Windows,
    /// Hashes of short pieces that tell on their own, for [`PIECE`] to [`WINDOW`] - 1 characters.
    pieces: HashSet<u64>,
    /// Hashes of longer words that an evaluation quotes.
    words: HashSet<u64>,
    /// Pieces by which evaluations only ask for a thing: a key, an attribute.
    names: HashSet<u64>,
    /// Windows that are masked wherever they stand.
    always: HashSet<u64>,
    /// What the agent has in its own tree.
    own: Own,
}

/// Hashes of the windows of one kind of text that no public text has.
#[derive(Debug, Clone, Default)]
struct Windows {
    all: HashSet<u64>,
    /// Those that stand in the agent's tree too.
    own: HashSet<u64>,
}

/// What a mask keeps of the agent's tree: hashes, and of lines only of those that share something
/// with the holdout.
#[derive(Debug, Clone, Default)]
struct Own {
    /// Paths, their parts, and modules that paths make.
    paths: HashSet<u64>,
    /// Those of [`Mask::names`] that stand there.
    names: HashSet<u64>,
    lines: HashSet<u64>,
}

/// A text that was looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// The text with `[masked]` for each run of the holdout's in a line.
    pub text: String,
    /// How many marks that made.
    pub count: usize,
}

impl Mask {
    /// Learns the evaluation, pass criteria, preconditions, evidence list and variables of every
    /// holdout scenario of `set`.
    ///
    /// What the agent may read all the same is never masked: `public` texts (the specs), names,
    /// categories and expectations, public scenarios. An expectation that holds an evaluation word for
    /// word is none of them.
    pub fn new(set: &ScenarioSet, public: &[&str]) -> Self {
        let mut mask = Self::default();
        for scenario in set.entries.iter().filter_map(|entry| entry.scenario.as_ref().ok()) {
            if scenario.front.visibility == Visibility::Holdout {
                mask.learn_scenario(scenario);
            }
        }
        for word in standard::words() {
            mask.pieces.remove(&word);
            mask.words.remove(&word);
        }
        let exam = Holdout::of(set);
        for entry in &set.entries {
            mask.forget(&entry.name);
            mask.forget(&entry.category);
            if let Ok(scenario) = &entry.scenario {
                if exam.find(scenario.expectation.as_bytes()).is_none() {
                    mask.forget(&scenario.expectation);
                }
                if scenario.front.visibility == Visibility::Public {
                    mask.forget(&scenario.script());
                    scenario.holdout_texts().for_each(|text| mask.forget(text));
                }
            }
        }
        public.iter().for_each(|text| mask.forget(text));
        mask
    }

    /// Returns itself with these texts to be masked as well, whoever else may have them.
    #[must_use]
    pub fn and(mut self, texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        for text in texts {
            let text = text.as_ref();
            self.learn_code(text);
            self.always.extend(windows(&view(text, &[], Reading::Escaped)));
        }
        self
    }

    /// Returns itself with leave to tell what the agent has in its own `tree`: paths and modules; a
    /// run of an evaluation that holds none of its values; a run of prose; and a whole line, values
    /// and all, unless the tree has a list of such lines.
    #[must_use]
    pub fn knowing(mut self, tree: &AgentTree) -> Self {
        if self.is_empty() {
            return self;
        }
        let mut suspects = HashMap::new();
        for (path, text) in tree.files() {
            self.know_path(path);
            self.know_text(text, Reading::Escaped, &mut suspects);
            for line in text.lines().filter(|line| line.contains(['\\', '\x1b', '&', '$'])) {
                self.know_text(line, Reading::Plain, &mut suspects);
            }
        }
        if suspects.is_empty() {
            return self;
        }
        let mut met = HashSet::new();
        for (_, text) in tree.files() {
            for line in text.lines() {
                let view = view(line, &[], Reading::Escaped);
                if is_line(&view) && met.insert(hash(&view)) {
                    for hole in holes(&view) {
                        suspects.entry(hole).and_modify(|suspect| suspect.met += 1);
                    }
                }
            }
        }
        for suspect in suspects.values().filter(|suspect| suspect.met >= GUESSES) {
            suspect.lines.iter().for_each(|line| {
                self.own.lines.remove(line);
            });
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.code.all.is_empty() && self.prose.all.is_empty() && self.pieces.is_empty()
    }

    /// Returns `text` with every run of the holdout's replaced by `[masked]`, line by line where it
    /// has several, and how many marks that made. A text that shares nothing with the holdout comes
    /// back as it is; so does one that was masked before.
    pub fn apply(&self, text: &str) -> Masked {
        let mut masked = Masked { text: text.to_owned(), count: 0 };
        loop {
            let found = self.find(&masked.text);
            if found.is_empty() {
                return masked;
            }
            masked.count += found.len();
            masked.text = with_marks(&masked.text, 0..masked.text.len(), &found);
        }
    }

    /// Returns where the holdout's text stands in `text`: ranges of bytes, sorted and apart, none of
    /// which goes over the end of a line.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut hidden: Vec<Range<usize>> = Vec::new();
        if self.is_empty() {
            return hidden;
        }
        loop {
            let mut found = self.find_in(text, &hidden, Reading::Escaped);
            // `\new` may be an escaped line feed before `ew`, or a backslash before `new`: a run must
            // be found in either.
            if found.is_empty() && text.contains(['\\', '\x1b', '&', '$']) {
                found = self.find_in(text, &hidden, Reading::Plain);
            }
            if found.is_empty() {
                return hidden;
            }
            hidden.extend(found);
            hidden.sort_by_key(|range| range.start);
        }
    }

    fn find_in(&self, text: &str, hidden: &[Range<usize>], reading: Reading) -> Vec<Range<usize>> {
        let view = view(text, hidden, reading);
        let hit = self.hits(text, &view);
        let mut found = Vec::new();
        let mut at = 0;
        while at < view.len() {
            if !hit[at] {
                at += 1;
                continue;
            }
            // One for each line of a run, so that what stands around it keeps its place.
            let start = view[at].start;
            loop {
                let end = view[at].end;
                at += 1;
                let goes_on = at < view.len() && hit[at];
                if !goes_on || text[end..view[at].start].contains('\n') {
                    found.push(start..end);
                    break;
                }
            }
        }
        found
    }

    /// Marks the characters to mask.
    fn hits(&self, text: &str, view: &[Seen]) -> Vec<bool> {
        let mut hit = vec![false; view.len()];
        let code = stretches(view, WINDOW, &self.code.all);
        let prose = stretches(view, PROSE, &self.prose.all);
        let values = self.values(view);
        if code.is_empty() && prose.is_empty() && values.is_empty() {
            return hit;
        }
        let lines = self.own_lines(text, view);
        let is_told = |range: &Range<usize>| {
            lines.iter().any(|line| line.start <= range.start && range.end <= line.end)
        };
        for range in code {
            let whole = whole_words(view, range.clone());
            let free = (is_told(&range) && !self.is_kept(&view[range.clone()]))
                || self.is_free(view, &whole, &values)
                || self.is_own_path(&view[whole.clone()])
                || self.is_own_path(&view[without_letters(view, range)]);
            if !free {
                hit[whole].fill(true);
            }
        }
        for range in prose {
            let is_own = || {
                view[range.clone()].windows(PROSE).map(hash).all(|window| {
                    self.prose.own.contains(&window) || !self.prose.all.contains(&window)
                })
            };
            if !is_told(&range) && !is_own() && !is_message(&view[range.clone()]) {
                hit[whole_words(view, range)].fill(true);
            }
        }
        for range in values {
            let whole = whole_words(view, range.clone());
            let is_name = self.own.names.contains(&hash(&view[range.clone()]));
            if !is_told(&range) && !is_name && !self.is_own_path(&view[whole.clone()]) {
                hit[whole].fill(true);
            }
        }
        hit
    }

    /// Returns whether a run that evaluations have, whole words of it, is nobody's or the agent's too:
    /// a few standard words, a standard message, or a run of the agent's tree without a value.
    fn is_free(&self, view: &[Seen], whole: &Range<usize>, values: &[Range<usize>]) -> bool {
        let run = &view[whole.clone()];
        if self.is_kept(run) {
            return false;
        }
        let words: Vec<_> = words(run).collect();
        // With an operator between them they are a piece of somebody's code.
        let is_plain = |seen: &Seen| is_word(seen.c) || ".,:;()/".contains(seen.c);
        let is_standard = words.len() <= STANDARD_WORDS
            && run.iter().all(is_plain)
            && words.iter().all(|word| standard::is_standard(hash(&run[word.clone()])));
        if is_standard || is_message(run) {
            return true;
        }
        let has_value = || {
            let within = |value: &Range<usize>| value.start < whole.end && whole.start < value.end;
            let is_name =
                |value: &Range<usize>| self.own.names.contains(&hash(&view[value.clone()]));
            values.iter().any(|value| within(value) && !is_name(value))
                || words.iter().any(|word| self.words.contains(&hash(&run[word.clone()])))
        };
        let is_own = run
            .windows(WINDOW)
            .map(hash)
            .all(|window| self.code.own.contains(&window) || !self.code.all.contains(&window));
        is_own && !has_value()
    }

    /// Returns whether a run holds what is masked whoever has it.
    fn is_kept(&self, run: &[Seen]) -> bool {
        !self.always.is_empty()
            && run.windows(WINDOW).any(|window| self.always.contains(&hash(window)))
    }

    /// Returns whether a run is a path of the agent's tree, a part of one, or a module.
    fn is_own_path(&self, run: &[Seen]) -> bool {
        let is_edge = |seen: &Seen| !is_word(seen.c);
        let start = run.iter().take_while(|seen| is_edge(seen)).count();
        let end = run.len() - run.iter().rev().take_while(|seen| is_edge(seen)).count();
        start < end && self.own.paths.contains(&hash(&run[start..end]))
    }

    /// Returns where pieces stand that tell on their own.
    fn values(&self, view: &[Seen]) -> Vec<Range<usize>> {
        let mut values = Vec::new();
        if !self.pieces.is_empty() {
            for_each_piece(view, |range, hash| {
                if self.pieces.contains(&hash) {
                    values.push(range);
                }
            });
        }
        values
    }

    /// Returns the lines of `text` that the agent's tree has, as ranges of the view.
    fn own_lines(&self, text: &str, view: &[Seen]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.own.lines.is_empty() {
            return found;
        }
        let (mut at, mut start) = (0, 0);
        for line in text.split_inclusive('\n') {
            let from = at;
            while at < view.len() && view[at].start < start + line.len() {
                at += 1;
            }
            let prefix = start + line.len() - unquoted(line).len();
            let first = from + view[from..at].iter().take_while(|seen| seen.start < prefix).count();
            for head in [from, first] {
                if is_line(&view[head..at]) && self.own.lines.contains(&hash(&view[head..at])) {
                    found.push(head..at);
                    break;
                }
            }
            start += line.len();
        }
        found
    }

    fn learn_scenario(&mut self, scenario: &Scenario) {
        // As one text too: a run may go from one block of the evaluation into the next.
        self.learn_code(&scenario.script());
        for block in &scenario.evaluation {
            self.learn_code(&block.code);
        }
        let code = scenario.evaluation.len();
        for text in scenario.holdout_texts().skip(code) {
            self.learn_prose(text);
        }
        let quoting = scenario.evaluation.iter().map(|block| block.code.as_str());
        let (mut values, mut names) = (Vec::new(), Vec::new());
        for literal in quoting.chain([scenario.pass_criteria.as_str()]).flat_map(quoted) {
            if literal.is_name() { names.push(literal.inner) } else { values.push(literal.inner) }
        }
        for literal in values.into_iter().chain(scenario.front.env.values().map(String::as_str)) {
            self.learn_value(literal);
        }
        for literal in names {
            let hash = hash(&view(literal, &[], Reading::Escaped));
            if !self.pieces.contains(&hash) {
                self.learn_piece(literal);
                self.names.insert(hash);
            }
        }
        scenario.front.env.values().for_each(|value| self.learn_code(value));
    }

    fn learn_code(&mut self, text: &str) {
        self.code.all.extend(windows(&view(text, &[], Reading::Escaped)));
        for word in telling_words(text) {
            self.learn_value(word);
        }
    }

    /// Learns what people wrote; what they quote is as an evaluation's.
    fn learn_prose(&mut self, text: &str) {
        let view = view(text, &[], Reading::Escaped);
        let starts: Vec<usize> =
            (0..view.len()).filter(|at| *at == 0 || view[at - 1].end != view[*at].start).collect();
        for (at, window) in view.windows(PROSE).enumerate() {
            let begun = starts.partition_point(|start| *start <= at);
            let ended = starts.partition_point(|start| *start < at + PROSE);
            if ended - begun + 1 >= PROSE_WORDS && window.iter().all(|seen| seen.c != BARRIER) {
                self.prose.all.insert(hash(window));
            }
        }
        quoted(text).for_each(|literal| self.learn_code(literal.inner));
        telling_words(text).for_each(|word| self.learn_value(word));
    }

    /// Learns what an evaluation compares with; no longer a name then.
    fn learn_value(&mut self, text: &str) {
        let view = view(text, &[], Reading::Escaped);
        self.names.remove(&hash(&view));
        if view.len() >= WINDOW && view.iter().all(|seen| is_word(seen.c)) {
            self.words.insert(hash(&view));
        }
        self.learn_piece(text);
    }

    fn learn_piece(&mut self, text: &str) {
        let view = view(text, &[], Reading::Escaped);
        let letters = view.iter().filter(|seen| seen.c.is_alphanumeric()).count();
        let whole = view.iter().all(|seen| seen.c != BARRIER);
        if (PIECE..WINDOW).contains(&view.len()) && letters >= PIECE - 1 && whole {
            self.pieces.insert(hash(&view));
        }
    }

    fn forget(&mut self, text: &str) {
        let view = view(text, &[], Reading::Escaped);
        for window in view.windows(WINDOW) {
            self.code.all.remove(&hash(window));
        }
        for window in view.windows(PROSE) {
            self.prose.all.remove(&hash(window));
        }
        for_each_piece(&view, |_, hash| {
            self.pieces.remove(&hash);
        });
        for word in words(&view) {
            self.words.remove(&hash(&view[word]));
        }
    }

    /// Knows a path of the agent's tree, its parts, and the modules that they make.
    fn know_path(&mut self, path: &str) {
        let parts: Vec<&str> = path.split('/').collect();
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        let stems: Vec<&str> = stem.split('/').collect();
        for parts in [parts, stems] {
            for from in 0..parts.len() {
                for to in from + 1..=parts.len() {
                    for between in ["/", ".", "::"] {
                        let text = parts[from..to].join(between);
                        self.own.paths.insert(standard::key(&text.as_str()));
                    }
                }
            }
        }
    }

    /// Knows a text of the agent's tree. A line that shares something with the holdout is kept, and
    /// suspected of being one of many guesses by each of its words.
    fn know_text(&mut self, text: &str, reading: Reading, suspects: &mut HashMap<u64, Suspect>) {
        let view = view(text, &[], reading);
        let mut shared = vec![false; view.len()];
        for (at, window) in view.windows(WINDOW).enumerate() {
            let hash = hash(window);
            if self.code.all.contains(&hash) {
                self.code.own.insert(hash);
                shared[at] = true;
                shared[at + WINDOW - 1] = true;
            }
        }
        for (at, window) in view.windows(PROSE).enumerate() {
            let hash = hash(window);
            if self.prose.all.contains(&hash) {
                self.prose.own.insert(hash);
                shared[at] = true;
            }
        }
        for_each_piece(&view, |range, hash| {
            if self.pieces.contains(&hash) {
                shared[range.start] = true;
                if self.names.contains(&hash) {
                    self.own.names.insert(hash);
                }
            }
        });
        let (mut at, mut start) = (0, 0);
        for line in text.split_inclusive('\n') {
            let from = at;
            start += line.len();
            while at < view.len() && view[at].start < start {
                at += 1;
            }
            if shared[from..at].contains(&true) && is_line(&view[from..at]) {
                let line = hash(&view[from..at]);
                self.own.lines.insert(line);
                for hole in holes(&view[from..at]) {
                    suspects.entry(hole).or_default().lines.push(line);
                }
            }
        }
    }
}

/// Lines that are the same but for one word.
#[derive(Debug, Default)]
struct Suspect {
    /// Those that share something with the holdout.
    lines: Vec<u64>,
    /// How many the tree has in all.
    met: usize,
}

/// Returns the part `within` of `text` with a mark for each of the `found` ranges that it touches.
pub(super) fn with_marks(text: &str, within: Range<usize>, found: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(within.len());
    let mut done = within.start;
    for range in found.iter().filter(|one| one.start < within.end && within.start < one.end) {
        out.push_str(&text[done..range.start.max(within.start)]);
        out.push_str(MARK);
        done = range.end.min(within.end);
    }
    out.push_str(&text[done..within.end]);
    out
}

/// Returns the hashes of the windows of an evaluation; none goes over a mark.
fn windows(view: &[Seen]) -> impl Iterator<Item = u64> {
    let is_whole = |window: &&[Seen]| window.iter().all(|seen| seen.c != BARRIER);
    view.windows(WINDOW).filter(is_whole).map(hash)
}

/// Returns the longest ranges of which each window of `size` is one of `windows`.
fn stretches(view: &[Seen], size: usize, windows: &HashSet<u64>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    if windows.is_empty() {
        return found;
    }
    for (at, window) in view.windows(size).enumerate() {
        if windows.contains(&hash(window)) {
            match found.last_mut() {
                Some(last) if last.end == at + size - 1 => last.end += 1,
                _ => found.push(at..at + size),
            }
        }
    }
    found
}

/// Returns a range with the rest of the words at its ends: half a word could be guessed from.
fn whole_words(view: &[Seen], range: Range<usize>) -> Range<usize> {
    let (mut start, mut end) = (range.start, range.end);
    while one_word(view, start) {
        start -= 1;
    }
    while one_word(view, end) {
        end += 1;
    }
    start..end
}

/// Returns a range without the few letters at its ends that belong to words which it holds no more of: of
/// `build` before `web/shop` the `d` that an evaluation's `cd web/shop` has there, too.
fn without_letters(view: &[Seen], range: Range<usize>) -> Range<usize> {
    let begins = |at: &usize| !one_word(view, *at);
    let start = (range.start..range.end.min(range.start + PIECE)).find(begins);
    let end =
        (range.start.max((range.end + 1).saturating_sub(PIECE))..=range.end).rev().find(begins);
    match (start, end) {
        (Some(start), Some(end)) if start < end => start..end,
        _ => range,
    }
}

/// Returns where the words of a run stand in it.
fn words(run: &[Seen]) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..run.len()).filter(|at| is_word(run[*at].c) && !one_word(run, *at));
    starts.map(|start| {
        let end = (start + 1..run.len()).find(|at| !one_word(run, *at)).unwrap_or(run.len());
        start..end
    })
}

fn is_message(run: &[Seen]) -> bool {
    standard::is_message(&run.iter().map(|seen| seen.c).collect::<String>())
}

/// Returns whether a line says enough to be known as a whole.
fn is_line(line: &[Seen]) -> bool {
    (WINDOW..=LINE).contains(&line.len()) && words(line).nth(LINE_WORDS - 1).is_some()
}

/// Returns, for each word of a line, the hash of the line without it.
fn holes(line: &[Seen]) -> Vec<u64> {
    let rest = |hash, part: &[Seen]| part.iter().fold(hash, |hash, seen| mix(hash, seen.c));
    words(line)
        .map(|word| rest(mix(rest(SEED, &line[..word.start]), BARRIER), &line[word.end..]))
        .collect()
}

/// Returns a line without what quotes it: the `>` and `E` of pytest, the `12 |` of compilers, the
/// `12:` of `grep`.
fn unquoted(line: &str) -> &str {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix("> ").or_else(|| line.strip_prefix("E ")) {
        return rest;
    }
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match rest.trim_start().strip_prefix(['|', ':']) {
        Some(after) if rest.len() < line.len() => after,
        _ => line,
    }
}

/// Shows `found` each stretch that begins and ends at a word's boundary and is as long as a piece
/// can be, with its hash.
fn for_each_piece(view: &[Seen], mut found: impl FnMut(Range<usize>, u64)) {
    for start in (0..view.len()).filter(|at| !one_word(view, *at)) {
        let mut hash = SEED;
        for (len, seen) in view[start..].iter().take(WINDOW - 1).enumerate() {
            hash = mix(hash, seen.c);
            let end = start + len + 1;
            if end - start >= PIECE && !one_word(view, end) {
                found(start..end, hash);
            }
        }
    }
}

/// Returns the words of `text` that tell on their own: letters mixed with digits, and numbers.
fn telling_words(text: &str) -> impl Iterator<Item = &str> {
    let whole =
        text.split(|c: char| !(is_word(c) || c == '-')).map(|word| word.trim_matches(['-', '_']));
    let parts = text.split(|c: char| !c.is_alphanumeric());
    whole.chain(parts).filter(|word| {
        let count = word.chars().count();
        let digits = word.chars().filter(char::is_ascii_digit).count();
        if digits == count { digits >= PIECE } else { digits > 0 && count >= 6 }
    })
}

/// What stands between two quotes of a kind on one line.
#[derive(Debug, Clone, Copy)]
struct Literal<'a> {
    inner: &'a str,
    before: &'a str,
    after: &'a str,
}

impl Literal<'_> {
    /// Returns whether it only asks for a thing by its name, and is no value that is expected: a key,
    /// an attribute.
    fn is_name(&self) -> bool {
        let (before, after) = (self.before.trim_end(), self.after.trim_start());
        let is_plain = !self.inner.is_empty()
            && self.inner.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        let is_attribute = before.strip_suffix(',').is_some_and(|before| {
            before.rsplit_once("attr(").is_some_and(|(_, of)| !of.contains([',', ')']))
        });
        let is_key = before.ends_with('[') && after.starts_with(']');
        let is_asked = after.starts_with("in ") || after.starts_with("not in ");
        is_plain && (is_attribute || is_key || is_asked || before.ends_with(".get("))
    }
}

/// Returns what stands between two quotes of a kind on one line, for each kind; quotes within
/// other quotes too.
fn quoted(text: &str) -> impl Iterator<Item = Literal<'_>> {
    text.lines().flat_map(|line| {
        ['\'', '"', '`'].into_iter().flat_map(move |quote| {
            let mut from = 0;
            std::iter::from_fn(move || {
                loop {
                    let open = from + line[from..].find(quote)?;
                    let apostrophe =
                        line[from..open].chars().next_back().is_some_and(char::is_alphanumeric);
                    if apostrophe {
                        from = open + 1;
                        continue;
                    }
                    let close = open + 1 + line[open + 1..].find(quote)?;
                    from = close + 1;
                    return Some(Literal {
                        inner: &line[open + 1..close],
                        before: &line[..open],
                        after: &line[close + 1..],
                    });
                }
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feedback::samples;

    const CODE: &str = "set -e\nout=$(python3 -m taskli list --owner \"zoe quill\")\n\
                        grep -q 'CANARY-7f3a9b' <<<\"$out\"\ntest \"$code\" -eq 4711\n";

    fn mask() -> Mask {
        Mask::new(&samples::set(&[("adds", CODE)]), &["Run `python3 -m taskli list` to list."])
    }

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let masked = mask().apply(output);
        assert_eq!(masked.text, expected);
        assert_eq!(masked.count, expected.matches(MARK).count());
    }

    #[test]
    fn a_run_in_the_middle_of_a_line_is_masked() {
        check(
            "Traceback: argv was list --owner 'zoe quill' (2 words)",
            "Traceback: argv was [masked]' (2 words)",
        );
    }

    #[test]
    fn quoting_escaping_wrapping_and_colour_do_not_hide_a_run() {
        for output in [
            "grep -q CANARY-7f3a9b",
            "grep -q \\\"CANARY-7f3a9b\\\"",
            "grep \n  -q\n 'CANARY-7f3a9b",
            "'grep', '-q', 'CANARY-7f3a9b",
            "\u{1b}[31mgrep\u{1b}[0m -q CANARY\u{1b}[1m-7f3a9b",
            "GREP -Q canary-7F3A9B",
            "$'grep\\n-q' &quot;CANARY-7f3a9b",
        ] {
            let masked = mask().apply(output).text.to_lowercase();
            assert!(!masked.contains("canary"), "{output:?} became {masked:?}");
            assert!(!masked.contains("7f3a9b"), "{output:?} became {masked:?}");
        }
    }

    #[test]
    fn what_looks_like_an_escape_may_be_the_run_itself() {
        for output in ["x\\t=$(python3 - x", "\u{1b}[t=$(python3 - x", "\\\\t=$(python3 - \\n"] {
            let masked = mask().apply(output);
            assert_eq!(masked.count, 1, "{masked:?}");
            assert_eq!(mask().apply(&masked.text).count, 0);
        }
    }

    #[test]
    fn short_pieces_that_tell_are_masked_at_word_boundaries() {
        check("got 7f3a9b here", "got [masked] here");
        check("\\n7f3a9b\\n", "\\n[masked]\\n");
        check("exit 4711.", "exit [masked].");
        check("port 14711, 471", "port 14711, 471");
        check("by \"zoe\n    quill\"!", "by \"[masked]\n    [masked]\"!");
    }

    #[test]
    fn public_text_and_ordinary_words_stay() {
        check("usage: python3 -m taskli list", "usage: python3 -m taskli list");
        check("python3 is not utf-8", "python3 is not utf-8");
    }

    #[test]
    fn a_public_scenario_hides_nothing() {
        let mut set = samples::set(&[("adds", CODE)]);
        set.entries[0].scenario.as_mut().unwrap().front.visibility = Visibility::Public;
        assert_eq!(Mask::new(&set, &[]).apply(CODE), Masked { text: CODE.into(), count: 0 });
    }

    #[test]
    fn criteria_preconditions_evidence_and_variables_are_holdout_too() {
        let mask = Mask::new(&samples::rich_set(), &[]);
        for canary in samples::CANARIES {
            let masked = mask.apply(&format!("x {canary} y"));
            assert_eq!(masked.text, "x [masked] y", "{canary}");
        }
    }

    #[test]
    fn a_whole_evaluation_becomes_marks_and_keeps_its_lines() {
        check(CODE, "[masked]\n[masked]\n[masked]\"\n[masked]\n");
    }

    #[test]
    fn a_scenario_that_speaks_of_masks_does_not_mask_masks() {
        let mask = Mask::new(&samples::set(&[("m", "grep -F '[masked]' feedback.md")]), &[]);
        let once = mask.apply("ran grep -F '[masked]' feedback.md");
        assert_eq!(mask.apply(&once.text).text, once.text);
        assert!(mask.apply("a [masked] b").text.contains("a [masked] b"));
    }

    #[test]
    fn a_megabyte_against_five_hundred_scenarios_is_a_matter_of_moments() {
        let scenarios: Vec<_> = (0..500)
            .map(|n| (format!("s{n}"), CODE.replace("zoe quill", &format!("user {n} of {n}"))))
            .collect();
        let scenarios: Vec<_> =
            scenarios.iter().map(|(name, code)| (name.as_str(), code.as_str())).collect();
        let mask = Mask::new(&samples::set(&scenarios), &[]);
        let output = "an ordinary line of output, number 12\n".repeat(27_000);
        let began = crate::clock::Instant::now();
        assert_eq!(mask.apply(&output).count, 0);
        // Far above what it takes even unoptimised; what is quadratic takes minutes.
        assert!(began.elapsed().as_secs() < 20);
    }

    /// The windows of `text` as the mask compares them; none goes over a mark.
    fn windows_of(text: &str) -> HashSet<u64> {
        windows(&view(text, &[], Reading::Escaped)).collect()
    }

    fn requoted(text: &str, how: usize) -> String {
        match how {
            0 => text.to_owned(),
            1 => format!("{text:?}"),
            2 => text.replace(' ', "\n   "),
            3 => text.replace('\n', "\\n").replace('\'', "\\'"),
            4 => {
                let chars: Vec<_> = text.chars().collect();
                chars
                    .chunks(7)
                    .map(|c| c.iter().collect::<String>())
                    .collect::<Vec<_>>()
                    .join("\n  ")
            }
            _ => text.replace('"', "'").replace(' ', "', '"),
        }
    }

    /// A scenario's evaluation and criteria, and what the agent has in its tree.
    fn knowing(code: &str, criteria: &str, files: &[(&str, &str)]) -> Mask {
        let mut set = samples::set(&[("adds", code)]);
        set.entries[0].scenario.as_mut().unwrap().pass_criteria = criteria.to_owned();
        let mut tree = AgentTree::new(&set);
        files.iter().for_each(|(path, text)| tree.add(path, text.as_bytes()));
        Mask::new(&set, &[]).knowing(&tree)
    }

    #[track_caller]
    fn check_knowing(mask: &Mask, output: &str, expected: &str) {
        assert_eq!(mask.apply(output).text, expected, "{output}");
    }

    #[test]
    fn a_path_of_the_tree_is_told_beside_words_that_share_letters_with_the_exam() {
        let code = "set -e\ncd web/storefront && node check.js --strict\n";
        let mask = knowing(code, "", &[("web/storefront/package.json", "{}")]);
        for output in [
            "web/storefront build$ unbuild\nweb/storefront build: done",
            "- Expected\nweb/storefront test: + Received\nweb/storefront not found",
        ] {
            check_knowing(&mask, output, output);
        }
        check_knowing(&mask, "+ cd web/storefront && node check.js", "+ [masked]");
        check_knowing(&mask, "second web/storefront && node check.js", "[masked]");
        let without = knowing(code, "", &[]);
        check_knowing(&without, "unbuild\nweb/storefront", "[masked]\n[masked]");
    }

    #[test]
    fn single_words_and_short_runs_of_prose_stay_and_longer_ones_do_not() {
        let criteria = "It must not crash with a RuntimeError, or ask for torchx_extensions at all. \
                        `--frobnicate-all` is known, and 4711 tasks are left.";
        let mask = knowing("true\n", criteria, &[]);
        for output in
            ["a RuntimeError, or", "import torchx_extensions", "It must not crash!", "asked for"]
        {
            check_knowing(&mask, output, output);
        }
        check_knowing(&mask, "x must not crash with a RuntimeError y", "x [masked] y");
        check_knowing(&mask, "see --frobnicate-all, 4711", "see [masked], [masked]");
    }

    #[test]
    fn what_languages_call_their_failures_stays() {
        let code = "python3 - <<'END'\ntry:\n    run()\nexcept (ModuleNotFoundError, ValueError):\n    \
                    raise AssertionError('no panic: at the disco')\nEND\ngrep -q 'command not found' log\n\
                    node -e 'throw new ReferenceError(x.UnhandledPromiseRejection)'\n\
                    java -cp . Main | grep java.lang.IllegalArgumentException\n";
        let mask = knowing(code, "", &[]);
        for output in [
            "ModuleNotFoundError: No module named 'taskli'",
            "AssertionError",
            "bash: line 3: taskli: command not found",
            "ReferenceError: y is not defined",
            "[UnhandledPromiseRejection]",
            "Caused by: java.lang.IllegalArgumentException: 3",
        ] {
            check_knowing(&mask, output, output);
        }
        check_knowing(&mask, "E: no panic: at the disco", "E: [masked]");
        check_knowing(&mask, "except (ModuleNotFoundError, ValueError): raise", "[masked]");
    }

    #[test]
    fn what_the_agent_has_in_its_tree_stays() {
        let code =
            "python3 -m taskli.storage add --owner 'zoe quill' && test -e taskli/storage.py\n";
        let files = [
            ("taskli/storage.py", "import json\nparser.add('--owner', help=OWNERS)\n"),
            ("Makefile", "run:\n\tpython3 -m taskli.storage add --owner me\n"),
        ];
        let mask = knowing(code, "", &files);
        for output in [
            "No module named 'taskli.storage'",
            "File \"./taskli/storage.py\", line 3",
            "make: python3 -m taskli.storage add --owner me",
        ] {
            check_knowing(&mask, output, output);
        }
        // More of the exam than the tree has is all the exam's.
        check_knowing(&mask, "+ python3 -m taskli.storage add --owner 'zoe quill'", "+ [masked]'");
        let without = knowing(code, "", &[]);
        check_knowing(&without, "No module named 'taskli.storage'", "No module named '[masked]'");
    }

    #[test]
    fn a_value_stays_hidden_unless_its_whole_line_is_the_agents() {
        let code = "test \"$(taskli count --all)\" = 'answer 4711'\ngrep -q marmalade <(taskli \
                    \"show\" 'marmalade')\n";
        let line = "    raise ValueError(f\"no task 4711, only {n}\")";
        let words = "4711\nanswer 4711\nmarmalade\nx = marmalade\n";
        let mask = knowing(code, "", &[("a.py", &format!("{line}\n")), ("words.txt", words)]);
        check_knowing(&mask, line, line);
        check_knowing(&mask, &format!("12 | {line}"), &format!("12 | {line}"));
        for value in ["4711", "answer 4711", "marmalade"] {
            let told = mask.apply(&format!("got {value} instead")).text;
            assert!(told.starts_with("got ") && told.contains(MARK), "{told}");
            assert!(!told.contains("4711") && !told.contains("marmalade"), "{told}");
        }
    }

    #[test]
    fn a_list_of_guesses_in_the_tree_unmasks_none() {
        let guesses: String =
            (4700..4800).map(|n| format!("AssertionError: expected {n} tasks\n")).collect();
        let code = "test \"$(taskli count)\" = 4711\n";
        let mask = knowing(code, "", &[("guesses.txt", &guesses)]);
        let said = "AssertionError: expected 4711 tasks";
        check_knowing(&mask, said, "AssertionError: expected [masked] tasks");
        let one = "AssertionError: expected 4711 tasks\n";
        check_knowing(&knowing(code, "", &[("a.py", one)]), said, said);
    }

    #[test]
    fn a_key_that_is_asked_for_stays_where_the_tree_has_it_and_a_value_does_not() {
        let code = "python3 -c \"assert d['score'] == 'excellent' and hasattr(m, 'render')\"\n";
        let mask = knowing(code, "", &[("a.py", "score = excellent = render = 1\n")]);
        check_knowing(&mask, "KeyError: 'score'", "KeyError: 'score'");
        check_knowing(&mask, "no attribute 'render'", "no attribute 'render'");
        check_knowing(&mask, "got 'excellent'", "got '[masked]'");
        let mask = knowing(code, "", &[("a.py", "pass\n")]);
        check_knowing(&mask, "KeyError: 'score'", "KeyError: '[masked]'");
    }

    #[test]
    fn a_canary_is_masked_whoever_has_it() {
        let canary = "canary-0123456789abcdef";
        let line = format!("print(\"{canary}\") # and more\n");
        let set = samples::set(&[("adds", CODE)]);
        let mut tree = AgentTree::new(&set);
        tree.add("a.py", line.as_bytes());
        let mask = Mask::new(&set, &[]).and([canary]).knowing(&tree);
        assert_eq!(mask.apply(&line).text, "print(\"[masked]\") # and more\n");
    }

    const TREE: &str = "import taskli\nout = zoe(quill)\npython3 -m taskli list --owner me\n\
                        raise ValueError('4711 is no task of mine')\ngrep -q 'CANARY' log\n";

    fn mask_knowing_tree() -> (Mask, HashSet<u64>) {
        let set = samples::set(&[("adds", CODE)]);
        let mut tree = AgentTree::new(&set);
        tree.add("taskli/list.py", TREE.as_bytes());
        (Mask::new(&set, &[]).knowing(&tree), windows_of(TREE))
    }

    proptest! {
        #[test]
        fn no_window_of_the_holdout_is_left(
            before in ".{0,40}",
            from in 0..CODE.len(),
            len in 0..CODE.len(),
            how in 0..6_usize,
            after in "[ -~\\n\\\\&$'\"\\[]{0,40}",
        ) {
            let cut = &CODE[from..CODE.len().min(from + len)];
            let output = format!("{before}{}{after}{}", requoted(cut, how), requoted(cut, 0));
            let mask = mask();
            let masked = mask.apply(&output);
            let left: Vec<_> =
                windows_of(&masked.text).intersection(&mask.code.all).copied().collect();
            prop_assert!(left.is_empty(), "{:?}", masked.text);
            prop_assert_eq!(mask.apply(&masked.text).text, masked.text);
        }

        #[test]
        fn of_the_holdout_nothing_is_left_but_what_the_tree_has(
            before in "[ -~\\n]{0,20}",
            from in 0..CODE.len(),
            len in 0..CODE.len(),
            how in 0..6_usize,
            line in 0..5_usize,
        ) {
            let cut = &CODE[from..CODE.len().min(from + len)];
            let own = TREE.lines().nth(line).unwrap();
            // A value is a word of its own.
            let output = format!("{before} {}\n{own}\n{cut}", requoted(cut, how));
            let (mask, tree) = mask_knowing_tree();
            let masked = mask.apply(&output);
            let left: Vec<_> = windows_of(&masked.text)
                .intersection(&mask.code.all)
                .filter(|window| !tree.contains(window))
                .copied()
                .collect();
            prop_assert!(left.is_empty(), "{:?}", masked.text);
            prop_assert!(!masked.text.to_lowercase().contains("7f3a9b"), "{:?}", masked.text);
            prop_assert_eq!(mask.apply(&masked.text).text, masked.text);
        }

        #[test]
        fn lines_of_the_tree_are_told(
            lines in prop::collection::vec(0..5_usize, 0..8),
            between in "[A-ZÄ;]{1,9}",
        ) {
            let all: Vec<_> = TREE.lines().collect();
            let output: String = lines
                .iter()
                .map(|line| format!("    {}\n{between}\n", all[*line]))
                .collect();
            let (mask, _) = mask_knowing_tree();
            prop_assert_eq!(mask.apply(&output), Masked { text: output, count: 0 });
        }

        #[test]
        fn text_that_shares_nothing_is_unchanged(output in "[A-Zäöü ,.:;\\n]{0,200}") {
            let masked = mask().apply(&output);
            prop_assert_eq!(masked, Masked { text: output, count: 0 });
        }
    }
}
