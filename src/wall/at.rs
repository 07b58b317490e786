//! Files met one directory at a time, so that no symbolic link is ever followed.
//!
//! Every name is resolved in an open directory. What an agent put in place of a directory or file
//! is seen as what it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// How deep directories may nest. Each level of a walk holds an open directory.
pub(super) const MAX_DEPTH: usize = 128;

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    Device,
}

/// What the file system says of an entry, symbolic links not followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub(super) kind: Kind,
    /// The permission bits.
    pub(super) mode: u32,
    pub(super) links: u64,
    pub(super) device: u64,
    /// The last access, in seconds and nanoseconds.
    pub(super) accessed: (i64, i64),
    /// The last change of the content, likewise.
    pub(super) modified: (i64, i64),
    pub(super) signature: Signature,
}

/// What changes whenever a file does: two equal ones mean equal bytes. Times are nanoseconds since
/// 1970 began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) changed: i64,
    pub(super) inode: u64,
}

impl Stat {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    fn from(stat: &rustix::fs::Stat) -> Self {
        let nanos = |(seconds, rest): (i64, i64)| seconds.saturating_mul(1_000_000_000) + rest;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            _ => Kind::Device,
        };
        let modified = (stat.st_mtime as i64, stat.st_mtime_nsec as i64);
        Self {
            kind,
            mode: stat.st_mode as u32 & 0o7777,
            links: stat.st_nlink as u64,
            device: stat.st_dev as u64,
            accessed: (stat.st_atime as i64, stat.st_atime_nsec as i64),
            modified,
            signature: Signature {
                size: stat.st_size as u64,
                modified: nanos(modified),
                changed: nanos((stat.st_ctime as i64, stat.st_ctime_nsec as i64)),
                inode: stat.st_ino as u64,
            },
        }
    }

    /// Whether the owner may execute it.
    pub(super) fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

/// Opens the directory at `path`, which must not be a symbolic link itself.
pub(super) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the directory `name` in `parent`.
pub(super) fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?)
}

/// Opens the file `name` in `parent` for reading. Does not wait where it is a named pipe.
pub(super) fn open_file(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?))
}

/// Makes the file `name` in `parent`, which must not exist in any form.
pub(super) fn create(parent: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(parent, name, flags, permissions(mode))?))
}

pub(super) fn permissions(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode as rustix::fs::RawMode)
}

/// Returns what `name` in `parent` is; none where there is nothing.
pub(super) fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Stat::from(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns what an open file or directory is.
pub(super) fn stat_open(file: impl AsFd) -> io::Result<Stat> {
    Ok(Stat::from(&rustix::fs::fstat(file)?))
}

/// Returns the names in an open directory, sorted, without `.` and `..`.
pub(super) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns what the symbolic link `name` in `parent` points to.
pub(super) fn read_link(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes())
}

