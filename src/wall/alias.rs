//! Short names of directories whose own are long: the system takes 107 bytes for the path of a socket, and programs
//! put theirs into the directory for temporary files, some way down.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::process::getuid;

use crate::id::Digest;

/// How long the path of a directory may be, in bytes, that leaves room for what programs add.
const ROOM: usize = 60;

/// Where short names stand.
const PLACE: &str = "/tmp";

/// Returns a path of `dir` that is short enough, its own or a link to it, which is made; its own where none can be
/// made, or somebody else's is in the way.
pub fn short_name(dir: &Path) -> PathBuf {
    if dir.as_os_str().len() <= ROOM {
        return dir.to_owned();
    }
    let link = link_of(dir);
    match symlink(dir, &link) {
        Ok(()) => link,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_ours(&link, dir) => link,
        Err(_) => dir.to_owned(),
    }
}

/// Removes the short name of `dir`, if it has one.
pub fn forget_short_name(dir: &Path) {
    let link = link_of(dir);
    if dir.as_os_str().len() > ROOM && is_ours(&link, dir) {
        // One that stays leads to the same directory the next time.
        let _ = fs::remove_file(link);
    }
}

fn link_of(dir: &Path) -> PathBuf {
    let digest = Digest::of(dir.as_os_str().as_bytes());
    Path::new(PLACE).join(format!("df-{}", &digest.as_str()[..16]))
}

/// Returns whether this user made `link`, and for `dir`: in a directory that is everybody's, anybody may have.
fn is_ours(link: &Path, dir: &Path) -> bool {
    let owner = fs::symlink_metadata(link).map(|meta| meta.uid());
    owner.is_ok_and(|owner| owner == getuid().as_raw())
        && fs::read_link(link).is_ok_and(|target| target == dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_gets_a_short_one_and_a_short_one_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(short_name(Path::new("/tmp/short")), Path::new("/tmp/short"));
        let long = base.path().join("a-name-that-is-long-".repeat(5));
        fs::create_dir(&long).unwrap();
        let short = short_name(&long);
        assert!(short.as_os_str().len() <= ROOM);
        assert_eq!(short_name(&long), short);
        fs::write(short.join("a"), "1").unwrap();
        assert!(long.join("a").exists());
        forget_short_name(&long);
        assert!(fs::symlink_metadata(&short).is_err());
        // What stands in the way and is not ours is not used, and left alone.
        fs::write(&short, "").unwrap();
        assert_eq!(short_name(&long), long);
        forget_short_name(&long);
        assert!(short.exists());
        fs::remove_file(&short).unwrap();
    }
}
