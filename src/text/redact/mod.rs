//! Takes secrets out of text before it is written or told.
//!
//! A value is found as it is written and as programs write it on: percent-encoded, with the escapes of
//! JSON, a shell or HTML, in base64 at each alignment, as hexadecimal digits, and a value of several lines
//! line by line. What a secret is, is for others to say.

mod spelling;

use std::sync::Arc;

use super::base64;
use spelling::{At, NodeId, Spellings, Unit};

/// What stands where a secret without a name stood.
const UNNAMED: &str = "[redacted]";

/// Shorter values are no secrets, and would take ordinary words out of the text.
pub const SHORTEST_SECRET: usize = 8;
/// How many of its characters tell of a secret that was cut.
const TELLING_PART: usize = 6;
/// How many ways to go on are looked through for equal ones.
const FEW: usize = 16;

/// The values that may not be written anywhere.
#[derive(Clone, Default)]
pub struct Redaction {
    /// What stands in a value's place, and the value; those with a name first.
    secrets: Vec<(String, String)>,
    /// None where there is nothing to find.
    finder: Option<Arc<Finder>>,
}

impl PartialEq for Redaction {
    fn eq(&self, other: &Self) -> bool {
        self.secrets == other.secrets
    }
}

impl Eq for Redaction {}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redaction({} values)", self.secrets.len())
    }
}

/// Where a text was cut off, so that a part of a secret may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Its beginning is missing.
    pub start: bool,
    /// Its end is missing.
    pub end: bool,
}

impl Redaction {
    /// Returns what keeps nothing out.
    pub const fn none() -> Self {
        Self { secrets: Vec::new(), finder: None }
    }

    /// Takes the values to keep out, `[redacted]` in their place; those shorter than 8 bytes are passed over.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        Self::default().and(values.into_iter().map(|value| (UNNAMED.to_owned(), value)))
    }

    /// Takes the values of variables, `[NAME]` in their place; likewise.
    pub fn of_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let placed = variables.into_iter().map(|(name, value)| (format!("[{name}]"), value));
        Self::default().and(placed)
    }

    /// Keeps out these values too.
    pub fn learn(&mut self, more: impl IntoIterator<Item = String>) {
        let more = more.into_iter().map(|value| (UNNAMED.to_owned(), value));
        *self = std::mem::take(self).and(more);
    }

    /// Returns what keeps out the values of both.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        self.and(other.secrets.iter().cloned())
    }

    /// Returns what stands in each value's place, and the value, for another process of the factory.
    pub fn secrets(&self) -> &[(String, String)] {
        &self.secrets
    }

    /// Returns what [`Redaction::secrets`] was of.
    pub fn of_secrets(secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::default().and(secrets)
    }

    fn and(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        let known = self.secrets.len();
        for (place, value) in more {
            let value = value.trim();
            if value.len() >= SHORTEST_SECRET {
                self.secrets.push((place, value.to_owned()));
            }
        }
        if self.secrets.len() == known {
            return self;
        }
        // A name says more than none.
        self.secrets.sort_by_key(|(place, value)| (place == UNNAMED, value.clone(), place.clone()));
        let mut seen = std::collections::BTreeSet::new();
        self.secrets.retain(|(_, value)| seen.insert(value.clone()));
        // What stands in a placeholder would be replaced in it, again and again.
        let places: Vec<String> = self.secrets.iter().map(|(place, _)| place.clone()).collect();
        self.secrets.retain(|(_, value)| !places.iter().any(|place| place.contains(value)));
        self.finder = (!self.secrets.is_empty()).then(|| Arc::new(Finder::of(&self.secrets)));
        self
    }

    /// Returns `bytes` with every value replaced; the same bytes where none is in.
    pub fn apply(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.apply_cut(bytes, Cut::default())
    }

    /// Returns `bytes` likewise, and without the part of a value that a cut has left.
    pub fn apply_cut(&self, bytes: Vec<u8>, cut: Cut) -> Vec<u8> {
        let Some(finder) = &self.finder else { return bytes };
        let mut out = None;
        let from = finder.replace(&bytes, cut, true, &mut out);
        debug_assert_eq!(from, bytes.len(), "all of a whole text is looked through");
        out.unwrap_or(bytes)
    }

    /// Returns a text with every value replaced.
    pub fn apply_to(&self, text: &str) -> String {
        if self.finder.is_none() {
            return text.to_owned();
        }
        String::from_utf8_lossy(&self.apply(text.as_bytes().to_vec())).into_owned()
    }

    /// Returns whether there is nothing to keep out.
    pub fn is_empty(&self) -> bool {
        self.finder.is_none()
    }

    /// Begins to look through a stream that comes in chunks.
    pub fn stream(&self) -> RedactedStream {
        RedactedStream { redaction: self.clone(), held: Vec::new() }
    }
}

/// Replaces secrets in the bytes that are pushed through it, over the boundaries of chunks.
#[derive(Debug)]
pub struct RedactedStream {
    redaction: Redaction,
    /// The end of what was pushed, which may be the beginning of a secret.
    held: Vec<u8>,
}

