//! Setting a tree to a candidate.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::AtFlags;

use super::ignored::{FILE_LIMIT, Ignored};
use super::manifest::{Entry, Manifest, Sorted};
use super::source::{POINTER_LIMIT, Pointer, Wanted, Wants, left_as_pointers};
use super::{ManagedTree, TreeError, is_git_directory, shown};
use crate::git::{Mode, ObjectFormat, Oid, Repo, Tree, blob_id, blob_id_of};
use crate::text::TreePath;
use crate::wall::at::{self, Dirs, Kind, MAX_DEPTH, Owner, Stat, Trash};

/// What setting a tree came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// How many tracked files and links were written.
    pub written: usize,
    /// How many things went: tracked ones that the candidate has not, and untracked ones that no
    /// `.gitignore` names. A git directory counts as one.
    pub removed: usize,
    /// What a person should know: submodules and large files that are not on this machine.
    pub notices: Vec<String>,
}

impl ManagedTree {
    /// Sets the tree to `tree` of `repo`.
    ///
    /// Afterwards the tracked files are exactly those of `tree`, as a checkout of `repo` has them: bytes, executable
    /// bit, links.
    /// Untracked files are gone, but for those that the tree's own `.gitignore` files name, or one
    /// in a directory without tracked files (as build tools put into their caches), and but for
    /// those that are kept, see [`ManagedTree::keeping`]. Files that were right already keep their
    /// times. Cut short, it is made good by the next call.
    ///
    /// # Errors
    /// Two paths differ in case alone where that makes them one file; a blob is missing; the
    /// disk is full or refuses.
    pub fn sync(&mut self, repo: &Repo, tree: &Tree) -> Result<SyncReport, TreeError> {
        self.set(repo, tree, false)
    }

    /// Does what [`ManagedTree::sync`] does, and removes every untracked file, whatever names it:
    /// nothing is left of what was built in the tree before.
    ///
    /// # Errors
    /// Likewise.
    pub fn sync_fresh(&mut self, repo: &Repo, tree: &Tree) -> Result<SyncReport, TreeError> {
        self.set(repo, tree, true)
    }

    fn set(&mut self, repo: &Repo, tree: &Tree, fresh: bool) -> Result<SyncReport, TreeError> {
        let wants = Wants::gather_converted(repo, tree)?;
        let beside = |source| TreeError::Io {
            doing: format!("write beside `{}`", self.manifest_path.display()),
            source,
        };
        self.trash.empty().map_err(beside)?;
        let was_whole = !self.marker.exists();
        fs::write(&self.marker, b"").map_err(beside)?;
        if ignores_case(&self.marker)
            && let Some((first, second)) = collision(tree.keys())
        {
            let (first, second) = (first.clone(), second.clone());
            return Err(TreeError::CaseCollision { root: self.root.clone(), first, second });
        }
        let root = self.open_root()?;
        at::give(root.as_fd(), b".", self.owner).map_err(beside)?;
        let old = self.manifest.take().filter(|manifest| manifest.format == repo.format());
        let fingerprint = wants.fingerprint();
        let mut sync = Sync {
            wants: &wants,
            old: old.as_ref(),
            known: old.as_ref().filter(|old| old.fingerprint == fingerprint),
            format: repo.format(),
            trash: &self.trash,
            owner: self.owner,
            kept: if fresh { &[] } else { &self.kept },
            fresh,
            done: vec![None; wants.files.0.len()],
            ignored: Vec::new(),
            pointers: Vec::new(),
            report: SyncReport::default(),
        };
        let result = sync.run(&root);
        let Sync { done, ignored, pointers, mut report, .. } = sync;
        if let Err(error) = result {
            // What is known of the files that were right still saves work.
            self.manifest = old;
            return Err(error);
        }
        let paths = wants.files.0.iter().map(|(path, _)| path.clone());
        let entries: Vec<_> =
            paths.zip(done).filter_map(|(path, entry)| Some((path, entry?))).collect();
        let mut manifest = Manifest {
            format: repo.format(),
            entries: Sorted(entries),
            submodules: wants.submodules,
            ignored: Sorted::from(ignored.into_iter().map(|path| (path, ())).collect()),
            fingerprint,
        };
        let same = old.is_some_and(|old| {
            old.entries.0 == manifest.entries.0
                && old.submodules == manifest.submodules
                && old.ignored.0 == manifest.ignored.0
                && old.fingerprint == manifest.fingerprint
        });
        if !(same && was_whole) {
            manifest.settle(&self.marker).map_err(beside)?;
            manifest.save(&self.manifest_path).map_err(beside)?;
        }
        fs::remove_file(&self.marker).map_err(beside)?;
        self.manifest = Some(manifest);
        report.notices = wants.notices;
        report.notices.extend(left_as_pointers(&pointers));
        Ok(report)
    }
}

