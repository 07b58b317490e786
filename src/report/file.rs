//! Writes a published file so that a reader sees the old one or the new one, never a part.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::journal::write_durably_with;

/// A file that could not be written, and why.
#[derive(Debug, thiserror::Error)]
#[error("can't write `{}`", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    source: io::Error,
}

impl WriteError {
    pub(super) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }
}

/// Writes `bytes` to the file at `path`, whose directory is made if it is not there.
///
/// The bytes go to a file beside it that takes its place once they are on the disk. What is no
/// regular file (`/dev/stdout`, a FIFO) is written as it is.
///
/// # Errors
/// The directory can't be made, or the file can't be written; the old one is then still there.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    replace(path, |file| file.write_all(bytes))
}

/// Does what [`write_atomically`] does with what `write` writes, piece by piece.
///
/// # Errors
/// As there, or `write` failed.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteError> {
    try_replace(path, write).map_err(|source| WriteError::new(path, source))
}

fn try_replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let special = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    // `/dev/stdout` may be a file, and is not ours to replace. Below `/dev/shm` files are files.
    if special || path.starts_with("/dev") && !path.starts_with("/dev/shm") {
        let mut file = BufWriter::new(File::options().write(true).open(path)?);
        write(&mut file)?;
        return file.flush();
    }
    // A link is kept, and what it points to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    write_durably_with(path, write)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn shared_memory_is_a_file_system_like_others() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = dir.path().join("a/results.json");
        write_atomically(&path, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/results.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o444, 0o444);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        write_atomically(Path::new("/dev/null"), b"x").unwrap();
        let error = write_atomically(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(error.to_string(), "can't write `/dev/full`");
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_directory_in_its_place_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_atomically(dir.path(), b"x").is_err());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(write_atomically(&file.join("below"), b"x").is_err());
    }
}
