//! Object ids, and the id that git would give some bytes.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::id::hex;

/// The id of a git object: 40 or 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(String);

/// A text that is no object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no git object id; it takes 40 or 64 hexadecimal digits")]
pub struct OidError {
    text: String,
}

impl Oid {
    /// Parses 40 or 64 hexadecimal digits; upper-case digits become lower-case ones.
    ///
    /// # Errors
    /// The text has another length or another character.
    pub fn parse(text: &str) -> Result<Self, OidError> {
        if matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(OidError { text: crate::text::one_line(text, 80) })
        }
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first ten digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Oid {
    type Error = OidError;
    fn try_from(text: String) -> Result<Self, OidError> {
        Self::parse(&text)
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> String {
        oid.0
    }
}

/// The hash that a repository names its objects by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// SHA-1, 40 digits.
    Sha1,
    /// SHA-256, 64 digits.
    Sha256,
}

impl ObjectFormat {
    /// Returns git's name of the format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// Returns the id that stands for "no object".
    pub(super) fn zero(self) -> &'static str {
        const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        match self {
            Self::Sha1 => &ZEROS[..40],
            Self::Sha256 => ZEROS,
        }
    }
}

/// Returns the id that git gives a blob of these bytes.
pub fn blob_id(format: ObjectFormat, bytes: &[u8]) -> Oid {
    let mut hasher = BlobHasher::new(format, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

/// Returns the id that git gives a commit of these bytes.
pub(super) fn commit_id(format: ObjectFormat, bytes: &[u8]) -> Oid {
    let mut hasher = BlobHasher::of("commit", format, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

/// Returns the id that git gives a blob of the `size` bytes that `from` yields.
///
/// # Errors
/// Reading failed, or `from` yielded more or fewer bytes.
pub fn blob_id_of(format: ObjectFormat, size: u64, from: &mut dyn Read) -> io::Result<Oid> {
    let mut hasher = BlobHasher::new(format, size);
    let mut buffer = [0; 32 * 1024];
    let mut read = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) if read == size => return Ok(hasher.finish()),
            Ok(0) => return Err(io::Error::other("the file became smaller while it was read")),
            Ok(count) => {
                read += count as u64;
                if read > size {
                    return Err(io::Error::other("the file grew while it was read"));
                }
                hasher.update(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Computes a blob's id from bytes that come in pieces.
pub struct BlobHasher(Hasher);

enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl BlobHasher {
    /// Begins a blob of `size` bytes.
    pub fn new(format: ObjectFormat, size: u64) -> Self {
        Self::of("blob", format, size)
    }

    fn of(kind: &str, format: ObjectFormat, size: u64) -> Self {
        let mut new = Self(match format {
            ObjectFormat::Sha1 => Hasher::Sha1(Sha1::new()),
            ObjectFormat::Sha256 => Hasher::Sha256(Sha256::new()),
        });
        new.update(format!("{kind} {size}\0").as_bytes());
        new
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the id.
    pub fn finish(self) -> Oid {
        Oid(match self.0 {
            Hasher::Sha1(hasher) => hex(&hasher.finalize()),
            Hasher::Sha256(hasher) => hex(&hasher.finalize()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_blob_has_the_id_that_everyone_knows() {
        assert_eq!(
            blob_id(ObjectFormat::Sha1, b"").as_str(),
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        );
        assert_eq!(
            blob_id(ObjectFormat::Sha256, b"").as_str(),
            "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"
        );
    }

    #[test]
    fn bytes_in_pieces_have_the_same_id() {
        let bytes = vec![7; 100_000];
        let id = blob_id_of(ObjectFormat::Sha1, 100_000, &mut bytes.as_slice()).unwrap();
        assert_eq!(id, blob_id(ObjectFormat::Sha1, &bytes));
        assert!(blob_id_of(ObjectFormat::Sha1, 99_999, &mut bytes.as_slice()).is_err());
        assert!(blob_id_of(ObjectFormat::Sha1, 100_001, &mut bytes.as_slice()).is_err());
    }

    #[test]
    fn only_40_or_64_digits_are_an_id() {
        assert!(Oid::parse(&"a".repeat(40)).is_ok());
        assert!(Oid::parse(&"F".repeat(64)).is_ok());
        for bad in ["", "HEAD", &"a".repeat(41), &"g".repeat(40)] {
            assert!(Oid::parse(bad).is_err(), "{bad}");
        }
    }
}
