//! The markdown that feedback is made of; what programs and agents wrote can't break out of it.

use std::time::Duration;

use crate::text::one_line;

/// Returns `text` in a fence that is longer than any run of backticks in it.
pub(super) fn fence(text: &str, info: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let ticks = "`".repeat(3.max(longest + 1));
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{ticks}{info}\n{text}{end}{ticks}\n")
}

/// Returns `text` as code on one line of at most 120 characters; its backticks become `'`.
pub(super) fn code(text: &str) -> String {
    let line = one_line(text, 120).replace('`', "'");
    if line.is_empty() { "(empty)".to_owned() } else { format!("`{line}`") }
}

/// Returns a name as prose on one line of at most 120 characters, with what markdown would read
/// escaped.
pub(super) fn escape(name: &str) -> String {
    let mut out = String::new();
    for c in one_line(name, 120).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' | '~') {
            out.push('\\');
        }
        out.push(c);
    }
    if out.is_empty() { "(no name)".to_owned() } else { out }
}

/// Returns sentences of the factory's own on one line, long enough for all that they say; what they
/// quote can't make markdown of them.
pub(super) fn sentence(text: &str) -> String {
    let mut out = String::new();
    for c in one_line(text, 1_000).chars() {
        if matches!(c, '\\' | '*' | '[' | ']' | '<' | '>' | '|' | '#' | '&' | '~') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Returns the first `limit` of `items`, joined by commas, and how many more there are.
pub(super) fn list(items: &[String], limit: usize) -> String {
    let shown = items.iter().take(limit).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(limit) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns a duration so coarse that two runs of the same thing mostly read the same.
pub(super) fn coarse(duration: Duration) -> String {
    match duration.as_secs() {
        0 => "under a second".to_owned(),
        1 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

/// Returns a score with three decimals, cut and not rounded, so that none reads as the threshold
/// that it misses; `-` where there is none.
pub(super) fn score(score: Option<f64>) -> String {
    score.map_or_else(|| "-".to_owned(), |score| format!("{:.3}", thousandths(score)))
}

/// Returns a score cut to three decimals.
pub(super) fn thousandths(score: f64) -> f64 {
    (score * 1_000.0 + 1e-6).floor() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_outgrows_what_it_holds() {
        assert_eq!(fence("a\n````\nb", "text"), "`````text\na\n````\nb\n`````\n");
        assert_eq!(fence("", "text"), "```text\n```\n");
    }

    #[test]
    fn code_stays_on_its_line_and_in_its_ticks() {
        assert_eq!(code("a`\n# b"), "`a' # b`");
    }

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(escape("a|b <!-- *c*"), "a\\|b \\<!-- \\*c\\*");
    }

    #[test]
    fn a_score_is_never_rounded_up() {
        assert_eq!(score(Some(0.799_99)), "0.799");
        assert_eq!(score(Some(0.57)), "0.570");
        assert_eq!(score(Some(1.0)), "1.000");
        assert_eq!(score(None), "-");
    }
}
