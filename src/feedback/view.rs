//! How a text is read for what it says: without quoting, escaping, colours and wrapping.
//!
//! It knows nothing of scenarios; `mask` compares what is left.

use std::ops::Range;

/// What stands where text was masked.
pub(super) const MARK: &str = "[masked]";

/// Stands for a mark in the filtered view: in no window, part of no word.
pub(super) const BARRIER: char = '\0';

/// One character of the filtered view, with the bytes of the text that it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) c: char,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Escapes, entities and colours stand for what they mean.
    Escaped,
    /// They are characters like others.
    Plain,
}

/// Returns the characters of `text` that quoting, escaping, colouring and wrapping leave alone, in
/// lower case; each of the `hidden` ranges, sorted and apart, is one [`BARRIER`].
pub(super) fn view(text: &str, hidden: &[Range<usize>], reading: Reading) -> Vec<Seen> {
    let mut view = Vec::with_capacity(text.len());
    let mut start = 0;
    for gap in hidden {
        read(text, start..gap.start, reading, &mut view);
        view.push(Seen { c: BARRIER, start: gap.start, end: gap.end });
        start = gap.end;
    }
    read(text, start..text.len(), reading, &mut view);
    view
}

fn read(text: &str, range: Range<usize>, reading: Reading, view: &mut Vec<Seen>) {
    let mut start = range.start;
    while let Some((c, len)) = next(&text[start..range.end], reading) {
        let end = start + len;
        if let Some(c) = c {
            view.push(Seen { c: c.to_ascii_lowercase(), start, end });
        }
        start = end;
    }
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
    if rest[1..].starts_with(MARK) {
        return 1;
    }
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

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether the characters before and at `at` are parts of one word.
pub(super) fn one_word(view: &[Seen], at: usize) -> bool {
    match (at.checked_sub(1).and_then(|before| view.get(before)), view.get(at)) {
        (Some(a), Some(b)) => is_word(a.c) && is_word(b.c) && a.end == b.start,
        _ => false,
    }
}

pub(super) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) fn mix(hash: u64, c: char) -> u64 {
    (hash ^ u64::from(c)).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
}

pub(super) fn hash(view: &[Seen]) -> u64 {
    view.iter().fold(SEED, |hash, seen| mix(hash, seen.c))
}
