//! The one record of what is hidden: written whole, durable, and read back strictly.
//!
//! A digest stands beside it, so that a byte that changed is found. That is no secret: whoever may
//! write in the vault can write another journal with its digest.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Owner;
use crate::clock::Timestamp;
use crate::id::Digest;

/// What is hidden, from where and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// 1.
    pub schema: u32,
    /// The place of the scenarios: absolute, with no link above it.
    pub scenarios: PathBuf,
    /// Marks the names that this hiding uses beside the scenarios.
    pub token: String,
    /// What the scenarios hold.
    pub digest: Digest,
    /// How many files and links.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// On whose behalf they are hidden.
    pub owner: Owner,
    /// Since when.
    pub since: Timestamp,
}

/// The journal as it lies in the vault.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    entry: Journal,
    /// Of the entry's compact JSON.
    digest: Digest,
}

impl Journal {
    /// The name of the journal in the vault.
    pub(super) const NAME: &str = "journal.json";

    /// Returns the place to which the scenarios are set aside to be compared with the copy.
    pub(super) fn aside(&self) -> PathBuf {
        self.scenarios.with_file_name(format!(".factory-hidden-{}", self.token))
    }

    /// Returns the place in which they are removed; what stands there may lack a part.
    pub(super) fn doomed(&self) -> PathBuf {
        self.scenarios.with_file_name(format!(".factory-removed-{}", self.token))
    }

    /// Returns the place in which the scenarios are put together before they are put back.
    pub(super) fn stage(&self) -> PathBuf {
        self.scenarios.with_file_name(format!(".factory-restored-{}", self.token))
    }

    /// Reads the journal of the vault; none where there is none.
    pub(super) fn read(vault: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(vault.join(Self::NAME)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let Sealed { entry: journal, digest } = serde_json::from_slice(&bytes)?;
        if digest != journal.seal()? {
            let message = "it was changed since it was written";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if journal.schema != 1 {
            let message = format!("its schema is {}, and this program knows 1", journal.schema);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Some(journal))
    }

    /// Writes the journal beside its place and renames it there.
    pub(super) fn write(&self, vault: &Path) -> io::Result<()> {
        let temporary = vault.join("journal.json.new");
        let sealed = Sealed { entry: self.clone(), digest: self.seal()? };
        let mut text = serde_json::to_vec_pretty(&sealed)?;
        text.push(b'\n');
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, vault.join(Self::NAME))?;
        fs::File::open(vault)?.sync_all()
    }

    /// Removes the journal; none is fine.
    pub(super) fn forget(vault: &Path) -> io::Result<()> {
        match fs::remove_file(vault.join(Self::NAME)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => fs::File::open(vault)?.sync_all(),
        }
    }

    fn seal(&self) -> io::Result<Digest> {
        Ok(Digest::of(&serde_json::to_vec(self)?))
    }
}
