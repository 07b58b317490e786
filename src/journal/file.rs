//! Files that are either as they were or as they should be, whatever happens in between.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes `bytes` to `path`, whose directory is made if it is missing: to a temporary file beside
/// it, synced, renamed over it, and the directory synced. The file has the mode of any new file.
///
/// # Errors
/// The disk said no; what was at `path` is then still there.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, 0o666, |file| file.write_all(bytes))
}

/// Does what [`write_durably`] does, with what `write` writes.
///
/// # Errors
/// The disk said no, or `write` did; what was at `path` is then still there.
pub fn write_durably_with(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    replace(path, 0o666, |file| {
        let mut buffered = io::BufWriter::with_capacity(1 << 16, file);
        write(&mut buffered)?;
        buffered.flush()
    })
}

/// Does what [`write_durably`] does, and lets nobody but the owner read the file.
///
/// # Errors
/// The disk said no; what was at `path` is then still there.
pub fn write_durably_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, 0o600, |file| file.write_all(bytes))
}

/// Makes a directory, and those on the way to it, for its owner alone; one that is there stays as it is.
///
/// # Errors
/// The disk said no, or something else is in the way.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn replace(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut temporary = tempfile::Builder::new()
        .prefix(".")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(dir)?;
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/results.json");
        write_durably(&path, b"one").unwrap();
        write_durably(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
