//! A directory as the shuffle sees it: copied durably, compared by digest, removed.
//!
//! What counts is names, permissions, what links say, and bytes. Modification times of files are
//! kept too; owners, hard links and extended attributes are not. No link is ever followed.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::id::{Digest, hex};

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The digest over names, permissions, links' targets and bytes.
    pub digest: Digest,
    /// How many files and links.
    pub files: u64,
    /// How many bytes the files have.
    pub bytes: u64,
}

/// A path, and what went wrong there.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The system said no.
    Io(PathBuf, io::Error),
    /// Something that is neither file, link nor directory, or is another file system.
    Unsupported(PathBuf, &'static str),
}

/// Attaches the path to an error of the system.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, Trouble>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Trouble> {
        self.map_err(|e| Trouble::Io(path.to_owned(), e))
    }
}

/// Returns what stands at `path` itself; none where nothing does.
pub(super) fn look(path: &Path) -> Result<Option<Metadata>, Trouble> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(e) => Err(Trouble::Io(path.to_owned(), e)),
    }
}

/// Reads the whole directory and says what it holds.
pub(super) fn manifest(root: &Path) -> Result<Manifest, Trouble> {
    let metadata = fs::symlink_metadata(root).at(root)?;
    let mut reading = Reading { device: metadata.dev(), lines: Vec::new(), files: 0, bytes: 0 };
    reading.entry(root, root, &metadata)?;
    let Reading { lines, files, bytes, .. } = reading;
    Ok(Manifest { digest: Digest::of(&lines), files, bytes })
}

/// Returns whether `root` is a directory that holds what `digest` is the digest of. One that
/// can't be read is not.
pub(super) fn holds(root: &Path, digest: &Digest) -> bool {
    manifest(root).is_ok_and(|manifest| manifest.digest == *digest)
}

/// Copies the directory `from` to `to`, which does not exist, and makes every file and directory
/// durable. `after_file` is called after each file.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    after_file: &mut dyn FnMut() -> io::Result<()>,
) -> Result<(), Trouble> {
    let metadata = fs::symlink_metadata(from).at(from)?;
    if metadata.is_symlink() {
        let target = fs::read_link(from).at(from)?;
        std::os::unix::fs::symlink(target, to).at(to)
    } else if metadata.is_dir() {
        DirBuilder::new().mode(0o700).create(to).at(to)?;
        for name in names(from)? {
            copy(&from.join(&name), &to.join(&name), after_file)?;
        }
        let directory = File::open(to).at(to)?;
        directory.set_permissions(permissions(&metadata)).at(to)?;
        directory.sync_all().at(to)
    } else if metadata.is_file() {
        let mut source = open_file(from)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).at(to)?;
        io::copy(&mut source, &mut file).at(to)?;
        file.set_permissions(permissions(&metadata)).at(to)?;
        if let Ok(modified) = metadata.modified() {
            file.set_modified(modified).at(to)?;
        }
        file.sync_all().at(to)?;
        after_file().at(to)
    } else {
        Err(Trouble::Unsupported(from.to_owned(), NOT_A_FILE))
    }
}

/// Removes whatever stands at `path`, a link itself and never what it leads to. Nothing there is
/// fine.
pub(super) fn remove(path: &Path) -> Result<(), Trouble> {
    match look(path)? {
        None => Ok(()),
        Some(metadata) if metadata.is_dir() => {
            make_removable(path)?;
            fs::remove_dir_all(path).at(path)
        }
        Some(_) => fs::remove_file(path).at(path),
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync(directory: &Path) -> Result<(), Trouble> {
    File::open(directory).and_then(|opened| opened.sync_all()).at(directory)
}

/// Makes everything below `root` durable, as it stands.
pub(super) fn sync_tree(root: &Path) -> Result<(), Trouble> {
    let metadata = fs::symlink_metadata(root).at(root)?;
    if metadata.is_dir() {
        for name in names(root)? {
            sync_tree(&root.join(name))?;
        }
    } else if !metadata.is_file() {
        // A link is durable with the directory that holds it.
        return Ok(());
    }
    open_file(root)?.sync_all().at(root)
}

/// Makes the directory and those above it that are not there, each durable in the one that holds
/// it before anything relies on it.
pub(super) fn make_durably(directory: &Path, mode: u32) -> Result<(), Trouble> {
    if look(directory)?.is_some() {
        return Ok(());
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    make_durably(parent, mode)?;
    match DirBuilder::new().mode(mode).create(directory) {
        // Another call was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.at(directory)?,
    }
    sync(parent)
}

/// Lets the owner remove entries from every directory below `root`.
fn make_removable(root: &Path) -> Result<(), Trouble> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = open_with(root, flags)?;
    let mode = directory.metadata().at(root)?.mode();
    if mode & 0o700 != 0o700 {
        directory.set_permissions(Permissions::from_mode(mode | 0o700)).at(root)?;
    }
    for entry in fs::read_dir(root).at(root)? {
        let entry = entry.at(root)?;
        if entry.file_type().at(&entry.path())?.is_dir() {
            make_removable(&entry.path())?;
        }
    }
    Ok(())
}

const NOT_A_FILE: &str = "is neither a file, a link nor a directory";

struct Reading {
    device: u64,
    lines: Vec<u8>,
    files: u64,
    bytes: u64,
}

impl Reading {
    fn entry(&mut self, root: &Path, path: &Path, metadata: &Metadata) -> Result<(), Trouble> {
        let name = path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes();
        if metadata.is_symlink() {
            let target = fs::read_link(path).at(path)?.into_os_string().into_vec();
            self.files += 1;
            self.line(b'l', 0, name, &target);
        } else if metadata.is_dir() {
            // What is mounted below would be removed with the rest.
            if metadata.dev() != self.device {
                return Err(Trouble::Unsupported(path.to_owned(), "is another file system"));
            }
            self.line(b'd', mode(metadata), name, b"");
            for child in names(path)? {
                let child = path.join(child);
                let metadata = fs::symlink_metadata(&child).at(&child)?;
                self.entry(root, &child, &metadata)?;
            }
        } else if metadata.is_file() {
            let digest = self.content(path)?;
            self.files += 1;
            self.line(b'f', mode(metadata), name, digest.as_bytes());
        } else {
            return Err(Trouble::Unsupported(path.to_owned(), NOT_A_FILE));
        }
        Ok(())
    }

    /// Appends one entry; lengths go first, so that no name can be taken for another's content.
    fn line(&mut self, kind: u8, mode: u32, name: &[u8], content: &[u8]) {
        let head = format!("{} {mode:o} {} {} ", kind as char, name.len(), content.len());
        self.lines.extend_from_slice(head.as_bytes());
        self.lines.extend_from_slice(name);
        self.lines.extend_from_slice(content);
    }

    fn content(&mut self, path: &Path) -> Result<String, Trouble> {
        let mut file = open_file(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).at(path)? {
                0 => return Ok(hex(&hasher.finalize())),
                read => {
                    self.bytes += read as u64;
                    hasher.update(&buffer[..read]);
                }
            }
        }
    }
}

fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>, Trouble> {
    let mut names = fs::read_dir(directory)
        .and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, _>>()
        })
        .at(directory)?;
    names.sort();
    Ok(names)
}

