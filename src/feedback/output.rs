//! Makes what a program wrote fit to be told: no colours, no absolute paths, nothing of the
//! holdout.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::Mask;
use crate::text::visible;

/// How many bytes of one output are looked at, from its end.
const LOOK: usize = 256 * 1024;

static COLOURS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\x1b\[[0-9;?]{0,16}[ -/]?[@-~]").expect("a pattern written here is valid")
});

/// Cleans outputs, and counts what it masked.
#[derive(Debug)]
pub(super) struct Cleaner<'a> {
    mask: &'a Mask,
    /// Longest first, so that a path below another is met before it.
    roots: Vec<&'a str>,
    /// How many runs were masked so far.
    pub(super) masked: usize,
}

impl<'a> Cleaner<'a> {
    pub(super) fn new(mask: &'a Mask, roots: &[&'a str]) -> Self {
        let mut roots: Vec<_> = roots
            .iter()
            .map(|root| root.trim_end_matches('/'))
            .filter(|root| root.starts_with('/'))
            .collect();
        roots.sort_by_key(|root| std::cmp::Reverse(root.len()));
        Self { mask, roots, masked: 0 }
    }

    /// Returns `text` cleaned; of a very long one the end.
    pub(super) fn clean(&mut self, text: &str) -> String {
        let plain = self.plain(text);
        self.show(&plain)
    }

    /// Returns `text` cleaned, and as the rules read it.
    pub(super) fn read(&mut self, text: &str) -> (String, Raw) {
        let text = self.plain(text);
        let shown = self.show(&text);
        let hidden = self.mask.find(&text);
        (shown, Raw { text, hidden })
    }

    fn show(&mut self, plain: &str) -> String {
        let masked = self.mask.apply(plain);
        self.masked += masked.count;
        visible(&masked.text)
    }

    fn plain(&self, text: &str) -> String {
        let mut start = text.len().saturating_sub(LOOK);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let plain = COLOURS.replace_all(&text[start..], "");
        let mut plain = plain.replace("\r\n", "\n").replace('\r', "\n");
        for root in &self.roots {
            plain = relative(&plain, root);
        }
        plain
    }
}

/// What a program wrote, without colours and absolute paths; told nowhere as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) text: String,
    /// Where the holdout's text stands in it.
    pub(super) hidden: Vec<Range<usize>>,
}

impl Raw {
    /// Returns both as one, a line feed between them.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.text.push('\n');
        let by = self.text.len();
        self.text.push_str(&other.text);
        self.hidden.extend(other.hidden.iter().map(|range| range.start + by..range.end + by));
        self
    }
}

/// Returns `text` with `.` for the directory `root` wherever it stands as a whole.
fn relative(text: &str, root: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(root) {
        let after = &rest[at + root.len()..];
        let whole = !after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
        out.push_str(&rest[..at]);
        out.push_str(if whole { "." } else { root });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let mask = Mask::default();
        let mut cleaner = Cleaner::new(&mask, &["/state/judge", "/state/judge/home/", "/", ""]);
        assert_eq!(cleaner.clean(output), expected);
    }

    #[test]
    fn the_trees_own_path_becomes_a_dot() {
        check("File \"/state/judge/a.py\" in /state/judge.", "File \"./a.py\" in ..");
        check("/state/judge/home/.cache", "./.cache");
        check("/state/judges/a", "/state/judges/a");
    }

    #[test]
    fn colours_and_carriage_returns_go() {
        check("\u{1b}[1;31mred\u{1b}[0m\r\n10%\r20%\u{7}", "red\n10%\n20%\\u{7}");
    }
}
