//! Masking: keeps the holdout's text out of whatever is told, printed or written.
//!
//! One function for every sink. It recognises text however it was re-quoted, escaped, coloured or
//! re-wrapped on its way back; it does not recognise text that a program encoded, translated or
//! reduced to less than a few characters.

use std::collections::HashSet;

use crate::scenario::{Holdout, Scenario, ScenarioSet, Visibility};

/// What stands where text was masked.
const MARK: &str = "[masked]";

/// How many characters of the filtered view make a stretch that is told from chance.
const WINDOW: usize = 12;

/// The shortest piece that is masked on its own; longer ones than a window's are windows.
const PIECE: usize = 4;

/// Stands for a mark in the filtered view: in no window, part of no word.
const BARRIER: char = '\0';

/// Pieces that say nothing of a scenario, as the filtered view has them.
const ORDINARY: &[&str] = &[
    "--force",
    "--help",
    "--json",
    "--quiet",
    "--verbose",
    "--version",
    "-euo",
    "/dev/null",
    "/tmp/",
    "0.0.0.0",
    "0644",
    "0755",
    "1000",
    "1024",
    "127.0.0.1",
    "8000",
    "8080",
    "__init__",
    "__main__",
    "args",
    "base64",
    "bash",
    "c.utf-8",
    "echo",
    "error",
    "exit",
    "false",
    "float32",
    "float64",
    "grep",
    "home",
    "http",
    "http://",
    "https",
    "https://",
    "int32_t",
    "int64_t",
    "iso-8859-1",
    "iso8601",
    "json",
    "latin1",
    "latin-1",
    "localhost",
    "main",
    "make",
    "name",
    "none",
    "null",
    "path",
    "python",
    "python3",
    "pythonpath",
    "sha-256",
    "sha256",
    "sha256sum",
    "sha512",
    "sha512sum",
    "stderr",
    "stdin",
    "stdout",
    "test",
    "text",
    "true",
    "tmpdir",
    "uint32_t",
    "uint64_t",
    "usage",
    "utf-8",
    "utf-16",
    "utf16",
    "utf8",
    "value",
    "x86_64",
    "yaml",
];

