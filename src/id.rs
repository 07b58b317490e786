//! Identifiers: parsed once at the door, then carried as types.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A text that is not a usable identifier, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{kind} is empty; use a-z, 0-9 and `-`")]
    Empty {
        /// What the identifier names.
        kind: &'static str,
    },
    /// A character that the identifier may not hold.
    #[error("{kind} has {found:?} at byte {at}; use a-z, 0-9 and `-`")]
    Character {
        /// What the identifier names.
        kind: &'static str,
        /// The character that was found.
        found: char,
        /// Its byte offset.
        at: usize,
    },
}

/// How many digits of a digest tell names apart that are the same in ASCII.
const MARK: usize = 8;

fn check(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    match text
        .char_indices()
        .find(|(_, c)| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')))
    {
        Some((at, found)) => Err(IdError::Character { kind, found, at }),
        None => Ok(()),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses an identifier of lower-case letters, digits, `-` and `_`.
            ///
            /// # Errors
            /// Says which character is not allowed, and where it stands.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check($kind, text)?;
                Ok(Self(text.to_owned()))
            }

            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

identifier!(
    /// Names one scenario within a run: made from its file name, see [`ScenarioId::for_file`].
    ScenarioId,
    "scenario id"
);
identifier!(
    /// Names one node of a graph.
    NodeId,
    "node id"
);
identifier!(
    /// Names one run; sorts by the time at which the run began, and is fit for a branch name.
    RunId,
    "run id"
);

impl ScenarioId {
    /// Makes the id of the scenario in `file`, a path relative to the scenarios' directory.
    ///
    /// The path without `.md`, in lower case, each run of other characters than a-z, 0-9 and `_`
    /// made one `-`. Where the path has others than those of ASCII, a digest of it is appended, since what
    /// is left of such names is soon the same. Whatever other files there are, it stays what it is;
    /// two files can come to the same id.
    pub fn for_file(file: impl AsRef<[u8]>) -> Self {
        let file = file.as_ref();
        let stem = match file.len().checked_sub(3) {
            Some(end) if file[end..].eq_ignore_ascii_case(b".md") => &file[..end],
            _ => file,
        };
        let mut id = String::new();
        for c in String::from_utf8_lossy(stem).to_lowercase().chars() {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' {
                id.push(c);
            } else if !id.is_empty() && !id.ends_with('-') {
                id.push('-');
            }
        }
        let id = id.trim_end_matches('-');
        let id = if id.is_empty() { "scenario" } else { id };
        Self(match stem.is_ascii() {
            true => id.to_owned(),
            false => format!("{id}-{}", &Digest::of(stem).as_str()[..MARK]),
        })
    }
}

impl RunId {
    /// Makes a run's id from the compact UTC time at which it began and a mark that tells apart
    /// runs of one second.
    pub fn new(compact_time: &str, mark: u32) -> Self {
        Self(format!("{}-{:04x}", compact_time.to_lowercase(), mark & 0xffff))
    }
}

/// The SHA-256 digest of some bytes, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// Returns the 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_in_an_id_is_named_with_its_place() {
        let error = ScenarioId::parse("log in").unwrap_err();
        assert_eq!(error.to_string(), "scenario id has ' ' at byte 3; use a-z, 0-9 and `-`");
    }

    #[test]
    fn a_file_name_becomes_an_id() {
        for (file, id) in
            [("01_Log In.md", "01_log-in"), ("sub/dir/E!.MD", "sub-dir-e"), ("!.md", "scenario")]
        {
            assert_eq!(ScenarioId::for_file(file).as_str(), id, "{file}");
        }
    }

    #[test]
    fn a_name_beyond_ascii_has_an_id_of_its_own() {
        let id = |file: &str| ScenarioId::for_file(file).to_string();
        assert_eq!(
            id("登录.md"),
            format!("scenario-{}", &Digest::of("登录".as_bytes()).as_str()[..8])
        );
        assert!(id("sub/übung.md").starts_with("sub-bung-"));
        let ids: std::collections::BTreeSet<String> =
            ["登录", "退出", "🚀", "🎉", "übung", "öbung", "Übung"]
                .map(|name| id(&format!("{name}.md")))
                .into();
        assert_eq!(ids.len(), 7);
        assert_ne!(ScenarioId::for_file(b"\xff.md"), ScenarioId::for_file(b"\xfe.md"));
    }
}
