//! Looks at what an evaluation left in the tree, for the pass criteria. Never leads out of the tree,
//! never waits for whoever writes to a FIFO, and reads no more than a bound.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::verdict::criteria::Found;

/// The most that is read of a file, in bytes.
const MOST: u64 = 4 << 20;

/// Returns what stands at `path`, relative to `root`. Links are followed as long as they stay below
/// `root`; of a file at most 4 MiB are read.
pub fn look_at(root: &Path, path: &str) -> Found {
    look(root, &root.join(path)).unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Found::Missing,
        _ => Found::Unreadable { why: error.to_string() },
    })
}

fn look(root: &Path, path: &Path) -> io::Result<Found> {
    let unreadable = |why: &str| Ok(Found::Unreadable { why: why.to_owned() });
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(_) if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) => {
            return unreadable("it is a link to nowhere");
        }
        Err(error) => return Err(error),
    };
    if !target.starts_with(fs::canonicalize(root)?) {
        return unreadable("it leads out of the tree");
    }
    if let Some(found) = no_file(&fs::metadata(&target)?) {
        return Ok(found);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(&target, flags, Mode::empty())?);
    // Something else may have come there since.
    if let Some(found) = no_file(&file.metadata()?) {
        return Ok(found);
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    let cut = bytes.len() as u64 > MOST;
    bytes.truncate(MOST as usize);
    Ok(Found::File { bytes, cut })
}

fn no_file(found: &Metadata) -> Option<Found> {
    if found.is_dir() { Some(Found::Directory) } else { (!found.is_file()).then_some(Found::Other) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_there_is_told_and_nothing_outside_is_read() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir_all(root.join("dir")).unwrap();
        fs::write(base.path().join("outside"), "secret").unwrap();
        fs::write(root.join("dir/a"), "text").unwrap();
        symlink("dir/a", root.join("inside")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("/dev/zero", root.join("device")).unwrap();
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), mode).unwrap();
        let text = Found::File { bytes: b"text".to_vec(), cut: false };
        for (path, expected) in [
            ("dir/a", text.clone()),
            ("inside", text),
            ("dir", Found::Directory),
            ("fifo", Found::Other),
            ("none", Found::Missing),
            ("dir/a/b", Found::Missing),
        ] {
            assert_eq!(look_at(&root, path), expected, "{path}");
        }
        for path in ["out", "dangling", "device", "../outside"] {
            assert!(matches!(look_at(&root, path), Found::Unreadable { .. }), "{path}");
        }
    }

    #[test]
    fn a_large_file_is_cut() {
        let root = tempfile::tempdir().unwrap();
        File::create(root.path().join("a")).unwrap().set_len(MOST + 1).unwrap();
        let Found::File { bytes, cut } = look_at(root.path(), "a") else { panic!("no file") };
        assert_eq!((bytes.len() as u64, cut), (MOST, true));
    }
}