impl RedactedStream {
    /// From now on keeps out these values too.
    pub fn learn(&mut self, more: impl IntoIterator<Item = String>) {
        self.redaction.learn(more);
    }

    /// Takes `bytes` and returns what may be written by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.look(bytes, false)
    }

    /// Returns what was still held.
    pub fn finish(&mut self) -> Vec<u8> {
        self.look(&[], true)
    }

    fn look(&mut self, bytes: &[u8], is_over: bool) -> Vec<u8> {
        let Some(finder) = &self.redaction.finder else {
            // What is held was held for a value that was known.
            let mut out = std::mem::take(&mut self.held);
            out.extend_from_slice(bytes);
            return out;
        };
        self.held.extend_from_slice(bytes);
        let mut out = None;
        let done = finder.replace(&self.held, Cut::default(), is_over, &mut out);
        let rest = self.held.split_off(done);
        let before = std::mem::replace(&mut self.held, rest);
        out.unwrap_or(before)
    }
}

/// Finds values in all their spellings.
#[derive(Debug, Default)]
struct Finder {
    spellings: Spellings,
    patterns: Vec<Pattern>,
    /// What stands in their places.
    places: Vec<String>,
    /// By its first byte, the patterns that may begin so.
    by_first: Vec<Vec<u32>>,
    /// Two bytes that some pattern may begin with: a bit for each.
    pairs: Vec<u64>,
}

/// One row of units.
#[derive(Debug)]
struct Pattern {
    place: usize,
    units: Vec<NodeId>,
}

/// How far one way to read a pattern has come.
type Thread = (u32, u32, NodeId);

/// What was found at one place.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    /// Where the longest ends, and its pattern.
    end: Option<(usize, u32)>,
    /// The pattern that it may become with the bytes that follow, and how many of its units are there.
    open: Option<(u32, usize)>,
}

impl Finder {
    fn of(secrets: &[(String, String)]) -> Self {
        let mut finder = Self {
            by_first: vec![Vec::new(); 256],
            pairs: vec![0; 65_536 / 64],
            ..Self::default()
        };
        for (place, value) in secrets {
            let index = finder.places.len();
            finder.places.push(place.clone());
            for part in parts(value) {
                let chars = part.chars().map(Unit::Char).collect();
                finder.add(index, chars);
                finder.add(index, row(part.bytes(), Unit::Hex));
                for skipped in 0..3 {
                    finder.add(index, row(base64_digits(part.as_bytes(), skipped), Unit::Base64));
                }
            }
        }
        finder.learn_beginnings();
        finder
    }

    fn add(&mut self, place: usize, units: Vec<Unit>) {
        if units.len() >= TELLING_PART {
            let units = units.into_iter().map(|unit| self.spellings.root(unit)).collect();
            self.patterns.push(Pattern { place, units });
        }
    }

    /// Notes how patterns begin, so that nearly every place of a text is passed over at a glance.
    fn learn_beginnings(&mut self) {
        for (index, pattern) in self.patterns.iter().enumerate() {
            for (first, node) in self.spellings.steps(pattern.units[0]) {
                let first = usize::from(*first);
                let of = &mut self.by_first[first];
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                if of.last() != Some(&index) {
                    of.push(index);
                }
                let next = pattern.units[1];
                let goes_on = self.spellings.steps(*node).iter();
                let is_over = self.spellings.is_end(*node);
                let begins = self.spellings.steps(next).iter().filter(|_| is_over);
                for (second, _) in goes_on.chain(begins) {
                    let pair = first * 256 + usize::from(*second);
                    self.pairs[pair / 64] |= 1 << (pair % 64);
                }
            }
        }
    }

    fn may_begin(&self, first: u8, second: Option<u8>) -> bool {
        let first = usize::from(first);
        match second {
            None => !self.by_first[first].is_empty(),
            Some(second) => {
                let pair = first * 256 + usize::from(second);
                self.pairs[pair / 64] >> (pair % 64) & 1 == 1
            }
        }
    }

    /// Replaces what is found in `bytes`, and returns how many of them are done with: all of them where
    /// the text `is_over`. `out` is what they became; it stays none where nothing was found and all is done.
    fn replace(&self, bytes: &[u8], cut: Cut, is_over: bool, out: &mut Option<Vec<u8>>) -> usize {
        let (mut at, mut done) = (0, 0);
        if cut.start
            && let Some((end, pattern)) = self.rest_at_the_start(bytes)
        {
            self.put(out, &bytes[..0], pattern);
            (at, done) = (end, end);
        }
        while at < bytes.len() {
            // Within a run of backslashes its beginning stands for all of it.
            let within = bytes[at] == b'\\' && at > done && bytes[at - 1] == b'\\';
            if within || !self.may_begin(bytes[at], bytes.get(at + 1).copied()) {
                at += 1;
                continue;
            }
            let Some(found) = self.found_at(bytes, at, is_over) else {
                if let Some(out) = out {
                    out.extend_from_slice(&bytes[done..at]);
                }
                return at;
            };
            match (found.open, found.end) {
                (Some((pattern, units)), end) if cut.end && units >= TELLING_PART => {
                    self.put(out, &bytes[done..at], end.map_or(pattern, |(_, pattern)| pattern));
                    return bytes.len();
                }
                (_, Some((end, pattern))) => {
                    self.put(out, &bytes[done..at], pattern);
                    (at, done) = (end, end);
                }
                (_, None) => at += 1,
            }
        }
        if let Some(out) = out {
            out.extend_from_slice(&bytes[done..]);
        }
        bytes.len()
    }

