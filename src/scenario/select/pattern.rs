//! What a text must look like to be selected. Case makes no difference to any kind of pattern.

use std::fmt;
use std::ops::Range;

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};

use crate::text::why_no_regex;

/// How deep `{..}` may nest: globset goes through them by recursion.
const NESTED: usize = 16;
/// What a compiled regular expression may take, in bytes: enough for what people write.
const REGEX_SIZE: usize = 2 * 1024 * 1024;

/// One pattern. Equal are those that match the same for the same reason, wherever they stand.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    kind: Kind,
    /// Without what marks its kind, and without quotes.
    text: String,
    lower: String,
    compiled: Compiled,
    /// Where it stands in the expression.
    pub(super) span: Range<usize>,
}

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The glob matches the whole text, or the text is the glob itself.
    Glob,
    /// The texts are equal.
    Exact,
    /// The pattern is a part of the text.
    Contains,
    /// The regular expression matches a part of the text.
    Regex,
}

#[derive(Debug, Clone)]
enum Compiled {
    Nothing,
    Glob(GlobMatcher),
    Regex(Regex),
}

impl Pattern {
    /// Makes a pattern of `text`.
    ///
    /// # Errors
    /// Says, as a fragment, why it is no glob or no regular expression.
    pub(super) fn new(kind: Kind, text: &str, span: Range<usize>) -> Result<Self, String> {
        let lower = text.to_lowercase();
        let compiled = match kind {
            Kind::Glob => glob(&lower)?,
            Kind::Regex => regex(text)?,
            Kind::Exact | Kind::Contains => Compiled::Nothing,
        };
        Ok(Self { kind, text: text.to_owned(), lower, compiled, span })
    }

    /// Makes a pattern of what a person typed: a glob, and where it is none, the text itself.
    pub(super) fn typed(text: &str) -> Self {
        let text = text.trim();
        let lower = text.to_lowercase();
        let compiled = glob(&lower).unwrap_or(Compiled::Nothing);
        Self { kind: Kind::Glob, text: text.to_owned(), lower, compiled, span: 0..0 }
    }

    /// Returns the text in lower case.
    pub(super) fn lower(&self) -> &str {
        &self.lower
    }

    /// Returns whether a text matches, given in lower case.
    pub(super) fn matches(&self, lower: &str) -> bool {
        match (&self.compiled, self.kind) {
            (Compiled::Regex(regex), _) => regex.is_match(lower),
            (Compiled::Glob(glob), _) => lower == self.lower || glob.is_match(lower),
            (Compiled::Nothing, Kind::Contains) => lower.contains(&self.lower),
            (Compiled::Nothing, _) => lower == self.lower,
        }
    }

    /// Returns whether a path matches, given in lower case: the whole of it, or, where the pattern
    /// must match the whole, any of its tails. So a file is also known by its path below the
    /// scenarios' directory, and by its last part.
    pub(super) fn matches_path(&self, lower: &str) -> bool {
        let whole = matches!(self.kind, Kind::Glob | Kind::Exact);
        self.matches(lower)
            || whole && lower.match_indices('/').any(|(at, _)| self.matches(&lower[at + 1..]))
    }
}

fn glob(lower: &str) -> Result<Compiled, String> {
    if !lower.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        return Ok(Compiled::Nothing);
    }
    let mut depth = 0_usize;
    for c in lower.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTED {
            return Err(format!("more than {NESTED} `{{` within each other"));
        }
    }
    let glob = GlobBuilder::new(lower).build().map_err(|error| error.kind().to_string())?;
    Ok(Compiled::Glob(glob.compile_matcher()))
}

fn regex(text: &str) -> Result<Compiled, String> {
    let built = RegexBuilder::new(text).case_insensitive(true).size_limit(REGEX_SIZE).build();
    built.map(Compiled::Regex).map_err(|error| why_no_regex(&error))
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.text) == (other.kind, &other.text)
    }
}

impl Eq for Pattern {}

/// As it is written in an expression: quoted where it has to be.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Regex => return write!(f, "/{}/", self.text.replace('/', "\\/")),
            Kind::Exact => f.write_str("=")?,
            Kind::Contains => f.write_str("~")?,
            Kind::Glob => {}
        }
        let plain = |c: char| c.is_alphanumeric() || "_-.:*?/ ".contains(c);
        if !self.text.is_empty()
            && self.text.chars().all(plain)
            && !self.text.starts_with([' ', '/'])
            && !self.text.ends_with(' ')
        {
            f.write_str(&self.text)
        } else {
            write!(f, "\"{}\"", self.text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, pattern: &str, text: &str, expected: bool) {
        let pattern = Pattern::new(kind, pattern, 0..0).unwrap();
        assert_eq!(pattern.matches(&text.to_lowercase()), expected, "{pattern} {text}");
    }

    #[test]
    fn case_makes_no_difference() {
        check(Kind::Glob, "LOG*", "log in", true);
        check(Kind::Exact, "Übung", "ÜBUNG", true);
        check(Kind::Contains, "OG", "Log in", true);
        check(Kind::Regex, "^LOG (in|out)$", "Log OUT", true);
        check(Kind::Regex, "[A-Z]", "a", true);
    }

    #[test]
    fn a_kind_says_how_much_must_match() {
        check(Kind::Glob, "log", "log in", false);
        check(Kind::Glob, "log [now]", "log [now]", true);
        check(Kind::Glob, "{a,b}?", "b1", true);
        check(Kind::Exact, "log*", "log in", false);
        check(Kind::Contains, "g i", "log in", true);
        check(Kind::Regex, "g.i", "log in", true);
    }

    #[test]
    fn a_path_is_known_by_its_tails() {
        let file = "scenarios/deep/cli.md";
        for (kind, pattern, expected) in [
            (Kind::Glob, "cli.md", true),
            (Kind::Glob, "deep/*", true),
            (Kind::Exact, "deep/cli.md", true),
            (Kind::Exact, "deep", false),
            (Kind::Contains, "os/de", true),
            (Kind::Regex, "^deep", false),
        ] {
            let pattern = Pattern::new(kind, pattern, 0..0).unwrap();
            assert_eq!(pattern.matches_path(file), expected, "{pattern}");
        }
    }

    #[test]
    fn what_can_not_be_compiled_is_refused_with_its_reason() {
        for (kind, text, why) in [
            (Kind::Glob, "[", "unclosed character class"),
            (Kind::Glob, "{a", "unclosed alternate group"),
            (Kind::Regex, "(", "unclosed group"),
            (Kind::Regex, r"\w{1000}", "it is too large when compiled"),
        ] {
            let found = Pattern::new(kind, text, 0..0).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
        let deep = "{".repeat(50_000) + &"}".repeat(50_000);
        assert!(Pattern::new(Kind::Glob, &deep, 0..0).is_err());
        assert!(Pattern::typed(&deep).matches(&deep));
    }
}