struct Sync<'a> {
    wants: &'a Wants,
    old: Option<&'a Manifest>,
    /// The old one where its files were converted as these are.
    known: Option<&'a Manifest>,
    format: ObjectFormat,
    trash: &'a Trash,
    owner: Owner,
    kept: &'a [TreePath],
    /// Whether no pattern keeps anything.
    fresh: bool,
    /// What is in place, by the index of what is wanted.
    done: Vec<Option<Entry>>,
    ignored: Vec<Vec<u8>>,
    /// Pointers to large files that are not here.
    pointers: Vec<Vec<u8>>,
    report: SyncReport,
}

impl Sync<'_> {
    fn run(&mut self, root: &OwnedFd) -> Result<(), TreeError> {
        // The patterns first: they say what of the rest is kept.
        let files = &self.wants.files.0;
        let patterns: Vec<usize> = (0..files.len())
            .filter(|index| {
                let path = &files[*index].0;
                path == b".gitignore" || path.ends_with(b"/.gitignore")
            })
            .collect();
        let mut dirs = Dirs::new(duplicate(root)?);
        for index in &patterns {
            let path = self.wants.files.0[*index].0.as_slice();
            let fail =
                |source| TreeError::Io { doing: format!("look at `{}`", shown(path)), source };
            if let Some((parent, name)) = dirs.find(path).map_err(fail)?
                && let Some(stat) = at::stat(parent, name).map_err(fail)?
            {
                self.done[*index] = self.in_place(*index, parent, name, &stat).map_err(fail)?;
            }
        }
        self.write(root, &patterns)?;
        let level = Level { prefix: Vec::new(), depth: 0, keep_all: false };
        self.visit(root, &level, &mut Ignored::default())?;
        let rest: Vec<usize> = (0..self.done.len()).collect();
        self.write(root, &rest)?;
        for (path, ()) in &self.wants.empty.0 {
            let inside = [path, &b"/."[..]].concat();
            let mut dirs = Dirs::new(duplicate(root)?).owned_by(self.owner);
            dirs.make(&inside, self.trash).map_err(|source| TreeError::Io {
                doing: format!("make `{}`", shown(path)),
                source,
            })?;
        }
        Ok(())
    }

    /// Looks at everything in a directory, removes what must not be there, and notes what is in
    /// place. Returns whether anything is left in it.
    fn visit(
        &mut self,
        dir: &OwnedFd,
        level: &Level,
        ignored: &mut Ignored,
    ) -> Result<bool, TreeError> {
        let fail = |source| TreeError::Io {
            doing: format!("set the directory `{}`", String::from_utf8_lossy(&level.prefix)),
            source,
        };
        let names = at::names(dir.as_fd()).map_err(fail)?;
        let patterns = ignored.len();
        let has_patterns =
            names.binary_search_by(|name| name.as_slice().cmp(b".gitignore")).is_ok();
        if has_patterns && !self.fresh {
            let own = [&level.prefix, &b".gitignore"[..]].concat();
            // An untracked one speaks only where nothing is tracked: an agent's must not hide what
            // it leaves among the product's files.
            let speaks = self.wants.files.find(&own).is_some()
                || !(level.prefix.is_empty() || self.wants.files.holds_below(&level.prefix));
            if speaks && let Some(bytes) = read_patterns(dir.as_fd()) {
                ignored.push(level.prefix.len(), &bytes);
            }
        }
        let mut left = false;
        for name in names {
            let path = [level.prefix.as_slice(), &name].concat();
            left |= self.settle(dir, &name, path, level, ignored)?;
        }
        ignored.truncate(patterns);
        Ok(left)
    }

    /// Deals with one entry; returns whether it is still there.
    fn settle(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
        level: &Level,
        ignored: &mut Ignored,
    ) -> Result<bool, TreeError> {
        let fail = |source| TreeError::Io { doing: format!("set `{}`", shown(&path)), source };
        let Some(stat) = at::stat(dir.as_fd(), name).map_err(fail)? else { return Ok(false) };
        let gone = |sync: &mut Self| {
            sync.trash.take(dir.as_fd(), name).map_err(fail)?;
            sync.report.removed += 1;
            Ok(false)
        };
        if is_git_directory(name) {
            return gone(self);
        }
        let prefix = [path.as_slice(), b"/"].concat();
        let needed = self.wants.need_directory(&prefix);
        if stat.kind == Kind::Directory {
            let hidden = level.keep_all || self.stays(&path) || ignored.matches(&path, true);
            let index = self.wants.files.find(&path);
            if index.is_some() {
                return gone(self);
            }
            // A file that was tracked and is no longer goes, whatever the patterns say.
            let held = self.old.is_some_and(|old| old.entries.holds_below(&prefix));
            if hidden && !needed && !held {
                self.ignored.push(path);
                return Ok(true);
            }
            if level.depth + 1 >= MAX_DEPTH {
                return gone(self);
            }
            at::unlock(dir.as_fd(), name, &stat).map_err(fail)?;
            let inner = at::open_dir(dir.as_fd(), name).map_err(fail)?;
            let inside = Level { prefix, depth: level.depth + 1, keep_all: hidden };
            let left = self.visit(&inner, &inside, ignored)?;
            if !left && !needed {
                rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
                    .map_err(|error| fail(error.into()))?;
            }
            return Ok(left || needed);
        }
        if let Some(index) = self.wants.files.find(&path) {
            if self.done[index].is_none() {
                self.done[index] = self.in_place(index, dir.as_fd(), name, &stat).map_err(fail)?;
            }
            // What is not in place is replaced when it is written.
            return Ok(true);
        }
        let held = self.old.is_some_and(|old| old.entries.find(&path).is_some());
        if !needed
            && !held
            && (level.keep_all || self.stays(&path) || ignored.matches(&path, false))
        {
            self.ignored.push(path);
            return Ok(true);
        }
        gone(self)
    }

    fn stays(&self, path: &[u8]) -> bool {
        self.kept.iter().any(|kept| kept.as_bytes() == path)
    }

    /// Returns what is known of the file `name` in `parent` if it is the one that is wanted.
    fn in_place(
        &mut self,
        index: usize,
        parent: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
    ) -> io::Result<Option<Entry>> {
        let (path, wanted) = &self.wants.files.0[index];
        let fits = match wanted.mode {
            Mode::Symlink => stat.kind == Kind::Symlink,
            Mode::File | Mode::Executable | Mode::Submodule => {
                let bits = if wanted.mode == Mode::Executable { 0o700 } else { 0o600 };
                // A second name could lie outside the tree, and change the file from there.
                stat.kind == Kind::File && stat.links == 1 && stat.mode & 0o7700 == bits
            }
        };
        if !fits {
            return Ok(None);
        }
        let old = self.known.and_then(|old| old.entries.get(path));
        let same_blob = old.is_some_and(|old| old.oid == wanted.oid);
        // What a checkout makes of the blob is known once it was made.
        let converts = wanted.mode.is_file() && self.wants.conversions(wanted.source).is_some();
        if converts && !same_blob {
            return Ok(None);
        }
        let untouched = old.is_some_and(|old| old.signature == Some(stat.signature));
        let expected = old.filter(|_| same_blob).map_or(&wanted.oid, |old| &old.content);
        if let Some(old) = old.filter(|_| untouched) {
            if old.content != *expected {
                return Ok(None);
            }
        } else if content_id(self.format, parent, name, stat)?.as_ref() != Some(expected) {
            return Ok(None);
        }
        // A pointer was left where the large file was not here; it may be by now.
        let size = stat.signature.size;
        let mut pointer = false;
        if stat.kind == Kind::File
            && wanted.is_large
            && *expected == wanted.oid
            && size < POINTER_LIMIT
            && !old.is_some_and(|old| same_blob && untouched && !old.pointer)
            && let Some(found) =
                Pointer::parse(&at::read_up_to(at::open_file(parent, name)?, size)?)
        {
            if found.locate(&self.wants.sources[wanted.source]).is_some() {
                return Ok(None);
            }
            self.pointers.push(path.clone());
            pointer = true;
        }
        Ok(Some(Entry {
            mode: wanted.mode,
            oid: wanted.oid.clone(),
            content: expected.clone(),
            pointer,
            signature: Some(stat.signature),
        }))
    }

    /// Writes those of the wanted files at `indices` that are not in place.
    fn write(&mut self, root: &OwnedFd, indices: &[usize]) -> Result<(), TreeError> {
        let mut missing: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in indices.iter().copied().filter(|index| self.done[*index].is_none()) {
            missing.entry(self.wants.files.0[index].1.source).or_default().push(index);
        }
        for (source, mut indices) in missing {
            let wants = self.wants;
            let file = |index: usize| &wants.files.0[index];
            let mut dirs = Dirs::new(duplicate(root)?).owned_by(self.owner);
            if let Some(conversions) = wants.conversions(source) {
                // As the source's own tree names them.
                let own = |index: usize| &file(index).0[file(index).1.below..];
                let paths = indices.iter().map(|index| own(*index));
                let mut known = conversions.of(paths)?.into_iter();
                let converted: Vec<usize> = indices
                    .extract_if(.., |index| {
                        let changes = known.next().is_some_and(|known| known.on_checkout);
                        changes && file(*index).1.mode.is_file()
                    })
                    .collect();
                let files = converted.iter().map(|index| (own(*index), &file(*index).1));
                let files = files.map(|(path, one)| (path, one.mode, &one.oid));
                let stage = conversions.check_out(&files.collect::<Vec<_>>())?;
                for index in converted {
                    let from = stage.join(Path::new(OsStr::from_bytes(own(index))));
                    let written = File::open(&from).and_then(|mut from| {
                        let size = from.metadata()?.len();
                        let id = blob_id_of(self.format, size, &mut from)?;
                        from.rewind()?;
                        self.put(&mut dirs, index, size, &mut from, Some(id))
                    });
                    written.map_err(|source| self.not_written(index, source))?;
                }
            }
            let blobs = indices.iter().map(|index| file(*index).1.oid.clone());
            let mut failure = None;
            let read = wants.sources[source].stream_blobs(blobs, &mut |number, size, from| {
                self.put(&mut dirs, indices[number], size, from, None).map_err(|source| {
                    failure = Some(self.not_written(indices[number], source));
                    io::ErrorKind::Other.into()
                })
            });
            match (failure, read) {
                (Some(failure), _) => return Err(failure),
                (None, read) => read?,
            }
        }
        Ok(())
    }

    /// Puts one file in its place.
    fn put(
        &mut self,
        dirs: &mut Dirs,
        index: usize,
        size: u64,
        from: &mut dyn Read,
        converted: Option<Oid>,
    ) -> io::Result<()> {
        let (path, wanted) = &self.wants.files.0[index];
        let mut put = Put {
            format: self.format,
            trash: self.trash,
            owner: self.owner,
            repo: &self.wants.sources[wanted.source],
            wanted,
            pointers: &mut self.pointers,
            path,
            converted,
        };
        let (parent, name) = dirs.make(path, self.trash)?;
        self.done[index] = Some(put.write(parent, name, size, from)?);
        self.report.written += 1;
        Ok(())
    }

    fn not_written(&self, index: usize, source: io::Error) -> TreeError {
        let path = &self.wants.files.0[index].0;
        TreeError::Io { doing: format!("write `{}`", shown(path)), source }
    }
}