/// What of the holdout is recognised in a text; built once, then used by every sink.
///
/// The default recognises nothing.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// Hashes of every window of the holdout that no public text has.
    windows: HashSet<u64>,
    /// Hashes of short pieces that tell on their own, for [`PIECE`] to [`WINDOW`] - 1 characters.
    pieces: HashSet<u64>,
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
        for word in ORDINARY {
            mask.pieces.remove(&hash(&view(word, Reading::Escaped)));
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

    /// Returns `text` with every run of the holdout's replaced by `[masked]`, line by line where it
    /// has several, and how many marks that made. A text that shares nothing with the holdout comes
    /// back as it is; so does one that was masked before.
    pub fn apply(&self, text: &str) -> Masked {
        if self.windows.is_empty() && self.pieces.is_empty() {
            return Masked { text: text.to_owned(), count: 0 };
        }
        let mut masked = self.apply_to(text, Reading::Escaped);
        // `\new` may be an escaped line feed before `ew`, or a backslash before `new`: a run must
        // be found in either.
        while masked.text.contains(['\\', '\x1b', '&', '$']) {
            let plain = self.apply_to(&masked.text, Reading::Plain);
            if plain.count == 0 {
                break;
            }
            let again = self.apply_to(&plain.text, Reading::Escaped);
            masked = Masked { text: again.text, count: masked.count + plain.count + again.count };
        }
        masked
    }

    fn apply_to(&self, text: &str, reading: Reading) -> Masked {
        let view = view(text, reading);
        let hit = self.hits(&view);
        let mut masked = Masked { text: String::with_capacity(text.len()), count: 0 };
        let (mut at, mut done) = (0, 0);
        while at < view.len() {
            if !hit[at] {
                at += 1;
                continue;
            }
            masked.text.push_str(&text[done..view[at].start]);
            masked.text.push_str(MARK);
            masked.count += 1;
            // A mark for each line of a run, so that what stands around it keeps its place.
            loop {
                done = view[at].end;
                at += 1;
                let goes_on = at < view.len() && hit[at];
                if !goes_on || text[done..view[at].start].contains('\n') {
                    break;
                }
            }
        }
        masked.text.push_str(&text[done..]);
        masked
    }

    /// Marks the characters to mask.
    fn hits(&self, view: &[Seen]) -> Vec<bool> {
        let mut hit = vec![false; view.len()];
        let mut covered = 0;
        for (at, window) in view.windows(WINDOW).enumerate() {
            if self.windows.contains(&hash(window)) {
                hit[covered.max(at)..at + WINDOW].fill(true);
                covered = at + WINDOW;
            }
        }
        for_each_piece(view, |range, hash| {
            if self.pieces.contains(&hash) {
                hit[range].fill(true);
            }
        });
        // Half a word left over could be guessed from.
        for at in 1..view.len() {
            hit[at] |= hit[at - 1] && one_word(view, at);
        }
        for at in (1..view.len()).rev() {
            hit[at - 1] |= hit[at] && one_word(view, at);
        }
        hit
    }

    /// Returns itself with these texts to be masked as well, whoever else may have them.
    #[must_use]
    pub fn and(mut self, texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        texts.into_iter().for_each(|text| self.learn(text.as_ref()));
        self
    }

    fn learn_scenario(&mut self, scenario: &Scenario) {
        // As one text too: a run may go from one block of the evaluation into the next.
        self.learn(&scenario.script());
        scenario.holdout_texts().for_each(|text| self.learn(text));
        for text in scenario
            .evaluation
            .iter()
            .map(|block| block.code.as_str())
            .chain([scenario.pass_criteria.as_str()])
        {
            quoted(text).for_each(|literal| self.learn_piece(literal));
        }
        for value in scenario.front.env.values() {
            self.learn(value);
            self.learn_piece(value);
        }
    }

    fn learn(&mut self, text: &str) {
        for window in view(text, Reading::Escaped).windows(WINDOW) {
            if window.iter().all(|seen| seen.c != BARRIER) {
                self.windows.insert(hash(window));
            }
        }
        for word in telling_words(text) {
            self.learn_piece(word);
        }
    }

    fn learn_piece(&mut self, text: &str) {
        let view = view(text, Reading::Escaped);
        let letters = view.iter().filter(|seen| seen.c.is_alphanumeric()).count();
        let whole = view.iter().all(|seen| seen.c != BARRIER);
        if (PIECE..WINDOW).contains(&view.len()) && letters >= PIECE - 1 && whole {
            self.pieces.insert(hash(&view));
        }
    }

    fn forget(&mut self, text: &str) {
        let view = view(text, Reading::Escaped);
        for window in view.windows(WINDOW) {
            self.windows.remove(&hash(window));
        }
        for_each_piece(&view, |_, hash| {
            self.pieces.remove(&hash);
        });
    }
}

/// One character of the filtered view, with the bytes of the text that it stands for.
#[derive(Debug, Clone, Copy)]
struct Seen {
    c: char,
    start: usize,
    end: usize,
}

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Escapes, entities and colours stand for what they mean.
    Escaped,
    /// They are characters like others.
    Plain,
}

/// Returns the characters of `text` that quoting, escaping, colouring and wrapping leave alone, in
/// lower case.
fn view(text: &str, reading: Reading) -> Vec<Seen> {
    let mut view = Vec::with_capacity(text.len());
    let mut start = 0;
    while let Some((c, len)) = next(&text[start..], reading) {
        let end = start + len;
        if let Some(c) = c {
            view.push(Seen { c: c.to_ascii_lowercase(), start, end });
        }
        start = end;
    }
    view
}

/// Returns what the head of `rest` comes to in the filtered view, and how many bytes it takes;
/// none at the end.
fn next(rest: &str, reading: Reading) -> Option<(Option<char>, usize)> {
    let c = rest.chars().next()?;
    Some(match c {
        '[' if rest.starts_with(MARK) => (Some(BARRIER), MARK.len()),
        _ if reading == Reading::Plain => (Some(c).filter(|c| is_kept(*c)), c.len_utf8()),
        '\x1b' => (None, colour(rest)),
        '\\' => escape(rest),
        '&' => entity(rest).unwrap_or((Some(c), 1)),
        '$' if rest[1..].starts_with(['\'', '"']) => (None, 1),
        _ => (Some(c).filter(|c| is_kept(*c)), c.len_utf8()),
    })
}

