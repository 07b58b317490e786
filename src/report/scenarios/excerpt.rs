//! The lines of an output that say most: the first that looks like an error, and the last ones.
//!
//! Progress bars, colours, blank lines and repetitions are left out. What is returned is safe on a
//! terminal.

use std::sync::LazyLock;

use anstream::adapter::strip_str;
use regex::Regex;

use crate::text::visible;

/// How many characters of a line are shown.
const WIDTH: usize = 200;
/// How many lines are shown from the one that looks like an error.
const AROUND: usize = 3;

static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)\b(errors?|fatal|panic(ked)?|exception|traceback|assert\w*|fail(ed|ures?)?|not ok|no such file|can't|cannot|could not|denied|undefined|not found|refused|segmentation fault|expected)\b|(?-i:\w(Error|Exception)\b)",
    )
    .expect("a pattern written here is valid")
});

static NO_ERROR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(0|no) (errors?|failed|failures?)\b|\b(errors?|failed|failures?): 0\b")
        .expect("a pattern written here is valid")
});

static PROGRESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"[=#*>.\-█▉▊▋▌▍▎▏━─╸]{4,}.*\d%|\d%.*[=#*>.\-█▉▊▋▌▍▎▏━─╸]{4,}|^\s*[\u{2800}-\u{28ff}]|^\s*\d{1,3}(\.\d+)?\s?%\s*$",
    )
    .expect("a pattern written here is valid")
});

/// Returns at most `most` lines of an output, whose first part is `head` where `tail` is not all
/// of it; empty where nothing is worth a line. A line `… 12 lines` stands for those left out
/// between the error and the end.
pub fn excerpt(head: &str, tail: &str, most: usize) -> Vec<String> {
    let mut lines = lines_of(head);
    lines.extend(lines_of(tail));
    let end = lines.len().saturating_sub(most);
    if end == 0 {
        return lines;
    }
    let first = lines.iter().position(|line| is_error(line));
    match first.filter(|first| *first < end && most > AROUND + 1) {
        None => lines.split_off(end),
        Some(first) => {
            let last = lines.len() - (most - AROUND - 1);
            let shown = lines[first..first + AROUND].iter().cloned();
            let left_out = format!("… {} lines", last - first - AROUND);
            shown.chain([left_out]).chain(lines[last..].iter().cloned()).collect()
        }
    }
}

/// Returns whether a line looks like one that tells of an error.
pub(super) fn is_error(line: &str) -> bool {
    ERROR.is_match(line) && !NO_ERROR.is_match(line)
}

fn lines_of(text: &str) -> Vec<String> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    for line in text.split('\n') {
        let line = strip_str(line).to_string();
        // A terminal shows what was written last over what stood there.
        let Some(line) = line.split('\r').map(str::trim_end).rfind(|part| !part.is_empty()) else {
            continue;
        };
        let line = cut(line);
        if PROGRESS.is_match(&line) {
            continue;
        }
        let line = visible(&line);
        match lines.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => lines.push((line, 1)),
        }
    }
    let show = |(line, count)| if count == 1 { line } else { format!("{line}  (× {count})") };
    lines.into_iter().map(show).collect()
}

/// Returns a line of at most `WIDTH` characters, without what stands in the middle of a long one.
fn cut(line: &str) -> String {
    let count = line.chars().count();
    if count <= WIDTH {
        return line.to_owned();
    }
    let begin = WIDTH * 2 / 3;
    let end = WIDTH - begin - 1;
    let first: String = line.chars().take(begin).collect();
    let last: String = line.chars().skip(count - end).collect();
    format!("{first}…{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(excerpt("", text, 6), expected);
    }

    #[test]
    fn what_is_short_is_shown_whole() {
        check("", &[]);
        check(" \n\n", &[]);
        check("one\n\n  two\n", &["one", "  two"]);
    }

    #[test]
    fn of_what_is_long_the_end_is_shown() {
        let text: String = (1..=9).map(|n| format!("line {n}\n")).collect();
        check(&text, &["line 4", "line 5", "line 6", "line 7", "line 8", "line 9"]);
    }

    #[test]
    fn the_first_error_is_shown_with_the_end() {
        let mut text = "begin\nerror: no tax\n  at a\n  at b\n".to_owned();
        (1..=9).for_each(|n| text.push_str(&format!("line {n}\n")));
        check(&text, &["error: no tax", "  at a", "  at b", "… 7 lines", "line 8", "line 9"]);
        let lines = excerpt("Traceback\nx\ny\nz\n", &"a\nb\n".repeat(5), 6);
        assert_eq!(lines, ["Traceback", "x", "y", "… 9 lines", "a", "b"]);
    }

    #[test]
    fn noise_is_left_out() {
        check("\u{1b}[31mred\u{1b}[0m\n", &["red"]);
        check("  1%\r 50%\r100% done\r\n", &["100% done"]);
        check("[####    ] 45%\n━━━━━━━━ 100%\n⠋ waiting\n42 %\nend\n", &["end"]);
        check("again\nagain\nagain\n", &["again  (× 3)"]);
    }

    #[test]
    fn what_commands_a_terminal_is_not_shown_as_it_is() {
        let shown = excerpt("", "a\u{7}\u{202e}b\u{1b}[2J\u{9b}2J", 6).concat();
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
    }

    #[test]
    fn a_long_line_keeps_both_ends() {
        let shown = excerpt("", &format!("begin{}end", "ä".repeat(1_000)), 6).concat();
        assert_eq!(shown.chars().count(), WIDTH);
        assert!(shown.starts_with("begin") && shown.ends_with("end"));
    }

    #[test]
    fn errors_are_told_from_their_absence() {
        for line in ["ValueError: x", "FAIL a", "bash: x: command not found", "assert a == b"] {
            assert!(is_error(line), "{line}");
        }
        for line in ["0 errors", "failed: 0", "all good", "terror"] {
            assert!(!is_error(line), "{line}");
        }
    }
}