/// Where a walk is.
struct Level {
    /// The directory's path, slash included; empty at the root.
    prefix: Vec<u8>,
    depth: usize,
    /// Whether the directory is ignored, and visited for what is or was tracked in it.
    keep_all: bool,
}

/// Puts one file in its place.
struct Put<'a> {
    format: ObjectFormat,
    trash: &'a Trash,
    owner: Owner,
    repo: &'a Repo,
    wanted: &'a Wanted,
    pointers: &'a mut Vec<Vec<u8>>,
    path: &'a [u8],
    /// The id of the bytes where they are not the blob's own.
    converted: Option<Oid>,
}

impl Put<'_> {
    fn write(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        size: u64,
        from: &mut dyn Read,
    ) -> io::Result<Entry> {
        let oid = self.wanted.oid.clone();
        if self.wanted.mode == Mode::Symlink {
            let mut target = Vec::new();
            from.take(u64::from(u16::MAX)).read_to_end(&mut target)?;
            self.fresh(parent, name, &mut || {
                Ok(rustix::fs::symlinkat(target.as_slice(), parent, name)?)
            })?;
            at::give(parent, name, self.owner)?;
            let signature = at::stat(parent, name)?.map(|stat| stat.signature);
            let content = oid.clone();
            return Ok(Entry { mode: Mode::Symlink, oid, content, pointer: false, signature });
        }
        let mode = if self.wanted.mode == Mode::Executable { 0o755 } else { 0o644 };
        let mut file = self.fresh(parent, name, &mut || at::create(parent, name, mode))?;
        let (mut content, mut pointer) = (oid.clone(), false);
        if let Some(id) = &self.converted {
            io::copy(from, &mut file)?;
            content = id.clone();
        } else if self.wanted.is_large && size < POINTER_LIMIT {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes)?;
            match Pointer::parse(&bytes) {
                None => file.write_all(&bytes)?,
                Some(found) => match self.materialise(&found, &mut file)? {
                    Some(id) => content = id,
                    None => {
                        drop(file);
                        file = self.fresh(parent, name, &mut || at::create(parent, name, mode))?;
                        file.write_all(&bytes)?;
                        self.pointers.push(self.path.to_vec());
                        pointer = true;
                    }
                },
            }
        } else {
            io::copy(from, &mut file)?;
        }
        at::give(parent, name, self.owner)?;
        let signature = Some(at::stat_open(&file)?.signature);
        Ok(Entry { mode: self.wanted.mode, oid, content, pointer, signature })
    }

    fn materialise(&self, pointer: &Pointer, file: &mut File) -> io::Result<Option<Oid>> {
        match pointer.locate(self.repo) {
            Some(path) => pointer.copy(self.format, &path, file),
            None => Ok(None),
        }
    }

    /// Makes something new at `name`; what is there goes first.
    fn fresh<T>(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        make: &mut dyn FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.trash.take(parent, name)?;
                make()
            }
            other => other,
        }
    }
}

