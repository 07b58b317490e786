//! A check of the product's own tests, or of an evaluation, that did not hold.

use std::sync::LazyLock;

use regex::Regex;

use super::{Cause, Evidence, Rule, pattern};

/// Recognises failed assertions of Python, Rust, node and Go.
#[derive(Debug)]
pub(super) struct Assertion;

static SIGNS: LazyLock<[Regex; 7]> = LazyLock::new(|| {
    [
        pattern(r"^E +(assert [^\n]+)$"),
        pattern(r"^(?:E +)?(?:AssertionError|AssertionError \[ERR_ASSERTION\]): ([^\n]+)$"),
        pattern(r"(assertion (?:`[^`\n]+` )?failed(?:: [^\n]+)?)"),
        pattern(r"AssertionError \[ERR_ASSERTION\]: ([^\n]+)$"),
        pattern(r"^\s*--- FAIL: ([^\s(]+)"),
        pattern(r"^\s*(expect\([^\n]+)$"),
        pattern(r"^(?:E +)?(AssertionError)$"),
    ]
});

/// What `diff` and scripts that compare print.
static DIFFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@|^\d+(?:,\d+)?[acd]\d+(?:,\d+)?$|^(?:--- )?(?i:expected)\b.*\n(?:.*\n){0,20}?(?:--- )?(?i:actual|got|received)\b)",
    )
});

impl Rule for Assertion {
    fn id(&self) -> &'static str {
        "assertion"
    }

    fn heading(&self) -> &'static str {
        "Failed assertion"
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        let detail = match evidence.first_group(&*SIGNS) {
            Some(said) => evidence.told(said),
            None if evidence.matches(&DIFFERENCE).next().is_some() => {
                "another output than expected".to_owned()
            }
            None => return None,
        };
        Some(Cause::new(
            self,
            evidence,
            detail,
            "The product runs and gives another result than the specs ask for; compare what it \
             does with the specs and correct the behaviour, not the check.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn python_and_pytest_say_what_did_not_hold() {
        check(
            &Assertion,
            "Traceback (most recent call last):\n  File \"<stdin>\", line 4, in <module>\n\
             AssertionError: expected 2 tasks, got 3\n",
            "`expected 2 tasks, got 3`",
        );
        check(
            &Assertion,
            "    def test_add():\n>       assert add(1, 2) == 4\nE       assert 3 == 4\nE        +  \
             where 3 = add(1, 2)\n",
            "`assert 3 == 4`",
        );
        check(
            &Assertion,
            "Traceback (most recent call last):\nAssertionError\n",
            "`AssertionError`",
        );
    }

    #[test]
    fn rust_says_what_did_not_hold() {
        check(
            &Assertion,
            "thread 'tests::adds' panicked at src/lib.rs:9:9:\nassertion `left == right` failed: \
             adds\n  left: 3\n right: 4\n",
            "`assertion 'left == right' failed: adds`",
        );
        check(
            &Assertion,
            "assertion failed: tasks.is_empty()\n",
            "`assertion failed: tasks.is_empty()`",
        );
    }

    #[test]
    fn node_and_go_say_what_did_not_hold() {
        check(
            &Assertion,
            "node:assert:126\n  throw new AssertionError(obj);\n\nAssertionError [ERR_ASSERTION]: \
             Expected values to be strictly equal:\n\n3 !== 4\n",
            "`Expected values to be strictly equal:`",
        );
        check(&Assertion, "--- FAIL: TestAdd (0.00s)\n    add_test.go:9: got 3\n", "`TestAdd`");
    }

    #[test]
    fn a_difference_of_outputs_is_an_assertion_too() {
        for text in [
            "--- want.txt\n+++ got.txt\n@@ -1 +1 @@\n-a\n+b\n",
            "1c1\n< a\n---\n> b\n",
            "how 12 is listed\n--- expected\n12.00\n--- actual\n12.12\n",
            "Expected: 3\n     Got: 4\nExpected: 3\nReceived: 4\n",
        ] {
            check(&Assertion, text, "another output than expected");
        }
        check(&Assertion, "expected a date\n", "");
    }

    #[test]
    fn talk_of_assertions_is_no_cause() {
        check(&Assertion, "12 assertions, all of them held\n", "");
    }
}