fn is_kept(c: char) -> bool {
    !(c.is_whitespace()
        || c.is_control()
        || matches!(c, '\'' | '"' | '`' | '\\' | '‘' | '’' | '“' | '”' | '«' | '»')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'))
}

/// Returns the length of the terminal's escape sequence that `rest` begins with.
fn colour(rest: &str) -> usize {
    let Some(sequence) = rest.strip_prefix("\x1b[") else { return 1 };
    let parameters = sequence.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b';')).count();
    match sequence.as_bytes().get(parameters) {
        // What follows may be a mark.
        Some(b'@'..=b'Z' | b'\\'..=b'~') if parameters < 16 => 2 + parameters + 1,
        _ => 2,
    }
}

/// Reads a run of backslashes: with the letter of an escaped white space it is dropped, as the
/// escape of a character it is that character.
fn escape(rest: &str) -> (Option<char>, usize) {
    let run = rest.bytes().take_while(|b| *b == b'\\').count();
    let after = &rest[run..];
    if after.starts_with(['n', 'r', 't']) {
        return (None, run + 1);
    }
    if let Some(digits) = after.strip_prefix('u').and_then(|hex| hex.get(..4))
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && let Some(c) = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)
    {
        return (Some(c).filter(|c| is_kept(*c)), run + 5);
    }
    (None, run)
}

/// Reads a character of HTML or XML.
fn entity(rest: &str) -> Option<(Option<char>, usize)> {
    const ENTITIES: [(&str, Option<char>); 8] = [
        ("&amp;", Some('&')),
        ("&lt;", Some('<')),
        ("&gt;", Some('>')),
        ("&quot;", None),
        ("&apos;", None),
        ("&#39;", None),
        ("&#x27;", None),
        ("&#34;", None),
    ];
    ENTITIES.iter().find(|(name, _)| rest.starts_with(name)).map(|(name, c)| (*c, name.len()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether the characters before and at `at` are parts of one word.
fn one_word(view: &[Seen], at: usize) -> bool {
    match (at.checked_sub(1).and_then(|before| view.get(before)), view.get(at)) {
        (Some(a), Some(b)) => is_word(a.c) && is_word(b.c) && a.end == b.start,
        _ => false,
    }
}

/// Shows `found` each stretch that begins and ends at a word's boundary and is as long as a piece
/// can be, with its hash.
fn for_each_piece(view: &[Seen], mut found: impl FnMut(std::ops::Range<usize>, u64)) {
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

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(hash: u64, c: char) -> u64 {
    (hash ^ u64::from(c)).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
}

fn hash(view: &[Seen]) -> u64 {
    view.iter().fold(SEED, |hash, seen| mix(hash, seen.c))
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

/// Returns what stands between two quotes of a kind on one line, for each kind; quotes within
/// other quotes too.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        ['\'', '"', '`'].into_iter().flat_map(move |quote| {
            let mut rest = line;
            std::iter::from_fn(move || {
                loop {
                    let open = rest.find(quote)?;
                    let apostrophe =
                        rest[..open].chars().next_back().is_some_and(char::is_alphanumeric);
                    let inner = &rest[open + 1..];
                    if apostrophe {
                        rest = inner;
                        continue;
                    }
                    let close = inner.find(quote)?;
                    rest = &inner[close + 1..];
                    return Some(&inner[..close]);
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
    fn windows(text: &str) -> HashSet<u64> {
        view(text, Reading::Escaped)
            .windows(WINDOW)
            .filter(|window| window.iter().all(|seen| seen.c != BARRIER))
            .map(hash)
            .collect()
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
                windows(&masked.text).intersection(&mask.windows).copied().collect();
            prop_assert!(left.is_empty(), "{:?}", masked.text);
            prop_assert_eq!(mask.apply(&masked.text).text, masked.text);
        }

        #[test]
        fn text_that_shares_nothing_is_unchanged(output in "[A-Zäöü ,.:;\\n]{0,200}") {
            let masked = mask().apply(&output);
            prop_assert_eq!(masked, Masked { text: output, count: 0 });
        }
    }
}
