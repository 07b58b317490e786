//! The blobs of a run, for a reader of one audience: what is above it becomes a placeholder.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::event::{Audience, BlobRef, Label};
use crate::journal::{StoreError, blob_path, read_blob};

/// Reads the blobs of one run.
#[derive(Debug, Clone)]
pub struct Blobs {
    dir: PathBuf,
    audience: Audience,
}

impl Blobs {
    /// Reads the blobs of the run in `dir` for `audience`.
    pub fn of(dir: &Path, audience: Audience) -> Self {
        Self { dir: dir.to_owned(), audience }
    }

    /// Returns whether the reader may see this blob.
    pub fn may_read(&self, blob: &BlobRef) -> bool {
        self.audience.may_read(blob.label)
    }

    /// Returns the bytes; a placeholder where they are not for this reader.
    ///
    /// # Errors
    /// The blob is missing or damaged.
    pub fn bytes(&self, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
        if self.may_read(blob) {
            read_blob(&self.dir, blob)
        } else {
            Ok(placeholder(blob).into_bytes())
        }
    }

    /// Returns the text, decoded leniently; a placeholder where it is not for this reader.
    ///
    /// # Errors
    /// The blob is missing or damaged.
    pub fn text(&self, blob: &BlobRef) -> Result<String, StoreError> {
        Ok(String::from_utf8_lossy(&self.bytes(blob)?).into_owned())
    }

    /// Returns the value of a blob of JSON; none where it is not for this reader.
    ///
    /// # Errors
    /// The blob is missing or damaged, or holds something else.
    pub fn json<T: DeserializeOwned>(&self, blob: &BlobRef) -> Result<Option<T>, StoreError> {
        if !self.may_read(blob) {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&read_blob(&self.dir, blob)?)?))
    }

    /// Returns the blob's file, for a person who wants to use it; none where it is not for this
    /// reader.
    pub fn path(&self, blob: &BlobRef) -> Option<PathBuf> {
        self.may_read(blob).then(|| blob_path(&self.dir, blob))
    }
}

/// Returns what stands in the place of a blob: `[holdout: 1,234 bytes]`.
pub fn placeholder(blob: &BlobRef) -> String {
    let label = match blob.label {
        Label::Public => "public",
        Label::Internal => "internal",
        Label::Holdout => "holdout",
    };
    let digits = blob.bytes.to_string();
    let mut count = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            count.push(',');
        }
        count.push(digit);
    }
    format!("[{label}: {count} {}]", if blob.bytes == 1 { "byte" } else { "bytes" })
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestRun;
    use super::*;
    use crate::id::Digest;

    #[test]
    fn a_placeholder_tells_label_and_size() {
        let blob = |bytes, label| BlobRef { digest: Digest::of(b""), bytes, label };
        assert_eq!(placeholder(&blob(1_234, Label::Holdout)), "[holdout: 1,234 bytes]");
        assert_eq!(placeholder(&blob(999, Label::Internal)), "[internal: 999 bytes]");
        assert_eq!(placeholder(&blob(1_000_000, Label::Public)), "[public: 1,000,000 bytes]");
        assert_eq!(placeholder(&blob(1, Label::Public)), "[public: 1 byte]");
    }

    #[test]
    fn what_is_above_the_audience_is_not_even_opened() {
        let run = TestRun::begin("20261120-091500-0001");
        let secret = run.put(Label::Holdout, "the exam");
        let blobs = Blobs::of(&run.dir(), Audience(Label::Internal));
        assert_eq!(blobs.text(&secret).unwrap(), "[holdout: 8 bytes]");
        assert_eq!(blobs.json::<String>(&secret).unwrap(), None);
        assert_eq!(blobs.path(&secret), None);
        let all = Blobs::of(&run.dir(), Audience(Label::Holdout));
        assert_eq!(all.text(&secret).unwrap(), "the exam");
    }
}