fn open_file(path: &Path) -> Result<File, Trouble> {
    // Not blocking, should the file have become a pipe since it was looked at.
    open_with(path, OFlags::NOFOLLOW | OFlags::NONBLOCK)
}

fn open_with(path: &Path, flags: OFlags) -> Result<File, Trouble> {
    let flags = i32::from_ne_bytes(flags.bits().to_ne_bytes());
    OpenOptions::new().read(true).custom_flags(flags).open(path).at(path)
}

fn mode(metadata: &Metadata) -> u32 {
    // Set-group-id of a directory comes from the directory above; it is nobody's wish.
    metadata.mode() & 0o777
}

fn permissions(metadata: &Metadata) -> Permissions {
    Permissions::from_mode(mode(metadata))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::trees;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_tree_is_copied_to_the_same_digest_and_can_be_removed(items in trees::items()) {
            let place = tempfile::tempdir().unwrap();
            let (from, to) = (place.path().join("from"), place.path().join("to"));
            trees::write(&from, &items);
            copy(&from, &to, &mut || Ok(())).unwrap();
            prop_assert_eq!(manifest(&from).unwrap(), manifest(&to).unwrap());
            prop_assert_eq!(trees::read(&from), trees::read(&to));
            remove(&from).unwrap();
            remove(&to).unwrap();
            prop_assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_is_made_may_be_there_already_and_may_be_a_link() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", place.path().join("l")).unwrap();
        for _ in 0..2 {
            make_durably(&place.path().join("l/a/b"), 0o700).unwrap();
        }
        let made = fs::metadata(place.path().join("real/a/b")).unwrap();
        assert_eq!(made.mode() & 0o777, 0o700);
        sync_tree(place.path()).unwrap();
    }

    fn check_digest_changes(change: impl FnOnce(&Path)) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("s");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "one").unwrap();
        std::os::unix::fs::symlink("a", root.join("l")).unwrap();
        let before = manifest(&root).unwrap().digest;
        assert!(holds(&root, &before));
        change(&root);
        assert!(!holds(&root, &before));
    }

    #[test]
    fn the_digest_sees_bytes_names_modes_and_targets() {
        check_digest_changes(|root| fs::write(root.join("a"), "two").unwrap());
        check_digest_changes(|root| fs::rename(root.join("a"), root.join("b")).unwrap());
        check_digest_changes(|root| {
            fs::set_permissions(root.join("a"), Permissions::from_mode(0o755)).unwrap();
        });
        check_digest_changes(|root| {
            fs::remove_file(root.join("l")).unwrap();
            std::os::unix::fs::symlink("b", root.join("l")).unwrap();
        });
        check_digest_changes(|root| fs::create_dir(root.join("d")).unwrap());
    }

    #[test]
    fn removing_a_link_leaves_what_it_leads_to() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("kept")).unwrap();
        fs::write(place.path().join("kept/a"), "").unwrap();
        std::os::unix::fs::symlink("kept", place.path().join("l")).unwrap();
        remove(&place.path().join("l")).unwrap();
        assert!(place.path().join("kept/a").exists());
    }

    #[test]
    fn a_pipe_is_named() {
        let place = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(place.path().join("s")).unwrap();
        assert!(
            matches!(manifest(place.path()), Err(Trouble::Unsupported(path, _)) if path.ends_with("s"))
        );
        drop(listener);
    }
}
