//! Blobs: the text of a run, each labelled for who may read it.

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// Points to a blob beside the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Names the blob by its content.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Who may read it.
    pub label: Label,
}

/// Who a blob is for, least guarded first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Anyone, the agent too.
    Public,
    /// The people of the repository.
    Internal,
    /// Those who may see the exam.
    Holdout,
}

/// Whom a reader shows blobs to; what is above it becomes a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience(pub Label);

impl Audience {
    /// Returns whether a blob of `label` may be shown.
    pub fn may_read(self, label: Label) -> bool {
        label <= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_reads_public_blobs_only() {
        let agent = Audience(Label::Public);
        assert!(agent.may_read(Label::Public));
        assert!(!agent.may_read(Label::Internal));
        assert!(!agent.may_read(Label::Holdout));
    }
}