    fn put(&self, out: &mut Option<Vec<u8>>, before: &[u8], pattern: u32) {
        let out = out.get_or_insert_default();
        out.extend_from_slice(before);
        out.extend_from_slice(self.places[self.patterns[pattern as usize].place].as_bytes());
    }

    /// Returns what begins at `from`, as far as what begins within it goes: then both go. None where that
    /// is not known before more has come.
    fn found_at(&self, bytes: &[u8], from: usize, is_over: bool) -> Option<Found> {
        let mut found = self.at(bytes, from);
        let mut inner = from;
        loop {
            inner += 1;
            if found.open.is_some() && !is_over {
                return None;
            }
            let Some((end, pattern)) = found.end.filter(|(end, _)| inner < *end) else {
                return Some(found);
            };
            if self.may_begin(bytes[inner], bytes.get(inner + 1).copied()) {
                let other = self.at(bytes, inner);
                if let Some((beyond, _)) = other.end.filter(|(beyond, _)| *beyond > end) {
                    found.end = Some((beyond, pattern));
                }
                found.open = found.open.or(other.open);
            }
        }
    }

    /// Looks for what begins at `from`.
    fn at(&self, bytes: &[u8], from: usize) -> Found {
        let first = &self.by_first[usize::from(bytes[from])];
        let threads = first
            .iter()
            .map(|index| (*index, 0, self.patterns[*index as usize].units[0]))
            .collect();
        self.run(bytes, from, threads)
    }

    fn run(&self, bytes: &[u8], from: usize, mut threads: Vec<Thread>) -> Found {
        let mut found = Found::default();
        let mut next: Vec<Thread> = Vec::new();
        for (at, byte) in bytes.iter().enumerate().skip(from) {
            next.clear();
            for (pattern, unit, node) in threads.drain(..) {
                let Some(node) = self.spellings.step(node, *byte) else { continue };
                if self.spellings.goes_on(node) {
                    next.push((pattern, unit, node));
                }
                if self.spellings.is_end(node) {
                    let units = &self.patterns[pattern as usize].units;
                    match units.get(unit as usize + 1) {
                        Some(root) => next.push((pattern, unit + 1, *root)),
                        None if found.end.is_some_and(|(end, _)| end > at) => {}
                        None => found.end = Some((at + 1, pattern)),
                    }
                }
            }
            if next.len() > FEW {
                next.sort_unstable();
                next.dedup();
            }
            std::mem::swap(&mut threads, &mut next);
            if threads.is_empty() {
                return found;
            }
        }
        let open = threads.iter().map(|(pattern, unit, _)| (*pattern, *unit as usize));
        found.open = open.max_by_key(|(_, unit)| *unit);
        found
    }

    /// Returns where the end of a value ends whose beginning was cut off.
    fn rest_at_the_start(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        let starts = self.patterns.iter().enumerate().flat_map(|(index, pattern)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let last = pattern.units.len().saturating_sub(TELLING_PART);
            let units = pattern.units.iter().enumerate().take(last + 1).skip(1);
            units.filter_map(move |(unit, root)| Some((index, u32::try_from(unit).ok()?, *root)))
        });
        self.run(bytes, 0, starts.collect()).end
    }
}

/// Returns the value and, where it has several, its lines, as far as they are long enough to tell.
fn parts(value: &str) -> Vec<&str> {
    let mut parts = vec![value];
    // A key in an environment file or in JSON has its lines in one.
    let lines = value.split('\n').flat_map(|line| line.split("\\n")).map(str::trim);
    for line in lines {
        let is_armour = line.starts_with("-----BEGIN ") || line.starts_with("-----END ");
        if line.len() >= SHORTEST_SECRET && !is_armour && !parts.contains(&line) {
            parts.push(line);
        }
    }
    parts
}

/// Returns the units of a row of bytes.
fn row(bytes: impl Iterator<Item = u8>, unit: fn(u8, At) -> Unit) -> Vec<Unit> {
    let at = std::iter::once(At::First).chain(std::iter::repeat(At::Later));
    bytes.zip(at).map(|(byte, at)| unit(byte, at)).collect()
}

/// Returns the base64 digits that `bytes` alone decide where `skipped` bytes of a group of three stand
/// before them.
fn base64_digits(bytes: &[u8], skipped: usize) -> impl Iterator<Item = u8> {
    let mut shifted = vec![0; skipped];
    shifted.extend_from_slice(bytes);
    let whole = shifted.len() * 8 / 6;
    let first = (skipped * 8).div_ceil(6);
    let digits = base64(&shifted);
    digits.into_bytes().into_iter().take(whole).skip(first)
}

#[cfg(test)]
mod tests;
