//! Copies of directory trees, sharing blocks where the file system can.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::at::{self, Kind, MAX_DEPTH, Stat};

/// What a copy came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Regular files.
    pub files: u64,
    /// How many of them share their blocks with the original until one of the two changes.
    pub cloned: u64,
    /// Directories, the top one included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Named pipes, sockets and devices that were left out.
    pub skipped: u64,
    /// The sizes of the files together.
    pub bytes: u64,
}

/// Copies the directory `from` to `to`, which must not exist.
///
/// Modes and modification times are kept, since build tools compare them; so are hard links within
/// the tree. Symbolic links are copied as links, none is followed. Special files are left out and
/// counted. A copy that fails leaves what it had made.
///
/// # Errors
/// `from` is no directory or can't be read whole, it nests more than 128 deep, `to` exists, or
/// the disk is full.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<CopyReport> {
    let source = at::open_root(from)?;
    rustix::fs::mkdirat(CWD, to, at::permissions(0o700))?;
    let target = at::open_root(to)?;
    let mut copy = Copy::into(&target)?;
    copy.directory(&source, &target, 0)?;
    Ok(copy.report)
}

/// Copies what is called `name` in the directory `from`, a directory with all that is in it, a file or a link, into
/// the directory `to`, as [`copy_tree`] copies what it finds.
///
/// # Errors
/// It is not there, `to` has something of that name, or as for [`copy_tree`].
pub fn copy_entry(from: &Path, to: &Path, name: &OsStr) -> io::Result<CopyReport> {
    let (source, target) = (at::open_root(from)?, at::open_root(to)?);
    copy_open(source.as_fd(), target.as_fd(), name.as_bytes())
}

/// Does what [`copy_entry`] does from one open directory to another.
pub(super) fn copy_open(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    name: &[u8],
) -> io::Result<CopyReport> {
    let (source, target) = (source.try_clone_to_owned()?, target.try_clone_to_owned()?);
    let stat = at::stat(source.as_fd(), name)?.ok_or(io::ErrorKind::NotFound)?;
    let mut copy = Copy::into(&target)?;
    copy.entry(&source, &target, name, &stat, 0)?;
    Ok(copy.report)
}

struct Copy {
    report: CopyReport,
    /// Where the first copy of a file with several names is, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    top: OwnedFd,
    may_clone: bool,
    /// The path below the top, each component followed by a slash.
    path: Vec<u8>,
}

impl Copy {
    fn into(top: &OwnedFd) -> io::Result<Self> {
        let (report, links) = (CopyReport::default(), HashMap::new());
        Ok(Self { report, links, top: top.try_clone()?, may_clone: true, path: Vec::new() })
    }

    fn directory(&mut self, source: &OwnedFd, target: &OwnedFd, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("directories nest more than {MAX_DEPTH} deep")));
        }
        self.report.directories += 1;
        for name in at::names(source.as_fd())? {
            if let Some(stat) = at::stat(source.as_fd(), &name)? {
                self.entry(source, target, &name, &stat, depth)?;
            }
        }
        // Last, since each entry made in it changed its time, and it may be read-only.
        let stat = at::stat_open(source)?;
        rustix::fs::fchmod(target, at::permissions(stat.mode & 0o777))?;
        Ok(rustix::fs::futimens(target, &times(&stat))?)
    }

    fn entry(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> io::Result<()> {
        match stat.kind {
            Kind::Directory => {
                rustix::fs::mkdirat(target, name, at::permissions(0o700))?;
                let inner = at::open_dir(source.as_fd(), name)?;
                let copy = at::open_dir(target.as_fd(), name)?;
                let length = self.path.len();
                self.path.extend_from_slice(name);
                self.path.push(b'/');
                self.directory(&inner, &copy, depth + 1)?;
                self.path.truncate(length);
            }
            Kind::File => self.file(source.as_fd(), target.as_fd(), name, stat)?,
            Kind::Symlink => {
                let points_to = at::read_link(source.as_fd(), name)?;
                rustix::fs::symlinkat(points_to, target, name)?;
                rustix::fs::utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
                self.report.symlinks += 1;
            }
            Kind::Fifo | Kind::Socket | Kind::Device => self.report.skipped += 1,
        }
        Ok(())
    }

    fn file(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
    ) -> io::Result<()> {
        if stat.links > 1 {
            let path = [&self.path, name].concat();
            let first = self.links.entry((stat.device, stat.signature.inode));
            match first {
                std::collections::hash_map::Entry::Occupied(first) => {
                    let first = first.get().as_slice();
                    rustix::fs::linkat(&self.top, first, target, name, AtFlags::empty())?;
                    self.report.files += 1;
                    return Ok(());
                }
                std::collections::hash_map::Entry::Vacant(first) => first.insert(path),
            };
        }
        let mut from = at::open_file(source, name)?;
        let mut to = at::create(target, name, 0o600)?;
        if self.may_clone && clone(&from, &to) {
            self.report.cloned += 1;
        } else {
            // One refusal speaks for the file system; asking for each file would cost.
            self.may_clone = false;
            io::copy(&mut from, &mut to)?;
        }
        rustix::fs::fchmod(&to, at::permissions(stat.mode & 0o777))?;
        rustix::fs::futimens(&to, &times(stat))?;
        self.report.files += 1;
        self.report.bytes += stat.signature.size;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn clone(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn clone(_: &File, _: &File) -> bool {
    false
}

fn times(stat: &Stat) -> Timestamps {
    let spec = |(seconds, nanoseconds): (i64, i64)| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds as _,
    };
    Timestamps { last_access: spec(stat.accessed), last_modification: spec(stat.modified) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_copy_has_the_same_modes_times_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/read-only")).unwrap();
        fs::write(from.join("a/read-only/x"), "x").unwrap();
        fs::write(from.join("run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::hard_link(from.join("run"), from.join("a/run-too")).unwrap();
        symlink("/etc", from.join("link")).unwrap();
        rustix::fs::mkfifoat(CWD, from.join("pipe"), at::permissions(0o600)).unwrap();
        let past = fs::File::open(from.join("run")).unwrap();
        past.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000, 7)).unwrap();
        let locked = fs::Permissions::from_mode(0o555);
        fs::set_permissions(from.join("a/read-only"), locked).unwrap();

        let report = copy_tree(&from, &to).unwrap();
        let CopyReport { files, directories, symlinks, skipped, bytes, .. } = report;
        assert_eq!((files, directories, symlinks, skipped, bytes), (3, 3, 1, 1, 11));
        assert_eq!((mode(&to.join("run")), mode(&to.join("a/read-only"))), (0o755, 0o555));
        for at in ["run", "a", "a/read-only/x", "link"] {
            let mtime = |root: &Path| {
                let metadata = fs::symlink_metadata(root.join(at)).unwrap();
                (metadata.mtime(), metadata.mtime_nsec())
            };
            assert_eq!(mtime(&from), mtime(&to), "{at}");
        }
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc"));
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&to.join("run")), inode(&to.join("a/run-too")));
        assert_ne!(inode(&to.join("run")), inode(&from.join("run")));
        assert!(!to.join("pipe").exists());
        super::super::remove_tree(&from).unwrap();
        super::super::remove_tree(&to).unwrap();
    }

    #[test]
    fn an_existing_target_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        symlink(dir.path(), &to).unwrap();
        assert_eq!(copy_tree(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(copy_tree(&to, &dir.path().join("new")).is_err(), "a link is no tree");
    }
}
