//! Finds where a scenario's front matter stands, and settings that stand where none are read.
//!
//! Between two lines of `---` at the head they are read, whatever blank lines and comments come before. Any
//! other way to write them is found, so that no setting is passed over in silence. It does not read them.

use std::ops::Range;

use crate::text::nearest;

/// The settings that front matter has.
pub(super) const KEYS: [&str; 11] = [
    "tags",
    "timeout",
    "weight",
    "critical",
    "slow",
    "serial",
    "network",
    "needs",
    "retries",
    "visibility",
    "env",
];
/// The most lines that settings between two marks take.
const MOST_LINES: usize = 200;

/// Where front matter stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere; the markdown begins here.
    None {
        /// Where.
        body: usize,
    },
    /// Its first mark has no second one.
    Open {
        /// The mark.
        mark: Range<usize>,
    },
    /// Between two marks.
    Between {
        /// The first mark.
        mark: Range<usize>,
        /// What is between them.
        yaml: Range<usize>,
        /// Where the markdown begins.
        body: usize,
    },
}

/// A setting that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    /// Its key, as it is called where it is read.
    pub(super) key: &'static str,
    /// Its line.
    pub(super) span: Range<usize>,
}

/// Returns where the front matter of `source` stands.
pub(super) fn place(source: &str) -> Place {
    let start = source.len() - source.trim_start_matches('\u{feff}').len();
    let begin = match line_at(source, start).1.trim_end() {
        "---" => return between(source, start).unwrap_or_else(|| open(start)),
        _ => behind_comments(source, start),
    };
    // Behind something else a line of `---` may be a rule of markdown.
    if line_at(source, begin).1.trim_end() == "---"
        && let Some(Place::Between { mark, yaml, body }) = between(source, begin)
        && holds_settings(&source[yaml.clone()])
    {
        return Place::Between { mark, yaml, body };
    }
    Place::None { body: start }
}

/// Returns the first setting of a file that stands from `body` on where none are read: above the title, or
/// between two marks above the first section. `is_section` tells whether a heading begins one.
pub(super) fn stray(source: &str, body: usize, is_section: fn(&str) -> bool) -> Option<Stray> {
    let (mut at, mut titled) = (body, false);
    let mut mark: Option<String> = None;
    while at < source.len() {
        at = skip_comment(source, at);
        let (next, line) = line_at(source, at);
        let text = line.trim();
        if let Some(heading) = heading(source, next, line) {
            if is_section(&heading) {
                return None;
            }
            titled = true;
        }
        if (!titled || mark.is_some())
            && let Some(key) = setting(line)
            && (!titled || mark.as_deref().is_some_and(|mark| is_closed(source, next, mark)))
        {
            let begin = at + (line.len() - line.trim_start().len());
            return Some(Stray { key, span: begin..begin + text.len() });
        }
        // What stands directly below a mark may be settings.
        if is_mark(text) {
            mark = Some(text.to_owned());
        } else if !text.is_empty() && !text.starts_with('#') {
            mark = None;
        }
        at = next;
    }
    None
}

fn open(start: usize) -> Place {
    Place::Open { mark: start..start + 3 }
}

/// Returns the front matter whose first mark begins at `start`; none where it has no end.
fn between(source: &str, start: usize) -> Option<Place> {
    let (first, _) = line_at(source, start);
    let mut at = first;
    while at < source.len() {
        let (next, line) = line_at(source, at);
        if matches!(line.trim_end(), "---" | "...") {
            return Some(Place::Between { mark: start..start + 3, yaml: first..at, body: next });
        }
        at = next;
    }
    None
}

/// Returns whether what stands between two marks is settings, one of which is known, or nearly.
fn holds_settings(text: &str) -> bool {
    let mut lines = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty());
    let is_one =
        |line: &str| line.starts_with([' ', '\t', '#', '-', ']', '}']) || key_of(line).is_some();
    let keys = lines.clone().filter_map(key_of);
    lines.all(is_one) && keys.into_iter().any(|key| nearest(key, KEYS).is_some())
}

