//! An error that nobody caught: a traceback, a panic, a signal.

use std::sync::LazyLock;

use regex::{Match, Regex};

use super::{Cause, End, Evidence, Rule, code, pattern};

/// Recognises crashes of Python, Rust, node, Go and Java, and ends by a signal; speaks only where no
/// rule knows the error better.
#[derive(Debug)]
pub(super) struct Crash;

static FRAME: LazyLock<Regex> = LazyLock::new(|| pattern(r#"^\s*File "([^"<\n]+)", line (\d+)"#));
static PYTHON: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Warning|Exit)(?:: [^\n]*)?)$")
});
static RUST: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^thread '[^'\n]*'(?: \(\d+\))? panicked at ([^\s:]+:\d+)(?::\d+)?:?\n([^\n]*)")
});
static GO: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(panic: [^\n]+)"));
static NODE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:Uncaught )?(\w*(?:Error|Exception)\b[^\n]*)\n(?:[^\n]*\n){0,4}?\s+at (?:[^\n(]*\()?([^\s():]+:\d+)",
    )
});
static JAVA: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^(?:Exception in thread "[^"\n]*" |Caused by: )?((?:\w+\.)+\w+(?:Exception|Error)(?:: [^\n]*)?)\n(?:[^\n]*\n){0,8}?\s+at [^\n(]+\(([\w$]+\.(?:java|kt|scala):\d+)\)"#,
    )
});
static UNWOUND: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^Traceback \(most recent call last\):"));

impl Rule for Crash {
    fn id(&self) -> &'static str {
        "crash"
    }

    fn heading(&self) -> &'static str {
        "Panic or traceback"
    }

    fn is_fallback(&self) -> bool {
        true
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        let at = |error, place| format!("{} at {}", evidence.told(error), evidence.told(place));
        let both = |pattern, error, place| {
            let found = evidence.matches(pattern).next()?;
            Some(at(found.get(error)?, found.get(place)?))
        };
        let detail = python(evidence)
            .map(|(error, file, line)| match (file, line) {
                (Some(file), Some(line)) => {
                    let place = format!("{}:{}", evidence.plainly(file), line.as_str());
                    format!("{} at {}", evidence.told(error), code(&place))
                }
                _ => evidence.told(error),
            })
            .or_else(|| both(&RUST, 2, 1))
            .or_else(|| Some(evidence.told(evidence.matches(&GO).next()?.get(1)?)))
            .or_else(|| both(&JAVA, 1, 2))
            .or_else(|| both(&NODE, 1, 2))
            .or_else(|| match evidence.end {
                End::Signal(signal) => Some(format!("ended by signal {signal}")),
                End::Exit(code @ 129..=159) => Some(format!("ended by signal {}", code - 128)),
                _ => None,
            })?;
        Some(Cause::new(
            self,
            evidence,
            detail,
            "Find the first frame in the product's own code and handle the case that it did not \
             foresee; what a user can get wrong ends in a message and an exit code, not in a \
             crash.",
        ))
    }
}

/// Returns the last error of the last traceback, with file and line of the innermost frame that is a
/// file.
fn python<'a>(
    evidence: &Evidence<'a>,
) -> Option<(Match<'a>, Option<Match<'a>>, Option<Match<'a>>)> {
    let start = UNWOUND.find_iter(evidence.text).last()?.start();
    let errors = evidence.matches(&PYTHON).filter_map(|found| found.get(1));
    let error = errors.into_iter().find(|error| error.start() >= start)?;
    let within = start..error.start();
    let frame = FRAME
        .captures_iter(evidence.text)
        .filter(|frame| frame.get(0).is_some_and(|all| within.contains(&all.start())))
        .last();
    let group = |at| frame.as_ref().and_then(|frame| frame.get(at));
    Some((error, group(1), group(2)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_end};
    use super::*;

    #[test]
    fn java_names_error_and_frame() {
        check(
            &Crash,
            "Exception in thread \"main\" java.lang.NumberFormatException: For input string: \"x\"\n\tat \
             java.base/java.lang.Integer.parseInt(Integer.java:668)\n\tat \
             taskli.Main.main(Main.java:7)\n",
            "`java.lang.NumberFormatException: For input string: \"x\"` at `Integer.java:668`",
        );
    }

    #[test]
    fn python_shows_the_error_and_the_innermost_file() {
        check(
            &Crash,
            "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\n  File \
             \"./taskli/store.py\", line 12, in load\n    return data['id']\n           ~~~~^^^^^^\n\
             KeyError: 'id'\n",
            "`KeyError: 'id'` at `./taskli/store.py:12`",
        );
    }

    #[test]
    fn of_chained_tracebacks_the_last_is_shown() {
        check(
            &Crash,
            "Traceback (most recent call last):\n  File \"./a.py\", line 1, in f\nKeyError: 'id'\n\n\
             During handling of the above exception, another exception occurred:\n\n\
             Traceback (most recent call last):\n  File \"./b.py\", line 2, in g\n\
             taskli.errors.StoreError: broken\n",
            "`taskli.errors.StoreError: broken` at `./b.py:2`",
        );
    }

    #[test]
    fn rust_go_and_node_are_understood() {
        check(
            &Crash,
            "\nthread 'main' (4711) panicked at src/main.rs:3:29:\nindex out of bounds: the len is \
             0 but the index is 1\nnote: run with `RUST_BACKTRACE=1`\n",
            "`index out of bounds: the len is 0 but the index is 1` at `src/main.rs:3`",
        );
        check(
            &Crash,
            "panic: runtime error: index out of range [1] with length 0\n\ngoroutine 1 [running]:\n",
            "`panic: runtime error: index out of range [1] with length 0`",
        );
        check(
            &Crash,
            "./index.js:3\n  task.done();\n       ^\n\nTypeError: task.done is not a function\n    \
             at Object.<anonymous> (./index.js:3:8)\n",
            "`TypeError: task.done is not a function` at `./index.js:3`",
        );
    }

    #[test]
    fn a_signal_is_a_crash() {
        check_end(&Crash, End::Signal(11), "", "ended by signal 11");
        check_end(&Crash, End::Exit(139), "Segmentation fault (core dumped)", "ended by signal 11");
        check(&Crash, "1 error found", "");
    }
}
