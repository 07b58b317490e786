//! A run's state in a directory: `events.jsonl` and `blobs/`.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::file::write_durably;
use super::runs::{blob_path, read_blob};
use super::{RunStore, StoreError};
use crate::event::{BlobRef, Label};
use crate::id::Digest;

/// A run's state in a directory.
pub struct DirStore {
    dir: PathBuf,
    journal: File,
}

impl DirStore {
    /// Opens the state in `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// The directory or the journal can't be made or opened.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let blobs = dir.join("blobs");
        std::fs::create_dir_all(&blobs).map_err(io("making", &blobs))?;
        let path = dir.join("events.jsonl");
        let journal = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .map_err(io("opening", &path))?;
        Ok(Self { dir: dir.to_owned(), journal })
    }

    fn path(&self) -> PathBuf {
        self.dir.join("events.jsonl")
    }
}

/// Makes the error of something done to a file.
pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing, path, source }
}

impl RunStore for DirStore {
    fn append(&mut self, line: &str, sync: bool) -> Result<(), StoreError> {
        let path = self.path();
        // One write: a reader sees the whole line or none of it.
        let mut bytes = line.as_bytes().to_vec();
        bytes.push(b'\n');
        let before = self.journal.metadata().map_err(io("reading", &path))?.len();
        let written = self.journal.write_all(&bytes).map_err(io("writing", &path)).and_then(|()| {
            if sync { self.journal.sync_data().map_err(io("syncing", &path)) } else { Ok(()) }
        });
        if written.is_err() {
            // A part of the line may be there, and would spoil the next one, if there is room again.
            let _ = self.journal.set_len(before);
        }
        written?;
        Ok(())
    }

    fn lines(&mut self) -> Result<Vec<String>, StoreError> {
        let path = self.path();
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(io("reading", &path))?;
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if complete < bytes.len() {
            self.journal.set_len(complete as u64).map_err(io("cutting", &path))?;
            self.journal.sync_data().map_err(io("syncing", &path))?;
        }
        Ok(String::from_utf8_lossy(&bytes[..complete]).lines().map(str::to_owned).collect())
    }

    fn put(&self, label: Label, bytes: &[u8]) -> Result<BlobRef, StoreError> {
        let blob = BlobRef { digest: Digest::of(bytes), bytes: bytes.len() as u64, label };
        let path = blob_path(&self.dir, &blob);
        if !path.exists() {
            write_durably(&path, bytes).map_err(io("writing", &path))?;
        }
        Ok(blob)
    }

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
        read_blob(&self.dir, blob)
    }
}
