//! Something that did not end in time.

use std::sync::LazyLock;

use regex::Regex;

use super::{Cause, End, Evidence, Rule, pattern};

/// Recognises time limits of the factory, of `timeout` and of libraries.
#[derive(Debug)]
pub(super) struct Timeout;

static SIGN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:TimeoutExpired|TimeoutError|[Cc]onnection timed out|ETIMEDOUT|context deadline exceeded|Exceeded timeout of \d+ ?ms|test timed out after \S+)",
    )
});

impl Rule for Timeout {
    fn id(&self) -> &'static str {
        "timeout"
    }

    fn heading(&self) -> &'static str {
        "Timeout"
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        let detail = match evidence.end {
            End::Timeout(limit) => format!("ended at its limit of {} s", limit.as_secs()),
            End::Exit(124) => "exit code 124".to_owned(),
            _ => evidence.told(evidence.matches(&SIGN).next()?.get(0)?),
        };
        Some(Cause::new(
            self,
            evidence,
            detail,
            "Find what never ends: input that is waited for (stdin is closed), a server that \
             stays in the foreground, a lock, an endless loop, a network call; then see to what is \
             merely slow.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{check, check_end};
    use super::*;

    #[test]
    fn the_ending_tells() {
        let end = End::Timeout(Duration::from_secs(300));
        check_end(&Timeout, end, "", "ended at its limit of 300 s");
        check_end(&Timeout, End::Exit(124), "", "exit code 124");
    }

    #[test]
    fn libraries_tell() {
        check(
            &Timeout,
            "subprocess.TimeoutExpired: Command '['taskli', 'serve']' timed out after 5 seconds\n",
            "`TimeoutExpired`",
        );
        check(
            &Timeout,
            "    thrown: \"Exceeded timeout of 5000 ms for a test.\n",
            "`Exceeded timeout of 5000 ms`",
        );
    }

    #[test]
    fn an_option_of_that_name_is_no_cause() {
        check(&Timeout, "usage: taskli [--timeout SECONDS]\n", "");
    }
}
