//! Conditions on edges: `outcome=fail && context.decision!=stop`.

use std::fmt;

use super::route::{Context, NodeOutcome};

/// Clauses that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition(Vec<Clause>);

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// `outcome`, `preferred_label` or `context.NAME`.
    pub key: String,
    /// Whether the value must be equal; else it must differ.
    pub equal: bool,
    /// The value as text.
    pub value: String,
}

/// A condition that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// There is nothing between two `&&`.
    #[error("the condition has an empty clause at byte {at}; write KEY=VALUE or KEY!=VALUE")]
    Empty {
        /// Where, in bytes.
        at: usize,
    },
    /// A clause without `=` or `!=`.
    #[error("`{clause}` at byte {at} compares nothing; write KEY=VALUE or KEY!=VALUE")]
    NoComparison {
        /// The clause.
        clause: String,
        /// Where, in bytes.
        at: usize,
    },
    /// A key that is no variable.
    #[error(
        "`{key}` at byte {at} is no variable; use `outcome`, `preferred_label` or `context.NAME`"
    )]
    UnknownKey {
        /// The key.
        key: String,
        /// Where, in bytes.
        at: usize,
    },
    /// A value with a character that has a meaning.
    #[error("the value `{value}` at byte {at} may not hold `=`, `!`, `&` or a blank")]
    BadValue {
        /// The value.
        value: String,
        /// Where, in bytes.
        at: usize,
    },
}

impl Condition {
    /// Reads clauses joined by `&&`.
    ///
    /// # Errors
    /// See [`ConditionError`].
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let mut clauses = Vec::new();
        let mut at = 0;
        for part in text.split("&&") {
            clauses.push(Clause::parse(part, at)?);
            at += part.len() + 2;
        }
        Ok(Self(clauses))
    }

    /// Returns the clauses, as written.
    pub fn clauses(&self) -> &[Clause] {
        &self.0
    }

    /// Returns whether every clause holds. A context variable that is not set is the empty text.
    pub fn holds(&self, outcome: &NodeOutcome, context: &Context) -> bool {
        self.0.iter().all(|clause| {
            let actual = match clause.key.as_str() {
                "outcome" => outcome.status.as_str(),
                "preferred_label" => outcome.preferred_label.as_deref().unwrap_or(""),
                key => key
                    .strip_prefix("context.")
                    .and_then(|name| context.get(name))
                    .map_or("", String::as_str),
            };
            (actual == clause.value) == clause.equal
        })
    }
}

impl Clause {
    fn parse(part: &str, start: usize) -> Result<Self, ConditionError> {
        let clause = part.trim();
        let at = start + (part.len() - part.trim_start().len());
        if clause.is_empty() {
            return Err(ConditionError::Empty { at });
        }
        let Some(sign) = clause.find(['=', '!']) else {
            return Err(ConditionError::NoComparison { clause: clause.to_owned(), at });
        };
        let (key, rest) = clause.split_at(sign);
        let (equal, value) = match (rest.strip_prefix("!="), rest.strip_prefix('=')) {
            (Some(value), _) => (false, value),
            (None, Some(value)) => (true, value),
            (None, None) => {
                return Err(ConditionError::NoComparison { clause: clause.to_owned(), at });
            }
        };
        let (key, value) = (key.trim(), value.trim());
        let named = key.strip_prefix("context.").is_some_and(|name| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        });
        if !named && !matches!(key, "outcome" | "preferred_label") {
            return Err(ConditionError::UnknownKey { key: key.to_owned(), at });
        }
        if value.contains(['=', '!', '&']) || value.contains(char::is_whitespace) {
            return Err(ConditionError::BadValue { value: value.to_owned(), at });
        }
        Ok(Self { key: key.to_owned(), equal, value: value.to_owned() })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, clause) in self.0.iter().enumerate() {
            let and = if i == 0 { "" } else { " && " };
            let sign = if clause.equal { "=" } else { "!=" };
            write!(f, "{and}{}{sign}{}", clause.key, clause.value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::Status;

    fn check(condition: &str, expected: bool) {
        let mut outcome = NodeOutcome::of(Status::Fail);
        outcome.preferred_label = Some("retry".to_owned());
        let context = Context::from([("decision".to_owned(), "stop".to_owned())]);
        let read = Condition::parse(condition).unwrap();
        assert_eq!(read.holds(&outcome, &context), expected, "{condition}");
    }

    #[test]
    fn every_clause_must_hold() {
        check("outcome=fail", true);
        check("outcome = fail && context.decision=stop", true);
        check("outcome=fail && context.decision!=stop", false);
        check("preferred_label=retry", true);
        check("context.never_set=", true);
    }

    #[test]
    fn an_error_names_the_clause_and_its_place() {
        for (text, message) in [
            ("outcome=fail && ", "the condition has an empty clause at byte 16"),
            ("outcome", "`outcome` at byte 0 compares nothing"),
            ("outcome!fail", "`outcome!fail` at byte 0 compares nothing"),
            ("a=b&&outcom=x", "`a` at byte 0 is no variable"),
            ("outcome=a=b", "the value `a=b` at byte 0 may not hold"),
        ] {
            let error = Condition::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            parts in proptest::collection::vec(
                ("outcome|preferred_label|context\\.[a-z_]{1,8}", any::<bool>(), "[a-z0-9_.-]{0,8}"),
                1..4,
            )
        ) {
            let clauses = parts
                .into_iter()
                .map(|(key, equal, value)| Clause { key, equal, value })
                .collect();
            let condition = Condition(clauses);
            prop_assert_eq!(Condition::parse(&condition.to_string()), Ok(condition));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Condition::parse(&text);
        }
    }
}