/// Returns the known setting that a line gives a value to.
fn setting(line: &str) -> Option<&'static str> {
    let key = key_of(line.trim_start())?;
    KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(key))
}

/// Returns the key of a line of YAML or TOML.
fn key_of(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(['"', '\'', '{', ' ']);
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))?;
    let rest = line[end..].trim_start_matches(['"', '\'']).trim_start();
    let is_value = match rest.strip_prefix(':') {
        Some(value) => value.is_empty() || value.starts_with([' ', '\t']),
        None => rest.starts_with('=') && !rest.starts_with("=="),
    };
    (end > 0 && is_value).then(|| &line[..end])
}

/// Returns whether a line may stand around settings: `----`, `+++`, `---yaml`, `;;;`.
fn is_mark(text: &str) -> bool {
    ["---", "+++", ";;;"].iter().any(|mark| text.starts_with(mark))
        && text.split_whitespace().count() <= 2
}

/// Returns whether a mark of the kind of `mark` follows before the next heading.
fn is_closed(source: &str, from: usize, mark: &str) -> bool {
    let mut at = from;
    for _ in 0..MOST_LINES {
        if at >= source.len() {
            return false;
        }
        let (next, line) = line_at(source, at);
        let text = line.trim();
        if is_mark(text) && text.get(..3) == mark.get(..3) {
            return true;
        }
        if text.starts_with("# ") || text.starts_with("## ") {
            return false;
        }
        at = next;
    }
    false
}

/// Returns the text of the heading that a line is, or that the line below it makes of it. A setting above
/// `---` is none, whatever markdown says.
fn heading(source: &str, next: usize, line: &str) -> Option<String> {
    let is_indented = line.starts_with("    ") || line.starts_with('\t');
    let text = line.trim();
    let rest = text.trim_start_matches('#');
    let level = text.len() - rest.len();
    if (1..=6).contains(&level)
        && !is_indented
        && (rest.is_empty() || rest.starts_with([' ', '\t']))
    {
        return Some(rest.trim().trim_end_matches('#').trim().to_owned());
    }
    let below = line_at(source, next).1.trim_end();
    let is_underline =
        !below.is_empty() && (below.chars().all(|c| c == '=') || below.chars().all(|c| c == '-'));
    (is_underline && !text.is_empty() && setting(line).is_none() && !is_mark(text))
        .then(|| text.to_owned())
}

/// Returns where the first line stands that is neither blank nor in a comment.
fn behind_comments(source: &str, start: usize) -> usize {
    let mut at = start;
    while at < source.len() {
        let behind = skip_comment(source, at);
        let (next, line) = line_at(source, behind);
        if !line.trim().trim_matches('\u{feff}').is_empty() {
            return behind;
        }
        at = next;
    }
    start
}

/// Returns what follows the comments that begin the line at `at`; `at` where none do.
fn skip_comment(source: &str, mut at: usize) -> usize {
    loop {
        let line = line_at(source, at).1;
        let begin = at + (line.len() - line.trim_start().len());
        match source[begin..].strip_prefix("<!--").and_then(|rest| rest.find("-->")) {
            Some(end) => at = begin + 4 + end + 3,
            None => return at,
        }
    }
}