impl Manifest {
    /// Waits until the file system's clock has passed the newest time in the manifest, so that a
    /// later change can't have the same time. Where that takes too long, such entries are not
    /// trusted.
    fn settle(&mut self, probe: &Path) -> io::Result<()> {
        let times = self.entries.0.iter().filter_map(|(_, entry)| entry.signature);
        let Some(newest) = times.map(|signature| signature.changed).max() else { return Ok(()) };
        let mut now = i64::MIN;
        for _ in 0..1500 {
            let file = File::create(probe)?;
            (&file).write_all(b".")?;
            now = at::stat_open(&file)?.signature.changed;
            if now > newest {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        for (_, entry) in &mut self.entries.0 {
            entry.signature = entry.signature.filter(|signature| signature.changed < now);
        }
        Ok(())
    }
}

/// Returns the blob id of what is at `name`; none where it can't be read.
pub(super) fn content_id(
    format: ObjectFormat,
    parent: BorrowedFd<'_>,
    name: &[u8],
    stat: &Stat,
) -> io::Result<Option<Oid>> {
    if stat.kind == Kind::Symlink {
        return Ok(Some(blob_id(format, &at::read_link(parent, name)?)));
    }
    match at::open_file(parent, name) {
        Ok(mut file) => blob_id_of(format, stat.signature.size, &mut file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the patterns in a directory; none where no regular file of a sane size has them.
pub(super) fn read_patterns(dir: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let stat = at::stat(dir, b".gitignore").ok()??;
    if stat.kind != Kind::File || stat.signature.size > FILE_LIMIT {
        return None;
    }
    at::read_up_to(at::open_file(dir, b".gitignore").ok()?, FILE_LIMIT).ok()
}

fn duplicate(root: &OwnedFd) -> Result<OwnedFd, TreeError> {
    root.try_clone().map_err(|source| TreeError::Io { doing: "open the tree again".into(), source })
}

/// Whether the file system takes two names that differ in case for one; `existing` is a file.
fn ignores_case(existing: &Path) -> bool {
    let Some(name) = existing.file_name() else { return false };
    let swapped: Vec<u8> = name
        .as_encoded_bytes()
        .iter()
        .map(|byte| {
            if byte.is_ascii_lowercase() {
                byte.to_ascii_uppercase()
            } else {
                byte.to_ascii_lowercase()
            }
        })
        .collect();
    let swapped = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&swapped);
    existing.with_file_name(swapped).symlink_metadata().is_ok()
}

/// Returns two paths that are one where case does not count, directories included.
fn collision<'t>(
    paths: impl Iterator<Item = &'t TreePath>,
) -> Option<(&'t TreePath, &'t TreePath)> {
    let mut seen: std::collections::HashMap<String, (&[u8], &TreePath)> = Default::default();
    for path in paths {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([bytes.len()]) {
            let folded = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let (first, owner) = *seen.entry(folded).or_insert((&bytes[..end], path));
            if first != &bytes[..end] {
                return Some((owner, path));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_differ_in_case_alone_collide() {
        let paths = |texts: &[&str]| {
            texts.iter().map(|text| TreePath::parse(*text).unwrap()).collect::<Vec<_>>()
        };
        for (texts, collides) in [
            (&["README", "readme"][..], true),
            (&["Dir/a", "dir/b"], true),
            (&["Äpfel", "äpfel"], true),
            (&["dir/a", "dir/b", "a"], false),
        ] {
            let paths = paths(texts);
            assert_eq!(collision(paths.iter()).is_some(), collides, "{texts:?}");
        }
    }

    #[test]
    fn this_file_system_is_asked_whether_case_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("probe");
        fs::write(&file, "").unwrap();
        let told_apart = !dir.path().join("PROBE").exists();
        assert_eq!(ignores_case(&file), !told_apart);
    }
}