/// Lets the owner list and change the directory `name`, which `stat` describes.
pub(super) fn unlock(parent: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> io::Result<()> {
    if stat.mode & 0o700 != 0o700 {
        rustix::fs::chmodat(parent, name, permissions(stat.mode | 0o700), AtFlags::empty())?;
    }
    Ok(())
}

/// Reads at most `limit` bytes.
pub(super) fn read_up_to(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A directory beside a tree into which things are moved to be deleted, so that the depth of what
/// an agent made costs nothing.
#[derive(Debug, Clone)]
pub(super) struct Trash(PathBuf);

impl Trash {
    /// Uses `path`, on the file system of what is to be deleted.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Deletes `name` in `parent`, whatever it is; nothing happens where there is nothing.
    pub(super) fn take(&self, parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        match stat(parent, name)? {
            None => Ok(()),
            Some(found) if found.kind != Kind::Directory => {
                Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
            }
            Some(found) => {
                // Most are empty or flat, and need no detour.
                if rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok() {
                    return Ok(());
                }
                std::fs::create_dir_all(&self.0)?;
                let trash = open_root(&self.0)?;
                let free = next_free(trash.as_fd())?;
                unlock(parent, name, &found)?;
                rustix::fs::renameat(parent, name, &trash, number(free))?;
                self.empty()
            }
        }
    }

    /// Deletes what is in it, and itself.
    pub(super) fn empty(&self) -> io::Result<()> {
        let trash = match open_root(&self.0) {
            Ok(trash) => trash,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut free = next_free(trash.as_fd())?;
        loop {
            let round = names(trash.as_fd())?;
            if round.is_empty() {
                return std::fs::remove_dir(&self.0);
            }
            for name in round {
                free = flatten(trash.as_fd(), &name, free)?;
            }
        }
    }
}

/// Deletes `name` in `trash`; directories in it are moved up into `trash` for the next round.
/// Returns the next free number.
fn flatten(trash: BorrowedFd<'_>, name: &[u8], mut free: u64) -> io::Result<u64> {
    let Some(found) = stat(trash, name)? else { return Ok(free) };
    if found.kind != Kind::Directory {
        rustix::fs::unlinkat(trash, name, AtFlags::empty())?;
        return Ok(free);
    }
    unlock(trash, name, &found)?;
    let dir = open_dir(trash, name)?;
    for child in names(dir.as_fd())? {
        // Whether it is a directory shows by trying, at half the calls.
        match rustix::fs::unlinkat(&dir, &child, AtFlags::empty()) {
            Ok(()) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(found) = stat(dir.as_fd(), &child)? else { continue };
        if found.kind != Kind::Directory {
            return Err(Errno::PERM.into());
        }
        unlock(dir.as_fd(), &child, &found)?;
        rustix::fs::renameat(&dir, &child, trash, number(free))?;
        free += 1;
    }
    rustix::fs::unlinkat(trash, name, AtFlags::REMOVEDIR)?;
    Ok(free)
}

fn next_free(trash: BorrowedFd<'_>) -> io::Result<u64> {
    let used = names(trash)?;
    let used = used.iter().filter_map(|name| std::str::from_utf8(name).ok()?.parse::<u64>().ok());
    Ok(used.max().map_or(0, |most| most + 1))
}

fn number(free: u64) -> Vec<u8> {
    free.to_string().into_bytes()
}

/// Removes what is at `path`, read-only directories and any depth included; symbolic links are
/// removed, not followed. Nothing happens where there is nothing.
///
/// # Errors
/// Something belongs to another user, or the disk fails. What is left then lies at `path` or
/// beside it in `.NAME.trash`, which the next call removes.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("a file system's root can't be removed"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let mut trash = std::ffi::OsString::from(".");
    trash.push(name);
    trash.push(".trash");
    let trash = Trash::at(parent.join(trash));
    trash.empty()?;
    // The way to it is the caller's, links and all.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    trash.take(parent.as_fd(), name.as_encoded_bytes())
}

/// The open directories from a root down to where work goes on. Meant for sorted paths.
pub(super) struct Dirs {
    root: OwnedFd,
    /// Whose what is made becomes; none leaves it this user's.
    owner: Owner,
    open: Vec<(Vec<u8>, OwnedFd)>,
}

impl Dirs {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, owner: None, open: Vec::new() }
    }

    pub(super) fn owned_by(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Returns the directory that holds `path`, and its last component; none where a directory on
    /// the way is missing or no directory.
    pub(super) fn find<'p>(
        &mut self,
        path: &'p [u8],
    ) -> io::Result<Option<(BorrowedFd<'_>, &'p [u8])>> {
        match self.enter(path, &mut open_dir) {
            Ok(name) => Ok(Some((self.top(), name))),
            Err(error) if is_no_directory(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the directory that holds `path`, and its last component. What is in the way of a
    /// directory goes; what is missing is made.
    pub(super) fn make<'p>(
        &mut self,
        path: &'p [u8],
        trash: &Trash,
    ) -> io::Result<(BorrowedFd<'_>, &'p [u8])> {
        let owner = self.owner;
        let name = self.enter(path, &mut |parent, name| make_dir(parent, name, trash, owner))?;
        Ok((self.top(), name))
    }

    fn top(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root.as_fd(), |(_, dir)| dir.as_fd())
    }

    fn enter<'p>(
        &mut self,
        path: &'p [u8],
        open: &mut dyn FnMut(BorrowedFd<'_>, &[u8]) -> io::Result<OwnedFd>,
    ) -> io::Result<&'p [u8]> {
        let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let name = parts.pop().unwrap_or_default();
        let same = self.open.iter().zip(&parts).take_while(|((open, _), part)| open == *part);
        let same = same.count();
        self.open.truncate(same);
        for part in &parts[same..] {
            let dir = open(self.top(), part)?;
            self.open.push((part.to_vec(), dir));
        }
        Ok(name)
    }
}

/// Opens the directory `name` in `parent`, made if it is not there.
pub(super) fn make_dir(
    parent: BorrowedFd<'_>,
    name: &[u8],
    trash: &Trash,
    owner: Owner,
) -> io::Result<OwnedFd> {
    match stat(parent, name)? {
        Some(found) if found.kind == Kind::Directory => {
            unlock(parent, name, &found)?;
            return open_dir(parent, name);
        }
        Some(_) => trash.take(parent, name)?,
        None => {}
    }
    rustix::fs::mkdirat(parent, name, permissions(0o777))?;
    give(parent, name, owner)?;
    open_dir(parent, name)
}

/// Whom something belongs to, user and group.
pub(super) type Owner = Option<(u32, u32)>;

/// Gives `name` in `parent`, a link itself where it is one, to `owner`.
pub(super) fn give(parent: BorrowedFd<'_>, name: &[u8], owner: Owner) -> io::Result<()> {
    let Some((user, group)) = owner else { return Ok(()) };
    let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    Ok(rustix::fs::chownat(parent, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn is_no_directory(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::MLINK))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at = open_root(&top).unwrap();
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&at, "d", permissions(0o700)).unwrap();
            create(at.as_fd(), b"f", 0o600).unwrap();
            at = open_dir(at.as_fd(), b"d").unwrap();
        }
        remove_tree(&top).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        remove_tree(&top).unwrap();
    }

    #[test]
    fn a_link_is_removed_and_what_it_points_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, tree) = (dir.path().join("outside"), dir.path().join("tree"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, tree.join("a/b/link")).unwrap();
        fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o0)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(outside.join("kept").exists() && !tree.exists());
        symlink(&outside, &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(outside.join("kept").exists() && tree.symlink_metadata().is_err());
    }

    #[test]
    fn a_removal_that_was_cut_short_is_finished_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".tree.trash/0/7")).unwrap();
        fs::create_dir_all(dir.path().join("tree/0/1")).unwrap();
        remove_tree(&dir.path().join("tree")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