/// Returns the line at `at` without its end, and where the next one begins. Lines end as markdown has it.
fn line_at(source: &str, at: usize) -> (usize, &str) {
    let rest = &source[at..];
    let Some(end) = rest.find(['\n', '\r']) else { return (source.len(), rest) };
    let feed = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
    (at + end + feed, &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "# Scenario: A\n\n## Category\nx\n\n---\n\ntags: [no]\n";

    fn is_section(heading: &str) -> bool {
        heading == "Category"
    }

    /// Checks what is read as front matter in a file of this head, and which setting is stray.
    fn check(head: &str, read: Option<&str>, found: Option<&str>) {
        let source = format!("{head}{REST}");
        let (yaml, body) = match place(&source) {
            Place::Between { yaml, body, .. } => (Some(&source[yaml]), body),
            Place::None { body } => (None, body),
            Place::Open { .. } => (Some("open"), source.len()),
        };
        assert_eq!(yaml, read, "{head:?}");
        let stray = stray(&source, body, is_section).map(|stray| source[stray.span].to_owned());
        assert_eq!(stray.as_deref(), found, "{head:?}");
    }

    const SET: &str = "critical: true\ntags: [a]\n";

    #[test]
    fn it_is_read_at_the_head_and_behind_what_says_nothing() {
        for before in [
            "",
            "\u{feff}",
            "\n",
            "\r\n\n  \n",
            "<!-- SPDX: MIT -->\n",
            "<!-- a\n---\n b -->\n\n",
            "\u{feff}\n<!-- timeout: 5 --> <!-- b -->\n",
        ] {
            check(&format!("{before}---\n{SET}---\n"), Some(SET), None);
            check(&format!("{before}---\n{SET}...\n"), Some(SET), None);
        }
        check("---\rcritical: true\r---\r", Some("critical: true\r"), None);
        check("---\n---\n", Some(""), None);
        check("\n---\ncritcal: true\n---\n", Some("critcal: true\n"), None);
        check(
            "\n---\ntags:\n- a\n# b\n- c\nenv: {A: b}\n---\n",
            Some("tags:\n- a\n# b\n- c\nenv: {A: b}\n"),
            None,
        );
    }

    #[test]
    fn any_other_way_to_write_it_is_found() {
        let first = Some("critical: true");
        for (open, close) in [
            ("----", "----"),
            ("---yaml", "---"),
            ("--- yaml", "---"),
            (" ---", " ---"),
            ("```yaml", "```"),
            ("```--- yaml", "```"),
            ("~~~", "~~~"),
            ("+++", "+++"),
            (";;;", ";;;"),
            ("***", "***"),
            ("\u{2014}", "\u{2014}"),
            ("--- # settings", "---"),
            ("", ""),
            ("> ---", "> ---"),
            ("// MIT\n---", "---"),
        ] {
            check(&format!("{open}\n{SET}{close}\n"), None, first);
        }
        check("+++\ncritical = true\n+++\n", None, Some("critical = true"));
        check("{\"critical\": true}\n", None, Some("{\"critical\": true}"));
        check("  critical: true\n", None, first);
        check("Critical: true\n", None, Some("Critical: true"));
        check("# SPDX: MIT\n---\ncritical: true\n---\n", None, first);
        check("# Scenario: B\n\n---\ncritical: true\n---\n", None, first);
        check("Scenario: B\n===\n+++\n\ncritical = true\n+++\n", None, Some("critical = true"));
        check("---\nslow: true\n---\n---\ncritical: true\n---\n", Some("slow: true\n"), first);
        check("\n---\ncritical: true\n", None, first);
    }

    #[test]
    fn the_settings_are_those_that_are_read() {
        let known = serde_json::to_value(crate::scenario::FrontMatter {
            timeout: Some(std::time::Duration::from_secs(1)),
            ..Default::default()
        });
        let known = known.unwrap();
        let known: Vec<&str> = known.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(known, KEYS);
    }

    #[test]
    fn markdown_is_left_alone() {
        for head in [
            "\n---\n",
            "\n---\n\nA rule.\n\n---\n",
            "***\n",
            "A text.\n\n---\n",
            "Some: text\n----\n",
            "<!-- critical: true -->\n",
            "<!--\n---\ncritical: true\n---\n-->\n",
            "A timeout: 5 seconds.\n",
            "# Scenario: B\n\n---\n\nnetwork: none is needed.\n",
            "# B\n\ntags: are shown\n",
            "timeouts\n",
            "env:prod\n",
            "\n---\nNote: this is no setting.\n---\n",
            "weight == 3\n",
        ] {
            check(head, None, None);
        }
    }
}
